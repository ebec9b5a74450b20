"""Tell whether a name still belongs to an open file, since another process may have put another file in its place."""

from __future__ import annotations

import os

import msgspec


class FileId(msgspec.Struct, frozen=True):
    """Identifies a file, and distinguishes it from a later file with the same inode."""

    device: int
    inode: int
    ctime_ns: int


def is_at(fd: int, path: str) -> bool:
    """Return whether `path` leads to the open file or folder `fd`. Raises OSError if that is unknown."""
    try:
        named = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    opened = os.fstat(fd)
    return (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev)


def names_of(fd: int) -> int:
    """Return how many names an open file has: 0 after it was deleted (on some file systems always 0)."""
    return os.fstat(fd).st_nlink


def id_of_named(fd: int, path: str) -> FileId | None:
    """Return the id of an open file if the name `path` still belongs to it, else None."""
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return None
    opened = os.fstat(fd)
    if (named.st_ino, named.st_dev) != (opened.st_ino, opened.st_dev):
        return None
    return FileId(opened.st_dev, opened.st_ino, opened.st_ctime_ns)


def inode_and_size(path: str) -> tuple[tuple[int, int], int]:
    """Return the inode (with its device) and the size of what is at `path`; zeros if nothing is there.

    No other file has the inode of a file that is open. So whoever keeps a file open, and remembers its inode, learns by
    one call whether `path` still leads to it.
    """
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return (0, 0), 0
    return (info.st_dev, info.st_ino), info.st_size


def inode_and_size_of_open(fd: int) -> tuple[tuple[int, int], int]:
    """Return the same of an open file."""
    info = os.fstat(fd)
    return (info.st_dev, info.st_ino), info.st_size
