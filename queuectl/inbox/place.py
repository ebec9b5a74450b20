"""A folder that is used through its handle, so that it stays the same folder wherever its path leads later (POSIX).

A folder in it is opened without following a link and judged by its own handle. On Windows a path is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Collection, Iterator

from queuectl.spool import trust
from queuectl.system import disk, files, sharing

_PRIVATE = 0o700
# A junction or another reparse point, which leads to another folder (Windows).
_REPARSE = 0x400


class UnsafeFolderError(OSError):
    """A folder that another user could change, or a link in the place of a folder. The text says what to do."""


class Place:
    """An open folder. The owner must close it.

    Args:
        path: the path, for texts and on Windows.
        fd: the handle, which this object closes; -1 on Windows.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self.at = fd if fd >= 0 else None
        self._is_listed = False

    def close(self) -> None:
        """Close the handle."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entry(self, name: str) -> str:
        """Return the path of an entry, as `disk` and `files` expect it together with the handle."""
        return name if self.at is not None else f"{self.path}{os.sep}{name}"

    def names(self) -> list[str]:
        """Return the names in the folder. Raises OSError."""
        with self._to_list() as folder:
            return files.names(folder)

    def marked_names(self) -> list[str]:
        """Return the names in the folder, with a slash after folders (but not after links). Raises OSError."""
        with self._to_list() as folder:
            return files.marked_names(folder)

    @contextlib.contextmanager
    def _to_list(self) -> Iterator[str | int]:
        """Give a path or a handle to list: each handle once, because SSHFS without its cache lists nothing again."""
        if self.at is None or not self._is_listed:
            self._is_listed = True
            yield self.path if self.at is None else self.at
            return
        fd = files.open_folder_in(".", at=self.at, to_list=True)
        try:
            yield fd
        finally:
            os.close(fd)

    def may_change(self) -> bool:
        """Return whether this process may make, move and delete entries of the folder (POSIX)."""
        return files.may_change(self.path if self.at is None else self.at)

    def look(self, name: str) -> os.stat_result | None:
        """Return the facts of an entry, without following a link; None if there is none. Raises OSError."""
        return files.look(self.entry(name), at=self.at)

    def info(self) -> os.stat_result:
        """Return the facts of the folder itself. Raises OSError."""
        return os.stat(self.path) if self.at is None else os.fstat(self.at)

    def folder(self, name: str, *, owners: Collection[int] = ()) -> Place:
        """Open a folder in this one, which belongs to one of the users `owners` (POSIX; empty: to anybody).

        Raises:
            UnsafeFolderError: it is no folder, or belongs to another user.
            FileNotFoundError, OSError: the system call failed.
        """
        path = os.path.join(self.path, name)
        if sys.platform == "win32":
            found = os.lstat(path)
            if not stat.S_ISDIR(found.st_mode) or found.st_file_attributes & _REPARSE:
                raise _unsafe(path, "it is a link or a file, and must be a folder; remove it")
            return Place(path, -1)
        try:
            fd = files.open_folder_in(name, at=self.at, to_list=True)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise _unsafe(path, "it is a link or a file, and must be a folder; remove it") from None
            raise
        place = Place(path, fd)
        if owners and (owner := place.info().st_uid) not in owners:
            place.close()
            raise _unsafe(path, f"it belongs to user {trust.user_name(owner)}, and not to the workers' user; remove it")
        return place

    def make(self, name: str, mode: int = _PRIVATE) -> None:
        """Create a folder in this one. Raises FileExistsError, OSError."""
        disk.make_folder_in(self.entry(name), mode, at=self.at)

    def move(self, name: str, to: Place, target: str) -> None:
        """Rename an entry into another folder of the same file system, never replacing. Raises OSError."""
        disk.move(self.entry(name), to.entry(target), patience_s=sharing.GLANCE_S, at=self.at, to=to.at)

    def remove(self, name: str) -> bool:
        """Delete a file; return False if there is none. Raises OSError."""
        return disk.unlink_dropped(self.entry(name), at=self.at)

    def remove_folder(self, name: str) -> None:
        """Delete an empty folder in this one. Raises OSError."""
        disk.remove_folder(self.entry(name), at=self.at)

    def sync(self) -> None:
        """Fsync the folder's names, as far as its file system supports that."""
        with contextlib.suppress(OSError):
            if self.at is None:
                disk.sync_folder(self.path)
            else:
                disk.sync_open_folder(self.at)

    def open_to_read(self, name: str) -> int:
        """Return a handle to read a regular file, which the caller closes. Raises as `files.read`."""
        return files.open_to_read(self.entry(name), patience_s=sharing.GLANCE_S, at=self.at)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a small regular file. Raises as `files.read`."""
        return files.read(self.entry(name), max_bytes, patience_s=sharing.GLANCE_S, at=self.at).data


def _unsafe(path: str, why: str) -> UnsafeFolderError:
    return UnsafeFolderError(errno.EPERM, why, path)
