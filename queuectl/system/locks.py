"""Exclusive locks on lock files: flock on POSIX, portalocker on Windows. The only module that imports portalocker.

The operating system releases a lock when its last handle is closed, so taking the lock proves that its owner is dead
(promise P5); a pid proves nothing. Job files are never locked, because locks are mandatory on Windows, so no program
could read a locked record. Handles stay open and are locked repeatedly.

On POSIX the lock is flock, which belongs to the open file description: a command that inherits the handle keeps the
lock alive after its worker has died. portalocker calls the same flock, but its import takes a tenth of the start of a
pool, and its checks 15 us per lock. On Windows a lock belongs to the process.
"""

from __future__ import annotations

import os
import sys

from queuectl.system import disk, files, inodes, sharing

if sys.platform == "win32":
    import portalocker

    _EXCLUSIVE = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING

    def _lock(fd: int) -> bool:
        """Lock the file of a handle; return False if another process has the lock."""
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
    import fcntl

    def _lock(fd: int) -> bool:
        """Lock the file of a handle; return False if another process has the lock."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # EWOULDBLOCK; EACCES on some shares
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


# So many times in a row a lock file may be deleted just when it is locked.
_TRIES = 20


def lock_handle(fd: int) -> bool:
    """Lock the file of an open handle; return False if another handle has the lock. Closing this handle releases it."""
    return _lock(fd)


class FileLock:
    """One lock file, opened at the first try and kept open. A missing file is created, and never deleted here."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self._patience_s = sharing.SHARING_DEADLINE_S

    @property
    def fd(self) -> int:
        """The open descriptor that carries the lock (not inheritable by default)."""
        return self._fd

    def try_acquire(self) -> bool:
        """Take the lock if it is free; return whether this handle now has it.

        Raises:
            OSError: the file cannot be opened, or its file system has no locks.
        """
        if self._fd < 0:
            try:
                self._fd = disk.open_lock_file(self.path, patience_s=self._patience_s)
            except OSError:
                self._patience_s = sharing.GLANCE_S  # the holder seems to stay, so later tries wait less
                raise
        return _lock(self._fd)

    def release(self) -> None:
        """Release the lock and keep the file open."""
        _unlock(self._fd)

    def close(self) -> None:
        """Close the file, which releases the lock unless a command has inherited the handle."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class NamedLock(FileLock):
    """A lock file that its holder may delete (leases, pools).

    After locking, compare the open file with the file at the path, because a lock on a file that was deleted in between
    would exclude no other process.
    """

    id: inodes.FileId | None = None
    """The last locked file."""

    def try_acquire(self) -> bool:
        for _ in range(_TRIES):
            if not super().try_acquire():
                self.close()
                return False
            found = inodes.id_of_named(self._fd, self.path)
            if found is not None:
                self.id = found
                return True
            self.close()
        return False

    def remove(self) -> None:
        """Delete the file while its lock is held (on Windows just after closing it), and close the handle."""
        if not sharing.CAN_UNLINK_OPEN_FILES:
            self.close()
        disk.unlink_if_free(self.path)
        self.close()


class KeptLock(FileLock):
    """A permanent lock file that somebody may delete all the same: kept open, and compared with its path at each lock.

    A lock on a file that was deleted excludes no other process.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._inode = (0, 0)

    def try_acquire(self) -> bool:
        """Take the lock if it is free; return whether this handle now has it.

        Raises:
            FileNotFoundError: the folder is missing.
            OSError: the file cannot be opened, or its file system has no locks.
        """
        for _ in range(_TRIES):
            if self._fd < 0:
                if not super().try_acquire():
                    return False
                self._inode, _ = inodes.inode_and_size_of_open(self._fd)
            elif not _lock(self._fd):
                return False
            if inodes.inode_and_size(self.path)[0] == self._inode:
                return True
            self.close()
        return False


def is_held(path: str) -> bool:
    """Return whether a process holds the lock at `path`; False without a lock file (missing, a folder, a link).

    The test takes the lock for an instant, so an owner that starts at that moment may find it busy.
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
