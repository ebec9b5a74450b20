"""Exclusive locks on files of their own, through portalocker. The only module that imports it.

The operating system frees a lock when the last handle to it is gone, so "can I take the lock?" is the proof that its
owner is dead (promise P5); a pid is none. Locked files are never the job files: Windows locks are mandatory, a locked
record could not be read. Handles are kept open and locked again and again.

On POSIX the lock is flock, which belongs to the open file description: a command that inherits the handle keeps the
lock alive after its worker is gone. Three locks are taken for a job, so there portalocker's primitive is called as it
is: 1 us, against 17 us with a look at the arguments each time. On Windows a lock belongs to the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import cast

import portalocker

from queuectl.system import disk, files, sharing

_EXCLUSIVE = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING

if sys.platform == "win32":

    def _lock(fd: int) -> bool:
        """Lock the file behind a handle; False where somebody has it."""
        try:
            portalocker.lock(fd, _EXCLUSIVE)
        except portalocker.AlreadyLocked:
            return False
        except portalocker.LockException as error:
            cause = error.__cause__
            if isinstance(cause, OSError):
                raise cause from error
            raise OSError(f"cannot lock: {type(error).__name__}") from error
        return True

    _unlock = portalocker.unlock

else:
    _flock = cast(Callable[[int, int], object], portalocker.portalocker.LOCKER)
    _FLOCK_EXCLUSIVE = int(_EXCLUSIVE)
    _FLOCK_NONE = int(portalocker.LockFlags.UNBLOCK)

    def _lock(fd: int) -> bool:
        """Lock the file behind a handle; False where somebody has it."""
        try:
            _flock(fd, _FLOCK_EXCLUSIVE)
        except (BlockingIOError, PermissionError):  # EWOULDBLOCK, or EACCES where a share says it so
            return False
        return True

    def _unlock(fd: int) -> None:
        _flock(fd, _FLOCK_NONE)


class FileLock:
    """One lock file, opened when first tried and kept open. `path` is made if it is missing and never deleted here."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self._patience_s = sharing.SHARING_DEADLINE_S

    @property
    def fd(self) -> int:
        """The open descriptor that carries the lock (not inheritable by itself)."""
        return self._fd

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it. True where this handle has it now.

        Raises:
            OSError: the file cannot be opened, or the file system knows no locks.
        """
        if self._fd < 0:
            try:
                self._fd = disk.open_lock_file(self.path, patience_s=self._patience_s)
            except OSError:
                self._patience_s = sharing.GLANCE_S  # no holder of an instant: later tries do not wait as long for it
                raise
        return _lock(self._fd)

    def release(self) -> None:
        """Give the lock back and keep the file open."""
        _unlock(self._fd)

    def close(self) -> None:
        """Close the file, which gives the lock back unless a command has inherited the handle."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class NamedLock(FileLock):
    """A lock file with a name of its own that may be deleted by whoever holds it (leases, pools).

    After it is taken the file at the path is compared with the one that is open: a lock on a file that somebody has
    deleted in between would exclude nobody.
    """

    id: files.FileId | None = None
    """The file that was locked last."""

    def try_acquire(self) -> bool:
        for _ in range(20):
            if not super().try_acquire():
                self.close()
                return False
            found = files.id_of_named(self._fd, self.path)
            if found is not None:
                self.id = found
                return True
            self.close()
        return False

    def remove(self) -> None:
        """Delete the file while holding its lock (on Windows just after closing it), and close."""
        if not sharing.CAN_UNLINK_OPEN_FILES:
            self.close()
        disk.unlink_if_free(self.path)
        self.close()


def is_held(path: str) -> bool:
    """True where somebody holds the lock at `path`; False where nobody does or no file is there (a folder, a link).

    The lock is taken for an instant to find out: callers must not mind that its owner, starting just then, could
    find it busy.
    """
    if not os.path.exists(path):
        return False
    lock = NamedLock(path)
    try:
        return not lock.try_acquire()
    except OSError:
        if files.is_regular(path):
            raise
        return False
    finally:
        lock.close()
