"""Look at files and folders and read them: nothing here changes the disk (`disk` does).

Files are opened without following links and without waiting for anybody, and checked on the handle to be regular
files. On Windows others can rename and delete a file while it is read.

On POSIX a function that takes `at`, the handle of an open folder, works in that folder wherever its path leads by now:
the path is then a name in it (None: relative to the working folder, as usual).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from typing import NamedTuple

from queuectl.system.acting import as_owner
from queuectl.system.sharing import SHARING_DEADLINE_S, open_handle, patiently

READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
READ_WRITE = READ | os.O_RDWR
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
# Follow no link, wait for no FIFO and no terminal: the type of the file is checked on the handle.
SAFE = NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)

_PIECE_BYTES = 256 * 1024


class FileSig(NamedTuple):
    """What tells one version of a file from another without reading it. `mtime_ns` is compared, never a clock."""

    inode: int
    size: int
    mtime_ns: int


class Content(NamedTuple):
    """A regular file read whole. `oversize` files are not read: `data` is empty."""

    data: bytes
    sig: FileSig
    links: int
    oversize: bool
    owner: int = 0
    """The user that the file belongs to (POSIX)."""


class NotRegularError(OSError):
    """A link, folder, FIFO, socket or device where a job file would be: a foreign file, left alone (P11)."""


# ----------------------------------------------------------------------------------------------------------- looking


def sig_of(path: str, *, at: int | None = None) -> FileSig | None:
    """The signature of whatever lies at `path` (links are not followed), or None where nothing does."""
    try:
        info = os.lstat(path, dir_fd=at)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileSig(info.st_ino, info.st_size, info.st_mtime_ns)


def sig_and_change(path: str) -> tuple[FileSig, int] | None:
    """As `sig_of`, and when the file or what is known of it (mode, owner) last changed, in nanoseconds (POSIX)."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileSig(info.st_ino, info.st_size, info.st_mtime_ns), info.st_ctime_ns


def is_regular(path: str, *, at: int | None = None) -> bool:
    """True for a regular file; False for a link, a folder and the like, and where nothing is. Raises OSError."""
    try:
        return stat.S_ISREG(os.lstat(path, dir_fd=at).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_folder(path: str, *, at: int | None = None) -> bool:
    """True for a folder; links are not followed. Raises OSError."""
    try:
        return stat.S_ISDIR(os.lstat(path, dir_fd=at).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def last_change(path: str) -> tuple[int, float]:
    """The size of a file and when it last changed. Raises OSError.

    On POSIX by the time that nobody can set. Windows tells it too late (Python 3.11), so there any time is possible.
    """
    info = os.lstat(path)
    return info.st_size, info.st_mtime if os.name == "nt" else info.st_ctime


def written_at(path: str) -> float | None:
    """When a file last changed, by the system's clock, where some process has it open for writing; else None.

    Linux tells: a lease for reading is refused while there is a writer (fcntl(2), F_SETLEASE). Some 6 us. Elsewhere,
    and where leases are not to be had (another owner's file, NFS), nobody knows: None.
    """
    if sys.platform != "linux":
        return None
    import fcntl
    import signal

    try:
        fd = _open_to_read(path)
    except OSError:
        return None
    try:
        # A writer that comes in the microseconds of the lease is held up until it ends, and we are told by a signal:
        # by one that does nothing, as the usual one ends a process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return os.fstat(fd).st_ctime if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
    return None


# ------------------------------------------------------------------------------------------------------ open handles


class FileId(NamedTuple):
    """What tells a file from any other, also from one that gets its inode later."""

    device: int
    inode: int
    ctime_ns: int


def is_at(fd: int, path: str) -> bool:
    """True where `path` leads to the open file or folder `fd`. Raises OSError where nobody can tell."""
    try:
        named = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    opened = os.fstat(fd)
    return (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev)


def names_of(fd: int) -> int:
    """How many names an open file has: none once it was deleted. (Some file systems say so of each.)"""
    return os.fstat(fd).st_nlink


def id_of_named(fd: int, path: str) -> FileId | None:
    """The open file, if the name `path` still belongs to it; else None."""
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return None
    opened = os.fstat(fd)
    if (named.st_ino, named.st_dev) != (opened.st_ino, opened.st_dev):
        return None
    return FileId(opened.st_dev, opened.st_ino, opened.st_ctime_ns)


def open_folder(path: str) -> int:
    """A handle to a folder, to go to with fchdir (POSIX)."""
    return os.open(path, getattr(os, "O_PATH", READ) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))


def open_folder_in(name: str, *, at: int | None, to_list: bool) -> int:
    """A handle to a folder that is no link, to work in or (`to_list`) to list as well (POSIX). Raises OSError."""
    # To go through a folder takes no right to list it.
    access = READ if to_list else getattr(os, "O_PATH", READ)
    flags = access | getattr(os, "O_DIRECTORY", 0) | NOFOLLOW | getattr(os, "O_CLOEXEC", 0)
    return os.open(name, flags, dir_fd=at)


# ----------------------------------------------------------------------------------------------------------- reading


@as_owner
def read(path: str, max_bytes: int, *, patience_s: float = SHARING_DEADLINE_S, at: int | None = None) -> Content:
    """Read a regular file whole, without following links or waiting for anybody, and close it.

    On Windows a program may hold the file so that nobody can read it: that is waited for, up to `patience_s`.

    Raises:
        NotRegularError: it is a link, a folder, a FIFO, a socket or a device.
        FileNotFoundError, PermissionError, OSError: as the system says.
    """
    return patiently(_read, path, max_bytes, False, at, patience_s=patience_s)


def _read(path: str, max_bytes: int, only_head: bool = False, at: int | None = None) -> Content:
    fd, info = open_regular(path, at)
    try:
        return read_open(fd, info, max_bytes, only_head)
    finally:
        os.close(fd)


def read_open(fd: int, info: os.stat_result, max_bytes: int, only_head: bool = False) -> Content:
    sig = FileSig(info.st_ino, info.st_size, info.st_mtime_ns)
    if only_head:
        return Content(os.read(fd, max_bytes), sig, info.st_nlink, info.st_size > max_bytes, info.st_uid)
    if info.st_size > max_bytes:
        return Content(b"", sig, info.st_nlink, True, info.st_uid)
    data = os.read(fd, info.st_size + 1)
    if len(data) > info.st_size:  # it grows while it is read
        while len(data) <= max_bytes and (chunk := os.read(fd, 65536)):
            data += chunk
    if len(data) > max_bytes:
        return Content(b"", sig, info.st_nlink, True, info.st_uid)
    return Content(data, sig, info.st_nlink, False, info.st_uid)


@as_owner
def open_and_read(path: str, max_bytes: int) -> tuple[int, Content]:
    """A handle to a regular file that is ours alone, for `append`, and its content. To be closed by the caller.

    Raises:
        OSError: as `read`; PermissionError also where it may be read and not be written.
    """
    if os.name == "nt":  # opened so that others may move it meanwhile, it could not be written there
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
def open_to_read(path: str, *, patience_s: float = SHARING_DEADLINE_S) -> int:
    """A handle to read a regular file with, opened without following links or waiting for anybody.

    Raises:
        OSError: as `read`.
    """
    return patiently(open_regular, path, patience_s=patience_s)[0]


def facts(fd: int, max_bytes: int) -> Content:
    """What `read` tells of an open file, without its data."""
    info = os.fstat(fd)
    sig = FileSig(info.st_ino, info.st_size, info.st_mtime_ns)
    return Content(b"", sig, info.st_nlink, info.st_size > max_bytes, info.st_uid)


def read_part(fd: int, start: int, end: int) -> Iterator[bytes]:
    """The bytes of an open file from `start` to `end`, in pieces."""
    while start < end:
        os.lseek(fd, start, os.SEEK_SET)
        if not (piece := os.read(fd, min(end - start, _PIECE_BYTES))):
            return
        start += len(piece)
        yield piece


def open_regular(path: str, at: int | None = None) -> tuple[int, os.stat_result]:
    # Looked at before it is opened: opening is an act for a FIFO, whose writer waits for a reader, and for a device.
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
    """NotRegularError where that is why a file could not be opened."""
    if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV) or os.path.isdir(path):
        return NotRegularError(error.errno, "not a regular file", path)
    return error


def _open_to_read(path: str, at: int | None = None) -> int:
    """Open for reading; also on Windows so that others can rename and delete the file meanwhile."""
    if sys.platform != "win32":
        return os.open(path, READ | SAFE, dir_fd=at)
    import _winapi
    import msvcrt

    return msvcrt.open_osfhandle(open_handle(path, _winapi.GENERIC_READ), READ)


@as_owner
def read_head(path: str, max_bytes: int) -> bytes:
    """The first bytes of a regular file; checks and errors as `read`."""
    return patiently(_read, path, max_bytes, True).data


@as_owner
def read_tail(path: str, max_bytes: int) -> bytes:
    """The last `max_bytes` bytes of a regular file."""

    def call() -> bytes:
        fd, info = open_regular(path)
        try:
            os.lseek(fd, max(0, info.st_size - max_bytes), os.SEEK_SET)
            return os.read(fd, max_bytes)
        finally:
            os.close(fd)

    return patiently(call)


# ----------------------------------------------------------------------------------------------------------- listing


@as_owner
def names(folder: str | int) -> list[str]:
    """The names in a folder, in no order: one listing, no stat."""
    return os.listdir(folder)


@as_owner
def marked_names(folder: str) -> list[str]:
    """As `names`, with a slash behind those of folders (links are not followed): the listing tells, so no stat."""
    with os.scandir(folder) as listed:
        return [listed_name(each) for each in listed]


def listed_name(entry: os.DirEntry[str]) -> str:
    """The name of an entry of a listing, with a slash behind it for a folder."""
    try:
        return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
    except OSError:  # a file system whose listing does not tell, and that does not let us ask
        return entry.name


@as_owner
def changes(folder: str, ending: str, *, at_most: int) -> list[tuple[int, str]]:
    """When files with this ending last changed (nanoseconds, for an order only) and their names, last names first.

    One listing, and on POSIX a stat a file, so of more than `at_most` files those with the last names are asked.
    """
    if sys.platform == "win32":  # a listing tells the times too
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
                continue  # it moved on
    finally:
        os.close(folder_fd)
    return found
