"""The door to the disk: the only module that links, renames, writes, syncs and deletes.

Each function is one step that either happened or did not, so that a crash between two calls of this module is the
only kind there is (the crash tests kill a process before and after every one of them). What differs between
operating systems about files lives here and nowhere else:

- moves that never replace (promise P7): MoveFileEx on Windows, elsewhere through `libc`;
- Windows refuses to touch a file that a reader, an editor or a virus scanner holds open for an instant, so there every
  call is tried again for up to 2.5 s on errors 5, 32 and 33; elsewhere each call is made once;
- a folder can be synced on POSIX only.

What root does here in the spool of another user it does as that user (`acting`).

On POSIX a function that takes `at`, the handle of an open folder, works in that folder whatever its path leads to by
now: the path is then a name in it (None: from the working folder, as ever).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import random
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from queuectl.system.acting import as_owner
from queuectl.system.acting import owner_of as owner_at

CAN_UNLINK_OPEN_FILES = os.name != "nt"

# What holds a text of a job (records, logs) is its owner's alone, whatever the umask: `env` may name secrets. The
# settings can open it to a group. Never writable by others (P10). On Windows the folder's access list decides.
PRIVATE_MODE = 0o600
GROUP_MODE = 0o640
# What holds none is everybody's to read; the umask may take that away.
FILE_MODE = 0o644
FOLDER_MODE = 0o755

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
# No link is followed, no FIFO and no terminal is waited for: what it is, is checked on the handle.
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_SAFE = _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_WRITE = _READ | os.O_WRONLY
_READ_WRITE = _READ | os.O_RDWR

_SHARING_ERRORS = (5, 32, 33)  # ERROR_ACCESS_DENIED, _SHARING_VIOLATION, _LOCK_VIOLATION
SHARING_DEADLINE_S = 2.5
# Patience with files that are not ours alone yet: somebody else's open handle must not hold up the other jobs (P6).
GLANCE_S = 0.1
# The pauses stay short: others hold a file for an instant, again and again, and more tries find more gaps (beside two
# programs that read one file in a loop without a pause, 3 of 1,000 tries succeed).
_SHARING_PAUSE_S = 0.02
_PIECE_BYTES = 256 * 1024
_FILE_SHARE_ALL = 7  # FILE_SHARE_READ | _WRITE | _DELETE
_DELETE = 0x00010000  # the right to delete and to rename
_FS_IOC_GETFLAGS = 2 << 30 | struct.calcsize("l") << 16 | ord("f") << 8 | 1  # ioctl_iflags(2)
_KEPT_AS_IT_IS = 0x30  # FS_IMMUTABLE_FL | FS_APPEND_FL

# Errors that are the machine's trouble and not a job's (promise P9): nothing is counted, the pool waits.
TROUBLE_ERRNOS = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EROFS", "EIO", "ESTALE", "ENOLCK")
    if hasattr(errno, name)
)

# Of these: what a dying disk or a server that is away says of every file, and a bad sector or a stale name of its own.
_EITHER_ERRNOS = frozenset(getattr(errno, name) for name in ("EIO", "ESTALE") if hasattr(errno, name))

# What `give_back` reads of a file, to judge it.
_GIVEN_MOST_BYTES = 64 * 1024 * 1024

T = TypeVar("T")


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


def is_trouble(error: OSError) -> bool:
    """True where the error is the machine's trouble (full disk, no handles, no memory), not a job's (P9)."""
    return error.errno in TROUBLE_ERRNOS or getattr(error, "winerror", None) in (8, 14, 39, 112, 1295, 1450, 1455)


def may_be_of_one_file(error: OSError) -> bool:
    """True for trouble that a damaged file has alone, and a dying disk with every file."""
    return error.errno in _EITHER_ERRNOS


def is_held(error: OSError) -> bool:
    """True where Windows refused because another program has the file open: "later", never "bad"."""
    return getattr(error, "winerror", None) in _SHARING_ERRORS


def _patiently(call: Callable[..., T], *facts: Any, patience_s: float = SHARING_DEADLINE_S) -> T:
    """`call(*facts)`; on Windows again and again while another program holds the file, for up to `patience_s`."""
    if os.name != "nt":
        return call(*facts)
    deadline = time.monotonic() + patience_s
    pause_s = 0.005
    while True:
        try:
            return call(*facts)
        except FileExistsError:
            raise
        except PermissionError as error:
            # open() reports a sharing violation as EACCES without a winerror.
            if getattr(error, "winerror", None) not in (*_SHARING_ERRORS, None) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.1, 1) * pause_s)
            pause_s = min(pause_s * 2, _SHARING_PAUSE_S)


@functools.cache
def _libc() -> ModuleType:
    """Loaded when first used, which is not where a job is only put in."""
    from queuectl.system import libc

    return libc


# ---------------------------------------------------------------------------------------------------------- reading


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


def may_enter(folder: str) -> bool:
    """True for a folder that this process can make its working folder."""
    return os.path.isdir(folder) and os.access(folder, os.X_OK)


@as_owner
def read(path: str, max_bytes: int, *, patience_s: float = SHARING_DEADLINE_S, at: int | None = None) -> Content:
    """Read a regular file whole, without following links or waiting for anybody, and close it.

    On Windows a program may hold the file so that nobody can read it: that is waited for, up to `patience_s`.

    Raises:
        NotRegularError: it is a link, a folder, a FIFO, a socket or a device.
        FileNotFoundError, PermissionError, OSError: as the system says.
    """
    return _patiently(_read, path, max_bytes, False, at, patience_s=patience_s)


def _read(path: str, max_bytes: int, only_head: bool = False, at: int | None = None) -> Content:
    fd, info = _open_regular(path, at)
    try:
        return _read_open(fd, info, max_bytes, only_head)
    finally:
        os.close(fd)


def _read_open(fd: int, info: os.stat_result, max_bytes: int, only_head: bool = False) -> Content:
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
        fd = os.open(path, _READ_WRITE | _SAFE)
    except OSError as error:
        raise _told_apart(error, path) from error
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise NotRegularError(errno.EINVAL, "not a regular file", path)
        return fd, _read_open(fd, info, max_bytes)
    except BaseException:
        os.close(fd)
        raise


@as_owner
def open_to_read(path: str, *, patience_s: float = SHARING_DEADLINE_S) -> int:
    """A handle to read a regular file with, opened without following links or waiting for anybody.

    Raises:
        OSError: as `read`.
    """
    return _patiently(_open_regular, path, patience_s=patience_s)[0]


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


def _open_regular(path: str, at: int | None = None) -> tuple[int, os.stat_result]:
    # Looked at before it is opened: opening is an act for a FIFO, whose writer waits for a reader, and for a device.
    if not stat.S_ISREG(os.lstat(path, dir_fd=at).st_mode):
        raise NotRegularError(errno.EINVAL, "not a regular file", path)
    try:
        fd = _open_to_read(path, at)
    except OSError as error:
        raise _told_apart(error, path) from error
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        raise NotRegularError(errno.EINVAL, "not a regular file", path)
    return fd, info


def _told_apart(error: OSError, path: str) -> OSError:
    """NotRegularError where that is why a file could not be opened."""
    if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV) or os.path.isdir(path):
        return NotRegularError(error.errno, "not a regular file", path)
    return error


def _open_to_read(path: str, at: int | None = None) -> int:
    """Open for reading; also on Windows so that others can rename and delete the file meanwhile."""
    if sys.platform != "win32":
        return os.open(path, _READ | _SAFE, dir_fd=at)
    import _winapi
    import msvcrt

    return msvcrt.open_osfhandle(_open_handle(path, _winapi.GENERIC_READ), _READ)


def _open_handle(path: str, access: int) -> int:
    """A handle of Windows to a file, which hinders nobody."""
    if sys.platform != "win32":
        raise NotImplementedError
    import _winapi

    try:
        return _winapi.CreateFile(path, access, _FILE_SHARE_ALL, 0, _winapi.OPEN_EXISTING, 0, 0)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path, error.winerror) from None


@as_owner
def read_head(path: str, max_bytes: int) -> bytes:
    """The first bytes of a regular file; checks and errors as `read`."""
    return _patiently(_read, path, max_bytes, True).data


@as_owner
def read_tail(path: str, max_bytes: int) -> bytes:
    """The last `max_bytes` bytes of a regular file."""

    def call() -> bytes:
        fd, info = _open_regular(path)
        try:
            os.lseek(fd, max(0, info.st_size - max_bytes), os.SEEK_SET)
            return os.read(fd, max_bytes)
        finally:
            os.close(fd)

    return _patiently(call)


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


def open_to_others(folder: str, bits: int) -> list[str]:
    """The names of regular files in a folder whose mode has one of `bits`, sorted; a stat a file. None on Windows."""
    if sys.platform == "win32":
        return []
    found = []
    with os.scandir(folder) as listed:
        for each in listed:
            try:
                mode = each.stat(follow_symlinks=False).st_mode
            except FileNotFoundError:
                continue  # it moved on
            if stat.S_ISREG(mode) and mode & bits:
                found.append(each.name)
    return sorted(found)


@as_owner
def strange_files(folder: str, *, owner: int, needed: int) -> list[str]:
    """The names of regular files in a folder that are not `owner`'s and whose mode lacks a bit of `needed`, sorted.

    A stat a file; none on Windows.
    """
    if sys.platform == "win32":
        return []
    found = []
    with os.scandir(folder) as listed:
        for each in listed:
            try:
                info = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it moved on
            if info.st_uid != owner and info.st_mode & needed != needed and stat.S_ISREG(info.st_mode):
                found.append(each.name)
    return sorted(found)


# ---------------------------------------------------------------------------------------------------------- writing


@as_owner
def create(path: str, data: bytes, *, sync: bool, mode: int = PRIVATE_MODE, at: int | None = None) -> None:
    """Make a new file with this content, forced to disk where `sync`. On an error nothing is left behind.

    `mode` is PRIVATE_MODE, GROUP_MODE (both whatever the umask) or FILE_MODE.

    Raises:
        FileExistsError: the name is taken; the file there is not touched.
    """
    fd = _patiently(functools.partial(os.open, dir_fd=at), path, _WRITE | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            _open_to_group(fd, mode)
            _write_all(fd, data)
            if sync:
                # A failed fsync is never tried again on the same file: the kernel may have dropped the pages.
                os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path, dir_fd=at)
        raise


@as_owner
def extend(path: str, data: bytes) -> None:
    """Write more to the end of a file of ours that is not published yet. Raises OSError."""
    fd = _patiently(os.open, path, _READ_WRITE | os.O_APPEND | _SAFE)
    try:
        _write_all(fd, data)
    finally:
        os.close(fd)


@as_owner
def append(path: str, sig_size: int, offset: int, data: bytes, *, sync: bool, fd: int = -1) -> int:
    """Write `data` over the end of a record of `sig_size` bytes, from `offset` on; return the new size.

    `data` ends with the bytes that it writes over, a record's closing. On an error they are put back, so a full disk
    leaves the record as it was. `fd` is a handle to the file, where the caller has one (`open_and_read`).

    Raises:
        BlockingIOError: the file has another size by now, or (with `fd`) no name: somebody changed it, or put another
            in its place. Nothing was written.
        NotRegularError: somebody put a link, a folder or the like in its place.
        OSError: as the system says.
    """
    if fd >= 0:
        return _append(fd, path, sig_size, offset, data, sync, is_kept=True)
    try:
        fd = _patiently(os.open, path, _READ_WRITE | _SAFE)
    except OSError as error:
        raise _told_apart(error, path) from error
    try:
        return _append(fd, path, sig_size, offset, data, sync, is_kept=False)
    finally:
        os.close(fd)


def _append(fd: int, path: str, sig_size: int, offset: int, data: bytes, sync: bool, *, is_kept: bool) -> int:
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        raise NotRegularError(errno.EINVAL, "not a regular file", path)
    # What has just been opened by its name is not asked for names: some file systems always say that it has none.
    if info.st_size != sig_size or (is_kept and not info.st_nlink):
        raise BlockingIOError(errno.EWOULDBLOCK, "the record was changed by somebody else", path)
    os.lseek(fd, offset, os.SEEK_SET)
    try:
        _write_all(fd, data)
    except OSError:
        with contextlib.suppress(OSError):
            os.lseek(fd, offset, os.SEEK_SET)
            _write_all(fd, data[offset - sig_size :])  # blocks that exist already: needs no space
            os.ftruncate(fd, sig_size)
        raise
    if sync:
        os.fsync(fd)
    return offset + len(data)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):  # a short write is how a full disk announces itself
        written += os.write(fd, data[written:])


@as_owner
def sync_folder(path: str) -> None:
    """Force a folder's names to disk (POSIX; Windows and some shares cannot, and do it themselves)."""
    if os.name == "nt":
        return
    fd = os.open(path, _READ | getattr(os, "O_DIRECTORY", 0))
    try:
        sync_open_folder(fd)
    finally:
        os.close(fd)


def sync_open_folder(fd: int) -> None:
    """As `sync_folder`, for the handle of a folder."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise


@as_owner
def sync_file(path: str) -> None:
    """Force one file's content to disk. Raises OSError; once that failed, a later success proves nothing."""
    fd = os.open(path, _READ_WRITE | _SAFE)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@as_owner
def sync_files(folder: str, paths: Iterable[str]) -> None:
    """Force many files that were just written to disk: one syncfs of their file system on Linux, else one by one.

    2,000 small files: 0.15 s at once, 0.7 s one by one.
    """
    libc = _libc()
    system = libc.handle
    if system is not None and hasattr(system, "syncfs"):
        fd = os.open(folder, _READ | getattr(os, "O_DIRECTORY", 0))
        try:
            if system.syncfs(fd) == 0:
                return
            code = libc.last_errno()
            raise OSError(code, os.strerror(code), folder)
        finally:
            os.close(fd)
    for path in paths:
        fd = os.open(path, _READ_WRITE)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def open_folder(path: str) -> int:
    """A handle to a folder, to go to with fchdir (POSIX)."""
    return os.open(path, getattr(os, "O_PATH", _READ) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))


def open_folder_in(name: str, *, at: int | None, to_list: bool) -> int:
    """A handle to a folder that is no link, to work in or (`to_list`) to list as well (POSIX). Raises OSError."""
    # To go through a folder takes no right to list it.
    access = _READ if to_list else getattr(os, "O_PATH", _READ)
    flags = access | getattr(os, "O_DIRECTORY", 0) | _NOFOLLOW | getattr(os, "O_CLOEXEC", 0)
    return os.open(name, flags, dir_fd=at)


@as_owner
def open_output(path: str, *, mode: int = PRIVATE_MODE) -> int:
    """Open a new, empty file for a command to print to; every write goes to its end. `mode` as in `create`."""
    fd: int = _patiently(os.open, path, _READ_WRITE | os.O_CREAT | os.O_TRUNC | os.O_APPEND, mode)
    try:
        _open_to_group(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_to_group(fd: int, mode: int) -> None:
    """Give a new file the mode that the umask may have cut: a call only where the settings open files to a group."""
    if sys.platform != "win32" and mode == GROUP_MODE:
        os.fchmod(fd, mode)


@as_owner
def may_change(folder: str) -> bool:
    """True where this user may make and delete names in a folder (on Windows: where it is there)."""
    can_ask = os.access in os.supports_effective_ids
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=can_ask)


def user_at(path: str) -> int:
    """The user that this process works as, at a path (POSIX; else 0)."""
    owner = owner_at(path)
    return owner.uid if owner is not None else 0 if sys.platform == "win32" else os.geteuid()


def owner_of(path: str) -> int | None:
    """The user that a file belongs to; None on Windows, and where it cannot be seen."""
    if sys.platform == "win32":
        return None
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def give_back(folder: str, parts: tuple[str, ...], *, may_be: Callable[[Content], bool]) -> None:
    """As root: give a file of root's in a folder to the owner of the folder (POSIX).

    The owner decides what lies there, and may try to be given what is not theirs. So each of `parts`, the folders on
    the way and the file, is opened in the one before, without following links, and everything is judged by handle: a
    regular file of root's with one name only, whose content `may_be` what belongs there.

    Raises:
        PermissionError: it is something else.
        OSError: as the system says.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    shown = os.path.join(folder, *parts)
    fd = os.open(folder, _READ | os.O_DIRECTORY)
    try:
        home = os.fstat(fd)
        for part in parts[:-1]:
            fd, above = os.open(part, _READ | os.O_DIRECTORY | _NOFOLLOW, dir_fd=fd), fd
            os.close(above)
        file_fd, info = _open_regular(parts[-1], fd)
        try:
            if info.st_uid != 0 or info.st_nlink != 1 or not may_be(_read_open(file_fd, info, _GIVEN_MOST_BYTES)):
                raise PermissionError(errno.EPERM, "is not given away: it may be something else", shown)
            os.fchown(file_fd, home.st_uid, home.st_gid)
        finally:
            os.close(file_fd)
    finally:
        os.close(fd)


def is_immutable(path: str) -> bool:
    """True where a file's attributes say that nobody may change it (Linux: `chattr +i`, `+a`)."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fd = _open_regular(path)[0]
    except OSError:
        return False
    try:
        found = fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(struct.calcsize("l")))
    except OSError:
        return False
    finally:
        os.close(fd)
    return bool(struct.unpack("l", found)[0] & _KEPT_AS_IT_IS)


@as_owner
def set_mode(path: str, mode: int) -> None:
    """Give a regular file of this user the mode of our own files; what is anybody else's keeps its mode."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        fd = os.open(path, _READ | _NOFOLLOW | os.O_NONBLOCK)
        try:
            info = os.fstat(fd)
            if stat.S_ISREG(info.st_mode) and info.st_uid == user_at(path) and stat.S_IMODE(info.st_mode) != mode:
                os.fchmod(fd, mode)
        finally:
            os.close(fd)


def mode_of(path: str, *, otherwise: int) -> int:
    """The permissions of the file at `path`, or `otherwise` where there is none."""
    try:
        return stat.S_IMODE(os.lstat(path).st_mode)
    except OSError:
        return otherwise


# ----------------------------------------------------------------------------------------------------------- moving


def check_free(path: str) -> None:
    """On Windows: raise what a move of this file would raise now, because a program has it open. Else nothing."""
    if sys.platform == "win32":
        import _winapi

        _winapi.CloseHandle(_open_handle(path, _DELETE))


@as_owner
def move(source: str, target: str, *, patience_s: float = SHARING_DEADLINE_S, at: int | None = None) -> None:
    """Rename within the file system; never replaces (promise P7). On Windows a file that is open is waited for.

    With `at` both names are in that folder.

    Raises:
        FileExistsError: `target` exists; nothing was moved.
        FileNotFoundError: `source` is gone: somebody else moved it.
    """
    if os.name == "nt":  # MoveFileEx without MOVEFILE_REPLACE_EXISTING
        _patiently(os.rename, source, target, patience_s=patience_s)
        return
    libc = _libc()
    folder = () if at is None else (at,)
    if libc.rename_no_replace(os.fsencode(source), os.fsencode(target), *folder) == 0:
        return
    code = libc.last_errno()
    if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(code, os.strerror(code), source, None, target)
    # A file system without the flag (NFS, some FUSE). The caller holds the id's stripe, so only a person with a mouse
    # could get between the two calls. Not link and unlink: a crash between those leaves the job in two places.
    if sig_of(target, at=at) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), source, None, target)
    os.rename(source, target, src_dir_fd=at, dst_dir_fd=at)


@as_owner
def replace(source: str, target: str, *, patience_s: float = SHARING_DEADLINE_S, at: int | None = None) -> None:
    """Rename over `target`: only for a fresh copy of the same job, and for files of our own machinery.

    With `at` both names are in that folder.
    """
    call = functools.partial(os.replace, src_dir_fd=at, dst_dir_fd=at)
    _patiently(call, source, target, patience_s=patience_s)


@as_owner
def publish(source: str, target: str) -> None:
    """Give a finished file its public name; never replaces. A crash in between leaves at worst a second name in tmp/.

    Raises:
        FileExistsError: `target` exists; `source` is still there.
    """
    if os.name == "nt":
        _patiently(os.rename, source, target)
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV):
            raise
        move(source, target)
        return
    with contextlib.suppress(OSError):  # it has its name: a second one in tmp/ harms nobody
        os.unlink(source)


@as_owner
def unlink(path: str, *, at: int | None = None) -> bool:
    """Delete a file; False where it was gone already."""
    try:
        _patiently(functools.partial(os.unlink, dir_fd=at), path)
    except FileNotFoundError:
        return False
    return True


@as_owner
def unlink_dropped(path: str, *, at: int | None = None) -> bool:
    """As `unlink`, also for a file that is marked read-only: Windows keeps such a file, copied from wherever it was."""
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            if not os.lstat(path).st_mode & stat.S_IWRITE:
                os.chmod(path, stat.S_IWRITE)
    return unlink(path, at=at)


@as_owner
def unlink_if_free(path: str) -> None:
    """Delete a lock file unless somebody has it open or it is gone (one try)."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        os.unlink(path)


@as_owner
def make_folder(path: str) -> None:
    """Make a folder, and those above it, that others cannot write to (`os.makedirs` gives its mode to the last)."""
    above = os.path.dirname(path)
    if above == path:  # nothing is above it, and it is not there: Windows has drives and shares that can be missing
        raise FileNotFoundError(errno.ENOENT, "there is no such drive or share", path)
    if above and not os.path.isdir(above):
        make_folder(above)
    try:
        os.mkdir(path, FOLDER_MODE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


# ------------------------------------------------------------------------------------------------------------ locks


@as_owner
def open_lock_file(path: str, *, patience_s: float = SHARING_DEADLINE_S) -> int:
    """Open a lock file for locking, making it if it is missing."""
    return _patiently(os.open, path, _READ_WRITE | os.O_CREAT | _NOFOLLOW, PRIVATE_MODE, patience_s=patience_s)


def mark_lock_file(path: str, data: bytes) -> None:
    """Write into a lock file that somebody else holds (POSIX: its lock is no lock on its bytes)."""
    fd = open_lock_file(path)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


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


# --------------------------------------------------------------------------------- what this file system can (doctor)


@as_owner
def refuses_to_replace(source: str, target: str) -> bool:
    """True where the system itself refuses to move `source` onto `target`, which exists; else `move` looks first.

    To be asked with files of no worth: a system that knows the call and replaces all the same would do so.
    """
    if os.name == "nt":
        return True
    libc = _libc()
    refused: bool = libc.rename_no_replace(os.fsencode(source), os.fsencode(target)) != 0
    return refused and libc.last_errno() == errno.EEXIST


@as_owner
def can_link(source: str, target: str) -> bool:
    """True where a file can be given a second name, `target`, which is taken away again."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        return False
    _patiently(os.unlink, target)
    return True


@as_owner
def remove_tree(path: str) -> None:
    """Delete a scratch folder of ours and everything in it (links in it are not followed)."""
    import shutil

    _patiently(shutil.rmtree, path)
