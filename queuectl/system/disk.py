"""Change the disk: the module that links, renames, writes, fsyncs and deletes.

Each function is one step that either happened or did not, so that a crash can only fall between two calls of this
module (the crash tests kill a process before and after each of them). Apart from it, `outputs` writes what commands
print, and `trials` tries a file system out. This module, `files` (reading) and `sharing` (files that other programs
have open) handle the differences between operating systems:

- moves that never replace (promise P7): MoveFileEx on Windows, elsewhere through `libc`;
- only POSIX can fsync a folder.

As root this module works in the spool of another user with that user's rights (`acting`).

On POSIX a function with the argument `at`, the handle of an open folder, works in that folder, wherever its path leads
now: the path argument is then a name in the folder (None: relative to the working folder, as usual).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterable
from types import ModuleType

from queuectl.system.acting import as_owner
from queuectl.system.files import (
    NOFOLLOW,
    READ,
    READ_WRITE,
    SAFE,
    NotRegularError,
    as_not_regular,
    open_regular,
    sig_of,
)
from queuectl.system.sharing import SHARING_DEADLINE_S, patiently

# Files with a text of a job (records, logs) are readable by their owner only, whatever the umask: `env` may hold
# secrets. The settings can give a group read access. Others can never write (P10). On Windows the folder's access list
# decides.
PRIVATE_MODE = 0o600
GROUP_MODE = 0o640
# All users can read other files, unless the umask forbids it.
FILE_MODE = 0o644
FOLDER_MODE = 0o755
# Only the user can list it.
PRIVATE_FOLDER_MODE = 0o700

_WRITE = READ | os.O_WRONLY
_COPY_BYTES = 1024 * 1024
# A copy is fsynced after so many bytes, too, because one fsync of a large file could take minutes.
_SYNC_BYTES = 64 * 1024 * 1024
# What a copy keeps of the mode of its original: no write access for others, and no set-user-id bit.
_COPIED_MODE = 0o755
# The encoding of paths, for calls through ctypes (`os.fsencode` takes four times as long).
_PATHS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


# ----------------------------------------------------------------------------------------------------------- writing


@as_owner
def create(path: str, data: bytes, *, sync: bool, mode: int = PRIVATE_MODE, at: int | None = None) -> None:
    """Create a file with this content, and fsync it if `sync`. An error leaves nothing behind.

    `mode` is PRIVATE_MODE, GROUP_MODE (both whatever the umask) or FILE_MODE.

    Raises:
        FileExistsError: the name is taken; the file there is unchanged.
    """
    fd = patiently(functools.partial(os.open, dir_fd=at), path, _WRITE | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            open_to_group(fd, mode)
            write_all(fd, data)
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
    """Append to one of our files that is not published yet. Raises OSError."""
    fd = patiently(os.open, path, READ_WRITE | os.O_APPEND | SAFE)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


@as_owner
def append(path: str, tail: tuple[int, int, bytes], *, sync: bool, fd: int = -1) -> int:
    """Overwrite the end of a record; return the new size.

    On an error the old end is restored, so a full disk leaves the record unchanged.

    Args:
        path: the path of the record.
        tail: the size that the record must have, the offset, and the bytes. They end with the bytes that they replace,
            a record's closing (`record.Tail`).
        sync: whether to fsync the file.
        fd: a handle to the file, if the caller has one (`files.open_and_read`).

    Raises:
        BlockingIOError: the file has another size now, or (with `fd`) no name, because somebody changed or replaced
            it. Nothing was written.
        NotRegularError: somebody replaced the file with a link, a folder or the like.
        OSError: the system call failed.
    """
    if fd >= 0:
        return _append(fd, path, tail, sync, is_kept=True)
    try:
        fd = patiently(os.open, path, READ_WRITE | SAFE)
    except OSError as error:
        raise as_not_regular(error, path) from error
    try:
        return _append(fd, path, tail, sync, is_kept=False)
    finally:
        os.close(fd)


def _append(fd: int, path: str, tail: tuple[int, int, bytes], sync: bool, *, is_kept: bool) -> int:
    size, offset, data = tail
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        raise NotRegularError(errno.EINVAL, "not a regular file", path)
    # The names of a file that was just opened by its name do not count: on some file systems no file ever has one.
    if info.st_size != size or (is_kept and not info.st_nlink):
        raise BlockingIOError(errno.EWOULDBLOCK, "another program changed the record", path)
    try:
        write_at(fd, data, offset)
    except OSError:
        with contextlib.suppress(OSError):
            write_at(fd, data[offset - size :], offset)  # these blocks already exist, so this needs no space
            os.ftruncate(fd, size)
        raise
    if sync:
        os.fsync(fd)
    return offset + len(data)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of it in an open file, from `offset` on. Raises OSError."""
    if sys.platform == "win32":
        os.lseek(fd, offset, os.SEEK_SET)
        write_all(fd, data)
        return
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, data[written:], offset + written)


def write_all(fd: int, data: bytes) -> None:
    """Write all of it. Raises OSError."""
    written = os.write(fd, data)
    while written < len(data):  # a short write is the first sign of a full disk
        written += os.write(fd, data[written:])


def open_to_group(fd: int, mode: int) -> None:
    """Restore the mode of a new file that the umask may have reduced. Costs a call only with GROUP_MODE."""
    if sys.platform != "win32" and mode == GROUP_MODE:
        os.fchmod(fd, mode)


@as_owner
def copy(
    source: str,
    target: str,
    *,
    sync: bool,
    at: int | None = None,
    to: int | None = None,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Copy a regular file to a new file of this user, with its times and without write access for others; fsync it.

    Nobody else can read the copy before it is whole. An error leaves nothing behind. `beat` is called now and then.

    Args:
        at: the folder of the source (POSIX).
        to: the folder of the target (POSIX).

    Raises:
        FileExistsError: `target` exists; the file there is unchanged.
        NotRegularError: the source is not a regular file.
        BlockingIOError: the source was changed meanwhile.
        OSError: the system call failed.
    """
    fd, info = open_regular(source, at)
    try:
        made = os.open(target, _WRITE | os.O_CREAT | os.O_EXCL | NOFOLLOW, PRIVATE_MODE, dir_fd=to)
        try:
            try:
                _copy_bytes(fd, made, sync, beat)
                after = os.fstat(fd)
                if (after.st_size, after.st_mtime_ns) != (info.st_size, info.st_mtime_ns):
                    raise BlockingIOError(errno.EAGAIN, "it was changed while it was copied", source)
                if sys.platform != "win32":
                    os.fchmod(made, info.st_mode & _COPIED_MODE)
                    os.utime(made, ns=(info.st_atime_ns, info.st_mtime_ns))
                if sync:
                    os.fsync(made)
            finally:
                os.close(made)
            if sys.platform == "win32":  # a handle that has written sets the time when it is closed
                os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(target, dir_fd=to)
            raise
    finally:
        os.close(fd)


def _copy_bytes(fd: int, made: int, sync: bool, beat: Callable[[], None]) -> None:
    unsynced = 0
    while piece := os.read(fd, _COPY_BYTES):
        write_all(made, piece)
        unsynced += len(piece)
        if sync and unsynced >= _SYNC_BYTES:
            os.fsync(made)
            unsynced = 0
        beat()


@as_owner
def copy_link(source: str, target: str, *, at: int | None = None, to: int | None = None) -> None:
    """Make a link that leads where another one does. Raises FileExistsError, OSError."""
    os.symlink(os.readlink(source, dir_fd=at), target, dir_fd=to)


# ----------------------------------------------------------------------------------------------------------- syncing


@as_owner
def sync_folder(path: str) -> None:
    """Fsync a folder's names (POSIX; Windows and some shares cannot, and need not)."""
    if os.name == "nt":
        return
    fd = os.open(path, READ | getattr(os, "O_DIRECTORY", 0))
    try:
        sync_open_folder(fd)
    finally:
        os.close(fd)


def sync_open_folder(fd: int) -> None:
    """Do the same as `sync_folder`, for the handle of a folder."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise


@as_owner
def sync_file(path: str) -> None:
    """Fsync one file's content. Raises OSError; after a failure, a later success proves nothing."""
    fd = os.open(path, READ_WRITE | SAFE)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@as_owner
def sync_files(folder: str, paths: Iterable[str]) -> None:
    """Fsync many new files: with one syncfs of their file system on Linux (a fifth of the time), else one by one."""
    libc = _libc()
    system = libc.handle
    if system is not None and hasattr(system, "syncfs"):
        fd = os.open(folder, READ | getattr(os, "O_DIRECTORY", 0))
        try:
            if system.syncfs(fd) == 0:
                return
            code = libc.last_errno()
            raise OSError(code, os.strerror(code), folder)
        finally:
            os.close(fd)
    for path in paths:
        fd = os.open(path, READ_WRITE)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@functools.cache
def _libc() -> ModuleType:
    """Load the C library when it is first used, so that a command that only enqueues does not pay for it."""
    from queuectl.system import libc

    return libc


# ----------------------------------------------------------------------------------------------- moving and deleting


@as_owner
def move(
    source: str,
    target: str,
    *,
    patience_s: float = SHARING_DEADLINE_S,
    at: int | None = None,
    to: int | None = None,
) -> None:
    """Rename within the file system, never replacing a file (promise P7). On Windows wait for a file that is open.

    With `at` both names are in that folder; with `to` as well, the target is in the folder `to`.

    Raises:
        FileExistsError: `target` exists; nothing was moved.
        FileNotFoundError: `source` is gone, because another process moved it.
    """
    if os.name == "nt":  # MoveFileEx without MOVEFILE_REPLACE_EXISTING
        patiently(os.rename, source, target, patience_s=patience_s)
        return
    libc = _libc()
    folder = () if at is None else (at,) if to is None else (at, to)
    if libc.rename_no_replace(source.encode(*_PATHS), target.encode(*_PATHS), *folder) == 0:
        return
    code = libc.last_errno()
    if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(code, os.strerror(code), source, None, target)
    # A file system without the flag (NFS, some FUSE). The caller holds the id's stripe, so only a person with a mouse
    # could act between the two calls. Link and unlink would be worse: a crash in between leaves the job in two places.
    to = at if to is None else to
    if sig_of(target, at=to) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), source, None, target)
    os.rename(source, target, src_dir_fd=at, dst_dir_fd=to)


@as_owner
def replace(source: str, target: str, *, patience_s: float = SHARING_DEADLINE_S, at: int | None = None) -> None:
    """Rename over `target`; only for a fresh copy of the same job, and for internal files.

    With `at` both names are in that folder.
    """
    call = functools.partial(os.replace, src_dir_fd=at, dst_dir_fd=at)
    patiently(call, source, target, patience_s=patience_s)


@as_owner
def publish(source: str, target: str) -> None:
    """Give a finished file its public name, never replacing a file. A crash leaves at worst a second name in tmp/.

    Raises:
        FileExistsError: `target` exists; `source` is still there.
    """
    if os.name == "nt":
        patiently(os.rename, source, target)
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV):
            raise
        move(source, target)
        return
    with contextlib.suppress(OSError):  # the file has its name, and a second name in tmp/ is harmless
        os.unlink(source)


@as_owner
def unlink(path: str, *, patience_s: float = SHARING_DEADLINE_S, at: int | None = None) -> bool:
    """Delete a file; return False if it was already gone."""
    try:
        patiently(functools.partial(os.unlink, dir_fd=at), path, patience_s=patience_s)
    except FileNotFoundError:
        return False
    return True


@as_owner
def unlink_dropped(path: str, *, at: int | None = None) -> bool:
    """Do the same as `unlink`, also for a read-only file, which Windows otherwise refuses to delete."""
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            if not os.lstat(path).st_mode & stat.S_IWRITE:
                os.chmod(path, stat.S_IWRITE)
    return unlink(path, at=at)


@as_owner
def unlink_if_free(path: str) -> None:
    """Try once to delete a lock file; leave it if another process has it open."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        os.unlink(path)


@as_owner
def remove_tree(path: str) -> None:
    """Delete one of our scratch folders and everything in it, without following links."""
    import shutil

    patiently(shutil.rmtree, path)


@as_owner
def remove_folder(path: str, *, at: int | None = None) -> None:
    """Delete an empty folder. Raises OSError (ENOTEMPTY)."""
    os.rmdir(path, dir_fd=at)


@as_owner
def make_folder(path: str, *, mode: int = FOLDER_MODE) -> None:
    """Create a folder and its parents, all without write access for others (`os.makedirs` sets only the last mode).

    `mode` is the folder's own, FOLDER_MODE or PRIVATE_FOLDER_MODE; the umask applies.
    """
    above = os.path.dirname(path)
    if above == path:  # a missing drive or share on Windows
        raise FileNotFoundError(errno.ENOENT, "there is no such drive or share", path)
    if above and not os.path.isdir(above):
        make_folder(above)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


@as_owner
def make_folder_in(path: str, mode: int, *, at: int | None = None) -> None:
    """Create a folder with exactly this mode, whatever the umask (POSIX). Raises FileExistsError, OSError."""
    os.mkdir(path, mode & 0o777, dir_fd=at)
    if sys.platform == "win32":
        return
    fd = os.open(path, READ | os.O_DIRECTORY | NOFOLLOW, dir_fd=at)
    try:
        if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
            with contextlib.suppress(PermissionError):  # a share may have modes of its own
                os.fchmod(fd, mode)
    finally:
        os.close(fd)


@as_owner
def make_private_folder(path: str, file_mode: int) -> None:
    """Create a folder that only the readers of files with this mode can enter. Raises FileExistsError."""
    mode = file_mode | (file_mode & 0o440) >> 2
    os.mkdir(path, mode)
    if sys.platform != "win32" and file_mode == GROUP_MODE:
        os.chmod(path, mode)


# ------------------------------------------------------------------------------------------------------------- locks


@as_owner
def open_lock_file(path: str, *, patience_s: float = SHARING_DEADLINE_S) -> int:
    """Open a lock file for locking; create it if it is missing."""
    return patiently(os.open, path, READ_WRITE | os.O_CREAT | NOFOLLOW, PRIVATE_MODE, patience_s=patience_s)


@as_owner
def open_board(path: str) -> int:
    """Open a board for reading and `write_at`. Raises OSError (FileNotFoundError, ELOOP for a link)."""
    return patiently(os.open, path, READ_WRITE | SAFE)


def cut(fd: int, size: int) -> None:
    """Cut an open file to this size. Raises OSError."""
    os.ftruncate(fd, size)


def mark_lock_file(path: str, data: bytes) -> None:
    """Write into a lock file that another process holds (POSIX: the lock does not protect its bytes)."""
    fd = open_lock_file(path)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
