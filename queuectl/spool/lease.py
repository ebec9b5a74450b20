"""A worker's proof of life: one locked file a worker, named in every `started` event (promise P5).

On POSIX the command inherits the lock, so the lease is held for as long as anything of the job runs, even after its
worker was killed. After each job the file is closed and locked again through a new handle: if a process that the
command left behind still holds it, that lease is left to it and the worker goes on with the next number, because
otherwise the worker's next job would look alive for as long as that process.

A name is used again only after a run that succeeded and left nothing, so a held lease tells of the run that names it
(promise P3): `outlives`.
"""

from __future__ import annotations

import contextlib
import errno
import sys

from queuectl.model import lifecycle
from queuectl.model.record import Record
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files
from queuectl.system.locks import NamedLock, is_held

# Written into a lease that is left to a process, so that nobody takes it for the lease of a worker that goes on.
_LEFT = b"left to a process that outlived its run\n"


class Lease:
    """The lease of one worker. `name` is what a `started` event says: `WORKER.NUMBER`."""

    def __init__(self, spool: SpoolDir, worker: str) -> None:
        self._spool = spool
        self._worker = worker
        self._number = -1
        self._lock: NamedLock | None = None
        self.name = ""
        """The name under which the lock can be found: see `SpoolDir.lease_path`."""
        self._try_next()

    @property
    def is_held(self) -> bool:
        """False where no new lease could be made when the last one was given up: see `hold`."""
        return self._lock is not None

    @property
    def path(self) -> str:
        """The file that is locked."""
        assert self._lock is not None
        return self._lock.path

    @property
    def fd(self) -> int:
        """The handle that a command inherits."""
        assert self._lock is not None
        return self._lock.fd

    def hold(self) -> None:
        """Take a lease where none is held.

        Raises:
            OSError: the machine's trouble (no inodes, a folder that is gone or closed).
        """
        if self._lock is None:
            self._next()

    def check(self) -> None:
        """Look whether the file that is locked is still there: a lock on a file that was deleted excludes nobody.

        One stat. No other worker has the name, so a file of that name is this lease.

        Raises:
            FileNotFoundError: somebody has deleted the file, or has put another spool in the place of this one.
        """
        if self._lock is not None and files.sig_of(self._lock.path) is None:
            raise FileNotFoundError(errno.ENOENT, "the lease of a worker was deleted", self._lock.path)

    def renew(self) -> bool:
        """Lock again through a new handle; False where the old lease had to be left to somebody.

        Also False where somebody has swept it in between, as one of a dead worker: it has taken the file away and, with
        it, the empty output of this worker.
        """
        before = self._lock.id if self._lock is not None else None
        if self._is_free() and self._lock is not None:
            if self._lock.id == before:
                return True
            self._lock.remove()
        elif self._lock is not None:
            with contextlib.suppress(OSError):
                disk.mark_lock_file(self._lock.path, _LEFT)
        self._try_next()
        return False

    def change(self) -> bool:
        """Go on with another lease and delete this one; False where it had to be left to somebody."""
        free = self._is_free()
        if free and self._lock is not None:
            self._lock.remove()
        self._try_next()
        return free

    def abandon(self) -> None:
        """Go on with another lease: what may be on record under this one counts as dead from now on."""
        if self._lock is not None:
            self._lock.close()
        self._try_next()

    def part(self) -> NamedLock:
        """Go on with another lease and hand over this one, locked: see `end`."""
        assert self._lock is not None
        parted = self._lock
        self._try_next()
        return parted

    def _is_free(self) -> bool:
        """Give the lock up and take it again through a new handle; False where somebody has it, or nobody can tell."""
        if self._lock is None:
            return False
        self._lock.close()
        try:
            return self._lock.try_acquire()
        except OSError:
            return False

    def _try_next(self) -> None:
        """Take the next lease if the machine lets us: `hold` tries again."""
        with contextlib.suppress(OSError):
            self._next()

    def _next(self) -> None:
        self._lock = None
        while True:
            self._number += 1
            self.name = f"{self._worker}.{self._number}"
            lock = NamedLock(self._spool.lease_path(self.name))
            if lock.try_acquire():
                self._lock = lock
                return

    def close(self) -> None:
        """Give the lease up and delete its file."""
        if self._lock is not None:
            self._lock.remove()
            self._lock = None


def end(lock: NamedLock) -> None:
    """Give up a lease that was handed over by `Lease.part`; its file goes unless something that ran still holds it."""
    lock.close()
    with contextlib.suppress(OSError):
        if lock.try_acquire():
            lock.remove()
    lock.close()


def is_alive(spool: SpoolDir, lease: str) -> bool:
    """True where something that ran under this lease may still be running."""
    return bool(lease) and is_held(spool.lease_path(lease))


def outlives(spool: SpoolDir, item: Record, *, mine: str = "") -> bool:
    """True where something of the job's last run may still be running, whatever the history says of that run.

    `mine` is the lease of the worker that asks: it runs nothing, so nothing runs under it. After a run that succeeded
    and left nothing the worker goes on under the same lease, so a held one tells nothing then, unless it is marked.
    """
    history = item.history
    at = next((at for at in reversed(range(len(history))) if history[at].event == lifecycle.STARTED), None)
    if at is None or history[at].lease == mine or not is_alive(spool, history[at].lease):
        return False
    end = next((event for event in history[at:] if event.event in lifecycle.OUTCOMES), None)
    return end is None or end.event != lifecycle.SUCCEEDED or bool(end.left) or _is_left(spool, history[at].lease)


def _is_left(spool: SpoolDir, lease: str) -> bool:
    """True where a worker has left the lease to a process. (On Windows no lock outlives its process.)"""
    if sys.platform == "win32":
        return False
    sig = files.sig_of(spool.lease_path(lease))
    return sig is not None and sig.size > 0
