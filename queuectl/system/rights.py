"""Ownership and permissions of files, and giving root's files back to the owner of a spool (mostly POSIX).

Only this module changes the owner or mode of an existing file (`disk` does so only for a file it has just created).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable

from queuectl.system import acting
from queuectl.system.acting import as_owner
from queuectl.system.files import NOFOLLOW, READ, Content, open_regular, read_open

_FS_IOC_GETFLAGS = 2 << 30 | struct.calcsize("l") << 16 | ord("f") << 8 | 1  # ioctl_iflags(2)
_KEPT_AS_IT_IS = 0x30  # FS_IMMUTABLE_FL | FS_APPEND_FL
# `give_back` reads at most this much of a file to judge it.
_GIVEN_MOST_BYTES = 64 * 1024 * 1024


def may_enter(folder: str) -> bool:
    """Return whether this process can make a folder its working folder."""
    return os.path.isdir(folder) and os.access(folder, os.X_OK)


@as_owner
def may_change(folder: str) -> bool:
    """Return whether this user may create and delete names in a folder (on Windows: whether it exists)."""
    can_ask = os.access in os.supports_effective_ids
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=can_ask)


def mode_of(path: str, *, otherwise: int) -> int:
    """Return the permissions of the file at `path`, or `otherwise` if there is none."""
    try:
        return stat.S_IMODE(os.lstat(path).st_mode)
    except OSError:
        return otherwise


def owner_of(path: str) -> int | None:
    """Return the user who owns a file; None on Windows, or if the file cannot be examined."""
    if sys.platform == "win32":
        return None
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def user_at(path: str) -> int:
    """Return the user whose rights this process uses at a path (POSIX; else 0)."""
    if sys.platform == "win32":
        return 0
    owner = acting.owner_of(path)
    return owner.uid if owner is not None else os.geteuid()


def is_immutable(path: str) -> bool:
    """Return whether a file's attributes forbid changes (Linux: `chattr +i`, `+a`)."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fd = open_regular(path)[0]
    except OSError:
        return False
    try:
        found = fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(struct.calcsize("l")))
    except OSError:
        return False
    finally:
        os.close(fd)
    return bool(struct.unpack("l", found)[0] & _KEPT_AS_IT_IS)


def open_to_others(folder: str, bits: int) -> list[str]:
    """Return the names of regular files whose mode has one of `bits`, sorted; [] on Windows. Costs a stat per file."""
    return _names_of(folder, lambda info: bool(info.st_mode & bits))


@as_owner
def strange_files(folder: str, *, owner: int, needed: int) -> list[str]:
    """Return the sorted names of regular files of users other than `owner` whose mode lacks a bit of `needed`.

    Costs a stat per file; [] on Windows.
    """
    return _names_of(folder, lambda info: info.st_uid != owner and info.st_mode & needed != needed)


def _names_of(folder: str, is_meant: Callable[[os.stat_result], bool]) -> list[str]:
    if sys.platform == "win32":
        return []
    found = []
    with os.scandir(folder) as listed:
        for each in listed:
            try:
                info = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it moved on
            if stat.S_ISREG(info.st_mode) and is_meant(info):
                found.append(each.name)
    return sorted(found)


@as_owner
def set_mode(path: str, mode: int) -> None:
    """Set the mode of a regular file of this user; a file of another user keeps its mode."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        fd = os.open(path, READ | NOFOLLOW | os.O_NONBLOCK)
        try:
            info = os.fstat(fd)
            if stat.S_ISREG(info.st_mode) and info.st_uid == user_at(path) and stat.S_IMODE(info.st_mode) != mode:
                os.fchmod(fd, mode)
        finally:
            os.close(fd)


def give_back(folder: str, parts: tuple[str, ...], *, may_be: Callable[[Content], bool]) -> None:
    """Give a file of root to the owner of its folder, as root (POSIX).

    The owner controls the folder, and may try to get a file of somebody else. So each of `parts`, the folders on the
    way and the file, is opened relative to the previous one, without following links, and judged by its handle. The
    file must be a regular file of root with only one name, and `may_be` must accept its content.

    Raises:
        PermissionError: the file does not meet these conditions.
        OSError: the system call failed.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    shown = os.path.join(folder, *parts)
    fd = os.open(folder, READ | os.O_DIRECTORY)
    try:
        home = os.fstat(fd)
        for part in parts[:-1]:
            fd, above = os.open(part, READ | os.O_DIRECTORY | NOFOLLOW, dir_fd=fd), fd
            os.close(above)
        file_fd, info = open_regular(parts[-1], fd)
        try:
            if info.st_uid != 0 or info.st_nlink != 1 or not may_be(read_open(file_fd, info, _GIVEN_MOST_BYTES)):
                raise PermissionError(errno.EPERM, "keeps its owner, because it may be another file", shown)
            os.fchown(file_fd, home.st_uid, home.st_gid)
        finally:
            os.close(file_fd)
    finally:
        os.close(fd)
