"""A worker's proof of life: one locked file per worker, named in every `started` event (promise P5).

On POSIX the command inherits the lock, so the lease is held for as long as any process of the job runs, even after its
worker was killed. After each job the worker closes the file and locks it again through a new handle. If a process that
the command left behind still holds the lock, the worker leaves the lease to that process and takes the next number.
Otherwise the worker's next job would look alive for as long as that process runs.

The lock of a command that runs on another machine is held by its worker alone. If that worker is gone, a stamp says
until when the command may go on: see `stamps`.

A worker reuses a name only after a run that succeeded and left no process, so a held lease belongs to the run that
names it (promise P3): see `outlives`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import sys
from collections.abc import Iterator

from queuectl.model import lifecycle
from queuectl.model.record import Record
from queuectl.spool import stamps
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files
from queuectl.system.locks import NamedLock, is_held

# Marks a lease that is left to a process, to distinguish it from the lease of a live worker.
_LEFT = b"left to a process that outlived its run\n"


class Lease:
    """The lease of one slot. A `started` event has its `name`: `WORKER.NUMBER`.

    The slots of a worker take their numbers from the same `numbers`.
    """

    def __init__(self, spool: SpoolDir, worker: str, numbers: Iterator[int] | None = None) -> None:
        self._spool = spool
        self._worker = worker
        self._numbers = itertools.count() if numbers is None else numbers
        self._lock: NamedLock | None = None
        self.name = ""
        """The name of the lock file: see `Layout.lease_path`."""
        self._try_next()

    def take_over(self, lock: NamedLock, name: str) -> None:
        """Use the lease of a dead worker, which the caller has locked, until `change`. Give up the present one."""
        self.close()
        self._lock, self.name = lock, name

    @property
    def is_held(self) -> bool:
        """False if no new lease could be taken when the last one was given up: see `hold`."""
        return self._lock is not None

    @property
    def path(self) -> str:
        """The locked file."""
        assert self._lock is not None
        return self._lock.path

    @property
    def fd(self) -> int:
        """The handle of the lock, which a command inherits."""
        assert self._lock is not None
        return self._lock.fd

    def hold(self) -> None:
        """Take a lease if none is held.

        Raises:
            OSError: the machine is at fault (no inodes, a folder is missing or closed).
        """
        if self._lock is None:
            self._next()

    def check(self) -> None:
        """Check that the locked file still exists, because a lock on a deleted file excludes no other process.

        Costs one stat. No other worker has the name, so a file with that name is this lease.

        Raises:
            FileNotFoundError: somebody deleted the file, or replaced the spool.
        """
        if self._lock is not None and files.sig_of(self._lock.path) is None:
            raise FileNotFoundError(errno.ENOENT, "the lease of a worker was deleted", self._lock.path)

    def renew(self) -> bool:
        """Lock again through a new handle; return False if the old lease stays with a process.

        Also return False if another process has swept the lease in between, taking it for that of a dead worker, and
        with it the empty output of this worker.
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
        """Take another lease and delete this one; return False if this one stays with a process."""
        free = self._is_free()
        if free and self._lock is not None:
            self._lock.remove()
        self._try_next()
        return free

    def abandon(self) -> None:
        """Take another lease. From now on, a run on record under the old lease counts as dead."""
        if self._lock is not None:
            self._lock.close()
        self._try_next()

    def part(self) -> NamedLock:
        """Take another lease and return this one, locked: see `end`."""
        assert self._lock is not None
        parted = self._lock
        self._try_next()
        return parted

    def _is_free(self) -> bool:
        """Release the lock and take it again through a new handle; return False if another process may have it."""
        if self._lock is None:
            return False
        self._lock.close()
        try:
            return self._lock.try_acquire()
        except OSError:
            return False

    def _try_next(self) -> None:
        """Take the next lease; if that fails, `hold` tries again."""
        with contextlib.suppress(OSError):
            self._next()

    def _next(self) -> None:
        self._lock = None
        while True:
            self.name = f"{self._worker}.{next(self._numbers)}"
            lock = NamedLock(self._spool.lease_path(self.name))
            if lock.try_acquire():
                self._lock = lock
                return

    def close(self) -> None:
        """Free the lease and delete its file."""
        if self._lock is not None:
            self._lock.remove()
            self._lock = None


def end(lock: NamedLock) -> None:
    """Release a lease that `Lease.part` returned; delete its file unless a process of the job still holds it."""
    lock.close()
    with contextlib.suppress(OSError):
        if lock.try_acquire():
            lock.remove()
    lock.close()


def is_alive(spool: SpoolDir, lease: str) -> bool:
    """True if a process that ran under this lease may still be running: its lock is held, or its stamp protects it."""
    return bool(lease) and (is_locked(spool, lease) or stamps.protects(spool, lease))


def is_locked(spool: SpoolDir, lease: str) -> bool:
    """True if a process holds this lease on this machine. Enough for a run whose outcome is on record."""
    return bool(lease) and is_held(spool.lease_path(lease))


def outlives(spool: SpoolDir, item: Record, *, mine: str = "") -> bool:
    """Whether a process of the job's last run may still be running, whatever the history says.

    `mine` is the lease of the asking worker, which runs nothing. After a run that succeeded and left no process, the
    worker keeps its lease, so then a held lease proves nothing unless it is marked.
    """
    history = item.history
    at = next((at for at in reversed(range(len(history))) if history[at].event == lifecycle.STARTED), None)
    if at is None or history[at].lease == mine:
        return False
    end = next((event for event in history[at:] if event.event in lifecycle.OUTCOMES), None)
    if not (is_alive if end is None else is_locked)(spool, history[at].lease):
        return False
    return end is None or end.event != lifecycle.SUCCEEDED or bool(end.left) or _is_left(spool, history[at].lease)


def _is_left(spool: SpoolDir, lease: str) -> bool:
    """True if a worker has left the lease to a process. (On Windows no lock outlives its process.)"""
    if sys.platform == "win32":
        return False
    sig = files.sig_of(spool.lease_path(lease))
    return sig is not None and sig.size > 0
