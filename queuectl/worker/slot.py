"""A place for a command in a worker: the lease that it runs under and the file that it prints to."""

from __future__ import annotations

from collections.abc import Iterator

from queuectl.spool.lease import Lease
from queuectl.spool.session import Session
from queuectl.system.locks import NamedLock
from queuectl.worker.output import OutputSlot

# A lease that was looked for within this time is not looked for again: short jobs share a look.
_CHECKED_WITHIN_S = 0.005


class Slot:
    """A lease and an output file, which one run after the other uses."""

    def __init__(self, session: Session, worker: str, numbers: Iterator[int] | None = None) -> None:
        self.lease = Lease(session.spool, worker, numbers)
        self.output = OutputSlot(session.spool)
        self.output_fd = -1
        """The handle that the next command writes to, once the slot is open."""
        self._clock = session.clock
        self._checked_s = -_CHECKED_WITHIN_S
        """When the file of the lease was last looked for, as a lock through a new handle does (monotonic)."""

    def open(self) -> None:
        """Hold a lease and open its output file; nothing to do if the last run left both.

        Raises:
            OSError: the machine's trouble.
        """
        self.lease.hold()
        self.output_fd = self.output.open(self.lease.name)

    def check(self) -> None:
        """Look whether the file of the lease is still there, unless that was seen a moment ago.

        Raises:
            OSError: it is not, so the lease excludes nobody.
        """
        now_s = self._clock.monotonic()
        if now_s - self._checked_s >= _CHECKED_WITHIN_S:
            self.lease.check()
            self._checked_s = now_s

    def renew(self, *, is_plain: bool) -> None:
        """Make ready for the next run after one that ended; `is_plain` for one that succeeded and left no process.

        A job that may run again names this lease. If it were held for this worker's next jobs, that job would look
        alive for as long as the worker lives (P5). Only a plain success, the usual case, keeps it: see
        `lease.outlives`.
        """
        if not (self.lease.renew() if is_plain else self.lease.change()):
            self.output.abandon()
        self._checked_s = self._clock.monotonic()

    def change(self) -> None:
        """Use another lease: a run that may be on record under this one must count as dead."""
        if not self.lease.change():
            self.output.abandon()

    def abandon(self) -> None:
        """Use another lease and another output file, after trouble of the machine."""
        self.lease.abandon()
        self.output.abandon()

    def hand_over_lease(self) -> NamedLock:
        """Use another lease and another output file; return the lock of this lease."""
        self.output.abandon()
        return self.lease.part()

    def close(self) -> None:
        """Give both back."""
        self.output.close()
        self.lease.close()
