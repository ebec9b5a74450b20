"""A place for one command in a worker: its lease, the file that it prints to, and the desk for what it gives back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from queuectl.spool.lease import Lease
from queuectl.spool.session import Session
from queuectl.system.locks import NamedLock
from queuectl.worker.desk import DeskSlot
from queuectl.worker.output import OutputSlot

# A lease that was checked within this time is not checked again, so that short jobs share a check.
_CHECKED_WITHIN_S = 0.005
# For so long the word of the system that nothing holds a lease takes the place of a new lock.
_RENEWED_WITHIN_S = 0.05


class Slot:
    """A lease, an output file and a desk, used by one run after the other."""

    def __init__(self, session: Session, worker: str, numbers: Iterator[int] | None = None) -> None:
        self.lease = Lease(session.spool, worker, numbers)
        self.output = OutputSlot(session.spool)
        self.desk = DeskSlot(session)
        self.is_open = False
        """True if the next run may begin at once: a lease, an empty output file and an empty desk are open."""
        self.output_fd = self.lease_fd = -1
        """The handles that the next command writes to, and inherits, once the slot is open."""
        self.lease_path = ""
        """The locked file, once the slot is open."""
        self._clock = session.clock
        self._checked_s = -_CHECKED_WITHIN_S
        """When the file of the lease was last checked, as a lock through a new handle does (monotonic)."""
        self._renewed_s = -_RENEWED_WITHIN_S
        """When the lease was last locked through a new handle (monotonic)."""

    def open(self) -> None:
        """Hold a lease, and open its output file and its desk; keep those that the last run left.

        Raises:
            OSError: a problem of the machine.
        """
        self.lease.hold()
        self.output_fd = self.output.open(self.lease.name)
        self.desk.open(self.lease.name)
        self.lease_fd, self.lease_path = self.lease.fd, self.lease.path
        self.is_open = True

    def check(self, now_s: float) -> None:
        """Check that the file of the lease still exists, unless that was checked a moment ago.

        Raises:
            OSError: the file is missing, so the lease excludes no other process.
        """
        if now_s - self._checked_s >= _CHECKED_WITHIN_S:
            self.lease.check()
            self._checked_s = now_s

    def renew(self, *, is_plain: bool, is_free: bool = False) -> None:
        """Prepare for the next run; `is_plain` says that the last one succeeded and left no process.

        A job that may run again names this lease. If the worker kept the lease for its next jobs, that job would look
        alive for as long as the worker lives (P5). Only a plain success, the usual case, keeps the lease: see
        `lease.outlives`.

        With `is_free` the next run follows at once, and no descendant of the worker could hold the lease: each belongs
        to a command that has inherited another one. Then a new lock could find only a process that has left the
        worker's family (with a handle that was passed on, or into another PID namespace). It is found by the next lock,
        which is not put off for long.
        """
        now_s = self._clock.monotonic()
        is_plain = is_plain and not self.desk.is_spoilt
        if is_plain and is_free and now_s - self._renewed_s < _RENEWED_WITHIN_S:
            self.is_open = self.is_open and self.output.fd >= 0
            return
        self.is_open = False
        is_kept = self.lease.renew() if is_plain else self.lease.change()
        if not is_kept:
            self._leave_files()
        self._checked_s = self._renewed_s = now_s
        if is_kept and is_plain and self.output.fd >= 0:
            with contextlib.suppress(OSError):  # the next run tries again, and reports the error
                self.open()  # makes nothing, and a drop that comes then need not wait for it

    def change(self) -> None:
        """Use another lease, because a run that may be on record under this one must count as dead."""
        self.is_open = False
        if not self.lease.change():
            self._leave_files()

    def abandon(self) -> None:
        """Use another lease, another output file and another desk, after a problem of the machine."""
        self.lease.abandon()
        self._leave_files()

    def hand_over_lease(self) -> NamedLock:
        """Use another lease, another output file and another desk; return the lock of this lease."""
        self._leave_files()
        return self.lease.part()

    def close(self) -> None:
        """Close the output file, the desk and the lease."""
        self.is_open = False
        self.output.close()
        self.desk.close()
        self.lease.close()

    def _leave_files(self) -> None:
        """Use another output file and another desk from now on."""
        self.is_open = False
        self.output.abandon()
        self.desk.abandon()
