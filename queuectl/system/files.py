"""Examine and read files and folders. Only `disk` changes the disk.

Files are opened without following links and without waiting for another process, and the handle must belong to a
regular file. On Windows other programs can rename and delete a file while it is read.

On POSIX a function with the argument `at`, the handle of an open folder, works in that folder, wherever its path leads
now: the path argument is then a name in the folder (None: relative to the working folder, as usual).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from queuectl.system.acting import as_owner
from queuectl.system.sharing import SHARING_DEADLINE_S, is_open_elsewhere, open_handle, patiently

READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
READ_WRITE = READ | os.O_RDWR
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
# Follow no link and wait for no FIFO or terminal; the type of the file is checked on the handle.
SAFE = NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)

_PIECE_BYTES = 256 * 1024


class FileSig(msgspec.Struct, frozen=True):
    """Identifies one version of a file without reading it. `mtime_ns` is only compared, never used as a time."""

    inode: int
    size: int
    mtime_ns: int


class Content(NamedTuple):
    """A whole regular file. The `data` of an `oversize` file is empty, because it was not read."""

    data: bytes
    sig: FileSig
    links: int
    oversize: bool
    owner: int = 0
    """The user who owns the file (POSIX)."""


class NotRegularError(OSError):
    """A link, folder, FIFO, socket or device in the place of a job file: a foreign file, left alone (P11)."""


# ----------------------------------------------------------------------------------------------------------- looking


def sig_of(path: str, *, at: int | None = None) -> FileSig | None:
    """Return the signature of the file, folder or link at `path`, or None if there is none."""
    try:
        info = os.lstat(path, dir_fd=at)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileSig(info.st_ino, info.st_size, info.st_mtime_ns)


def sig_and_change(path: str) -> tuple[FileSig, int] | None:
    """Return `sig_of` and the time of the last change of the file, its mode or its owner, in nanoseconds (POSIX)."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileSig(info.st_ino, info.st_size, info.st_mtime_ns), info.st_ctime_ns


def is_regular(path: str, *, at: int | None = None) -> bool:
    """Return True for a regular file, False for anything else or a missing file. Raises OSError."""
    try:
        return stat.S_ISREG(os.lstat(path, dir_fd=at).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_folder(path: str, *, at: int | None = None) -> bool:
    """Return True for a folder that is not a link. Raises OSError."""
    try:
        return stat.S_ISDIR(os.lstat(path, dir_fd=at).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def last_change(path: str) -> tuple[int, float]:
    """Return the size of a file and the time of its last change. Raises OSError.

    On POSIX no user can set this time. On Windows a user may have set it (Python 3.11 offers no other time).
    """
    info = os.lstat(path)
    return info.st_size, info.st_mtime if os.name == "nt" else info.st_ctime


@as_owner
def look(path: str, *, at: int | None = None) -> os.stat_result | None:
    """Return the facts of whatever has this name, without following a link; None if nothing has it. Raises OSError."""
    try:
        return os.lstat(path, dir_fd=at)
    except (FileNotFoundError, NotADirectoryError):
        return None


@as_owner
def has_writer(path: str, *, at: int | None = None) -> bool | None:
    """Return whether a process has a file open for writing; None if the system does not tell.

    Linux tells it of files of this process' user (`written_at`). Windows tells whether any program has the file open
    in a way that excludes others, or for writing.

    Raises:
        NotRegularError, FileNotFoundError, OSError: as `read`.
    """
    if sys.platform == "win32":
        return is_open_elsewhere(path)
    if sys.platform != "linux":
        return None
    fd, _ = open_regular(path, at)
    try:
        return _refuses_lease(fd)
    finally:
        os.close(fd)


def _refuses_lease(fd: int) -> bool | None:
    """Return whether the system refuses a read lease of an open file because of a writer; None for other reasons."""
    assert sys.platform == "linux"
    import fcntl
    import signal

    try:
        # A writer that arrives during the microseconds of the lease waits for its end, and the system sends a signal.
        # SIGURG does nothing; the default signal would end this process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False


def written_at(path: str) -> float | None:
    """Return when a file last changed, by the system's clock, if a process has it open for writing; else None.

    Linux refuses a read lease while there is a writer (fcntl(2), F_SETLEASE). This takes some 6 us. None also
    means "unknown": on other systems, and for files without leases (another owner's, NFS).
    """
    if sys.platform != "linux":
        return None
    try:
        fd = _open_to_read(path)
    except OSError:
        return None
    try:
        return _written_at(fd)
    finally:
        os.close(fd)


def _written_at(fd: int) -> float | None:
    return os.fstat(fd).st_ctime if sys.platform == "linux" and _refuses_lease(fd) else None


# ------------------------------------------------------------------------------------------------- handles to folders


@as_owner
def may_change(folder: str | int) -> bool:
    """Return whether this process may make, move and delete entries of a folder, by its path or its handle (POSIX)."""
    if isinstance(folder, str):
        return os.access(folder, os.W_OK | os.X_OK)
    return os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=os.access in os.supports_effective_ids)


def open_folder(path: str) -> int:
    """Return a handle to a folder, for fchdir (POSIX)."""
    return os.open(path, getattr(os, "O_PATH", READ) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))


def open_folder_in(name: str, *, at: int | None, to_list: bool) -> int:
    """Return a handle to a folder (not a link), to work in it and (`to_list`) to list it (POSIX). Raises OSError."""
    # Traversing a folder needs no right to list it.
    access = READ if to_list else getattr(os, "O_PATH", READ)
    flags = access | getattr(os, "O_DIRECTORY", 0) | NOFOLLOW | getattr(os, "O_CLOEXEC", 0)
    return os.open(name, flags, dir_fd=at)


# ----------------------------------------------------------------------------------------------------------- reading


@as_owner
def read(path: str, max_bytes: int, *, patience_s: float = SHARING_DEADLINE_S, at: int | None = None) -> Content:
    """Read a whole regular file, without following links or waiting for another process.

    On Windows another program may block reading; then wait for up to `patience_s`.

    Raises:
        NotRegularError: the path is a link, a folder, a FIFO, a socket or a device.
        FileNotFoundError, PermissionError, OSError: the system call failed.
    """
    return patiently(_read, path, max_bytes, False, at, patience_s=patience_s)


def _read(path: str, max_bytes: int, only_head: bool = False, at: int | None = None) -> Content:
    fd, info = open_regular(path, at)
    try:
        return read_open(fd, info, max_bytes, only_head)
    finally:
        os.close(fd)


@as_owner
def read_and_look(path: str, max_bytes: int, *, patience_s: float = SHARING_DEADLINE_S) -> tuple[Content, float | None]:
    """Read a file as `read`, and then look for writers as `written_at`, with the same handle."""
    return patiently(_read_and_look, path, max_bytes, patience_s=patience_s)


def _read_and_look(path: str, max_bytes: int) -> tuple[Content, float | None]:
    fd, info = open_regular(path)
    try:
        return read_open(fd, info, max_bytes), _written_at(fd)
    finally:
        os.close(fd)


def read_open(fd: int, info: os.stat_result, max_bytes: int, only_head: bool = False) -> Content:
    sig = FileSig(info.st_ino, info.st_size, info.st_mtime_ns)
    if only_head:
        return Content(os.read(fd, max_bytes), sig, info.st_nlink, info.st_size > max_bytes, info.st_uid)
    if info.st_size > max_bytes:
        return Content(b"", sig, info.st_nlink, True, info.st_uid)
    data = os.read(fd, info.st_size + 1)
    if len(data) > info.st_size:  # the file is growing
        while len(data) <= max_bytes and (chunk := os.read(fd, 65536)):
            data += chunk
    if len(data) > max_bytes:
        return Content(b"", sig, info.st_nlink, True, info.st_uid)
    return Content(data, sig, info.st_nlink, False, info.st_uid)


@as_owner
def open_and_read(path: str, max_bytes: int) -> tuple[int, Content]:
    """Return a handle to one of our own regular files, for `disk.append`, and its content. The caller closes it.

    Raises:
        OSError: the same as `read`; PermissionError also if the file may be read but not written.
    """
    if os.name == "nt":  # on Windows a handle that lets others move the file cannot write
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    try:
        fd = os.open(path, READ_WRITE | SAFE)
    except OSError as error:
        raise as_not_regular(error, path) from error
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise NotRegularError(errno.EINVAL, "not a regular file", path)
        return fd, read_open(fd, info, max_bytes)
    except BaseException:
        os.close(fd)
        raise


@as_owner
def open_to_read(path: str, *, patience_s: float = SHARING_DEADLINE_S, at: int | None = None) -> int:
    """Return a handle to read a regular file, opened without following links or waiting for another process.

    Raises:
        OSError: the same as `read`.
    """
    return patiently(open_regular, path, at, patience_s=patience_s)[0]


def facts(fd: int, max_bytes: int) -> Content:
    """Return the same as `read` for an open file, but without its data."""
    info = os.fstat(fd)
    sig = FileSig(info.st_ino, info.st_size, info.st_mtime_ns)
    return Content(b"", sig, info.st_nlink, info.st_size > max_bytes, info.st_uid)


def read_at(fd: int, offset: int, size: int) -> bytes:
    """Return up to `size` bytes of an open file from `offset` on."""
    if sys.platform == "win32":
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)
    return os.pread(fd, size, offset)


def read_part(fd: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of an open file from `start` to `end`, in pieces."""
    while start < end:
        os.lseek(fd, start, os.SEEK_SET)
        if not (piece := os.read(fd, min(end - start, _PIECE_BYTES))):
            return
        start += len(piece)
        yield piece


def open_regular(path: str, at: int | None = None) -> tuple[int, os.stat_result]:
    # Check before opening, because opening a FIFO wakes its writer, and opening a device may do anything.
    if not stat.S_ISREG(os.lstat(path, dir_fd=at).st_mode):
        raise NotRegularError(errno.EINVAL, "not a regular file", path)
    try:
        fd = _open_to_read(path, at)
    except OSError as error:
        raise as_not_regular(error, path) from error
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        raise NotRegularError(errno.EINVAL, "not a regular file", path)
    return fd, info


def as_not_regular(error: OSError, path: str) -> OSError:
    """Convert an error of opening into NotRegularError if the path is not a regular file."""
    if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV) or os.path.isdir(path):
        return NotRegularError(error.errno, "not a regular file", path)
    return error


def _open_to_read(path: str, at: int | None = None) -> int:
    """Open for reading, so that other programs can rename and delete the file meanwhile (also on Windows)."""
    if sys.platform != "win32":
        return os.open(path, READ | SAFE, dir_fd=at)
    import _winapi
    import msvcrt

    return msvcrt.open_osfhandle(open_handle(path, _winapi.GENERIC_READ), READ)


@as_owner
def read_head(path: str, max_bytes: int) -> bytes:
    """Return the first bytes of a regular file, with the same checks and errors as `read`."""
    return patiently(_read, path, max_bytes, True).data


@as_owner
def read_tail(path: str, max_bytes: int, *, patience_s: float = SHARING_DEADLINE_S) -> bytes:
    """Return the last `max_bytes` bytes of a regular file. `patience_s` and errors as in `read`."""

    def call() -> bytes:
        fd, info = open_regular(path)
        try:
            os.lseek(fd, max(0, info.st_size - max_bytes), os.SEEK_SET)
            return os.read(fd, max_bytes)
        finally:
            os.close(fd)

    return patiently(call, patience_s=patience_s)


# ----------------------------------------------------------------------------------------------------------- listing


@as_owner
def names(folder: str | int) -> list[str]:
    """Return the names in a folder, in no order: one listing, no stat."""
    return os.listdir(folder)


@as_owner
def marked_names(folder: str | int) -> list[str]:
    """Return `names` with a slash after folders (but not after links): the listing has the types, so no stat."""
    with os.scandir(folder) as listed:
        return listed_names(list(listed))


def listed_names(entries: list[os.DirEntry[str]]) -> list[str]:
    """Return the names of entries of a listing, with a slash at the end of folders."""
    try:
        return [f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in entries]
    except OSError:  # the file system has no type in its listing, and refuses a stat
        return [_listed_name(entry) for entry in entries]


def _listed_name(entry: os.DirEntry[str]) -> str:
    try:
        return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
    except OSError:
        return entry.name


@as_owner
def changes(folder: str, ending: str, *, at_most: int) -> list[tuple[int, str]]:
    """Return the last changes (nanoseconds, for sorting) and names of files with this ending, last names first.

    Costs one listing and, on POSIX, a stat per file. Of more than `at_most` files, return those with the last names.
    """
    if sys.platform == "win32":  # a listing has the times
        with os.scandir(folder) as listed:
            found = [(each.stat(follow_symlinks=False).st_mtime_ns, each.name) for each in listed]
        found = [each for each in found if each[1].endswith(ending)]
        found.sort(key=lambda each: each[1], reverse=True)
        return found[:at_most]
    wanted = sorted((name for name in os.listdir(folder) if name.endswith(ending)), reverse=True)[:at_most]
    found = []
    folder_fd = os.open(folder, os.O_RDONLY)
    try:
        for name in wanted:
            try:
                found.append((os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mtime_ns, name))
            except FileNotFoundError:
                continue  # the file has moved
    finally:
        os.close(folder_fd)
    return found
