"""The desk of a slot: finds out, for one fstat a run, whether a command gave something back, and takes it."""

from __future__ import annotations

import contextlib
import os

from queuectl.model import progress
from queuectl.spool.desk import AGAIN, NOTHING, PARENTS, PROGRESS, RESULT, Given, OpenDesk
from queuectl.spool.session import Session
from queuectl.system import disk, volume

# After its own change of a desk, a worker does not trust the desk's time for this long: Linux before 6.13 stamps in
# steps of 4 ms, so a change by the next command may get the same time.
_SAME_STAMP_S = 0.02


class DeskSlot:
    """The desk of one slot, used by one run after the other under one lease."""

    def __init__(self, session: Session) -> None:
        self._spool, self._clock = session.spool, session.clock
        self._lease = ""
        self._open: OpenDesk | None = None
        self._stamp = 0
        """The change time of the desk after the worker's own last change."""
        self._trusted_from_s = 0.0
        """A run that began before this (monotonic) may have changed the desk without another stamp."""
        self._trusts_times: bool | None = None
        self.has_parents = False
        """True if the file about the parents of a job stays for the next run."""
        self.variables: dict[str, str] = {}
        """The variables by which a command finds its desk."""
        self.is_spoilt = False
        """True if something on the desk could not be deleted, so the next run needs another lease."""

    def open(self, lease: str) -> None:
        """Have an empty desk for the next run, under the lease that it runs with.

        Raises:
            OSError: a problem of the machine.
        """
        if lease == self._lease:
            return
        self.close()
        if self._trusts_times is None:
            self._trusts_times = os.name != "nt" and volume.reports_events(volume.first_of(self._spool.root).nature)
        path = self._spool.desk_path(lease)
        self._open = OpenDesk.make(self._spool, path)
        self._lease = lease
        self.variables = {
            "QUEUECTL_RESULT": os.path.join(path, RESULT),
            "QUEUECTL_PROGRESS": os.path.join(path, PROGRESS),
            "QUEUECTL_AGAIN": os.path.join(path, AGAIN),
        }
        self._note_own_change()

    def open_text(self, data: bytes) -> int:
        """Write a text for the command's standard input; return a handle to read it. Raises OSError."""
        assert self._open is not None
        return self._open.open_text(data)

    def put_parents(self, data: bytes) -> str:
        """Write what the command may know of its job's parents; return the path. Raises OSError.

        The file stays for the next child of the same parents: that costs two system calls a run, and no change of the
        desk, by which the worker would have to look for a result after each run.
        """
        assert self._open is not None
        if not self._open.has_parents(data):
            self.take_parents()
            self.has_parents = self._open.put_parents(data, keep=bool(self._trusts_times))
            if self.has_parents:
                self._note_own_change()
        return self._open.parents_path

    def take_parents(self) -> None:
        """Delete the file about the parents of the last job, if it is still there. Raises OSError."""
        if self.has_parents and self._open is not None:
            self.has_parents = False
            self._open.take_parents()
            self._note_own_change()

    def result_size(self) -> int:
        """Return how much the command has written to its result."""
        return 0 if self._open is None else self._open.result_size()

    def has_news(self, started_s: float) -> bool:
        """Return whether the run that began at `started_s` (monotonic) may have left something on the desk."""
        desk = self._open
        if desk is None:
            return False
        if desk.fd is not None and self._trusts_times and started_s >= self._trusted_from_s:
            return os.fstat(desk.fd).st_ctime_ns != self._stamp
        try:
            return desk.names() != ([PARENTS] if self.has_parents else []) or not desk.is_in_place()
        except OSError:
            return True

    def collect(self, job_id: str, attempt: int, *, before: Given) -> Given:
        """Take what the run left, and clear the desk; `before` is what an earlier try took.

        Raises:
            OSError: logs/ cannot take the result now; try again.
        """
        desk = self._open
        if desk is None:
            return before
        given = desk.keep_result(job_id, attempt)
        if given == NOTHING:
            given = before
        said = progress.parse(desk.progress())
        given = given._replace(
            again=before.again or desk.again(), progress=before.progress or ("" if said is None else str(said))
        )
        self.has_parents = False
        self.is_spoilt = not (desk.clear() and desk.is_in_place())
        self._note_own_change()
        return given

    def abandon(self) -> None:
        """Use another desk from now on, because a process of the last run may still use this one."""
        if self._open is not None:
            self._open.close()
            self._open = None
        self._lease, self.is_spoilt, self.has_parents = "", False, False

    def close(self) -> None:
        """Close the desk and delete it. What cannot be deleted quickly stays for a sweep."""
        desk, lease = self._open, self._lease
        is_clear = desk is not None and not self.is_spoilt and desk.clear()
        self.abandon()
        if is_clear:
            with contextlib.suppress(OSError):
                disk.remove_folder(self._spool.desk_path(lease))

    def _note_own_change(self) -> None:
        if self._open is not None and self._open.fd is not None:
            self._stamp = os.fstat(self._open.fd).st_ctime_ns
        self._trusted_from_s = self._clock.monotonic() + _SAME_STAMP_S
