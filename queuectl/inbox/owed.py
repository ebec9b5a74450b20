"""The jobs of an inbox whose ends its process still has to settle: one note per job, .queuectl/owed/OWNER/ID.

A note is made before its job is published, and stays until the end of the job is settled: a receipt is in the inbox, or
the job's file is where it belongs. So a crash or an offline share only delays that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE
from queuectl.spool.session import Session
from queuectl.system import disk, files, sharing

# How often to look for jobs that are no longer in the spool.
_SWEEP_S = 60.0
_NOTE_BYTES = 4096


class Owed:
    """The notes of one inbox. `beat` is called between two jobs."""

    def __init__(self, session: Session, owner: str, *, beat: Callable[[], None] = lambda: None) -> None:
        self._beat = beat
        self._spool = session.spool
        self._clock = session.clock
        self._sync = session.syncs_accepted
        self._folder = os.path.join(session.spool.owed_dir, owner)
        self.count = 0
        """How many jobs the last call of `settle` left."""
        self._seen: object = None
        self._next_sweep_s = self._clock.monotonic() + _SWEEP_S

    def expect(self, job_id: str, note: bytes = b"") -> None:
        """Note a job that is about to be published. A note with a text is on disk then. Raises OSError."""
        disk.make_folder(self._folder)
        with contextlib.suppress(FileExistsError):
            sync = bool(note) and self._sync
            disk.create(os.path.join(self._folder, job_id), note, sync=sync)
            if sync:
                disk.sync_folder(self._folder)

    def note(self, job_id: str) -> bytes:
        """Return the text of a note, b"" if there is none. Raises OSError."""
        try:
            return files.read(os.path.join(self._folder, job_id), _NOTE_BYTES).data
        except FileNotFoundError:
            return b""

    def ids(self) -> list[str]:
        """Return the ids of the jobs. Raises OSError."""
        try:
            return files.names(self._folder)
        except FileNotFoundError:
            return []

    def forget(self, job_id: str) -> None:
        """Delete a note. Raises OSError."""
        disk.unlink(os.path.join(self._folder, job_id))
        self.count -= 1

    def waiting(self) -> int:
        """Return how many of the jobs are in pending/. A copy of a job's file does not count twice."""
        mine = {job_id.lower() for job_id in self.ids()}
        if not mine:
            return 0
        parsed = (names.parse(name) for name in self._spool.waiting_names())
        return len(mine.intersection(parts.stem.lower() for parts in parsed if parts is not None))

    def look_again(self) -> None:
        """Let the next `settle` call for all jobs that have ended, although none has ended since."""
        self._seen = None

    def settle(self, ended: Callable[[str, str], object], lost: Callable[[str], object]) -> None:
        """Call `ended(id, state)` for each job that has ended, and now and then `lost(id)` for each that is gone.

        A call that raises OSError does not keep the others back.

        Raises:
            OSError: a job cannot be settled now; the next call tries again.
        """
        marks = tuple(files.sig_of(self._spool.folder(state)) for state in (DLQ, DONE))
        ids = self.ids()
        self.count = len(ids)
        is_time = self._clock.monotonic() >= self._next_sweep_s
        if not ids or (not is_time and (marks, len(ids)) == self._seen):
            return
        failed: OSError | None = None
        for job_id in ids:
            self._beat()
            try:
                if state := self._spool.holds(job_id, (DLQ, DONE)):
                    ended(job_id, state)
            except OSError as error:
                if sharing.is_trouble(error):
                    raise
                failed = failed or error
        if failed is not None:
            raise failed
        if is_time:
            self._next_sweep_s = self._clock.monotonic() + _SWEEP_S
            there = {job_id.lower() for job_id in self._spool.ids()}
            for job_id in ids:
                if job_id.lower() not in there:
                    lost(job_id)  # deleted by hand
        self._seen = (marks, len(self.ids()))
