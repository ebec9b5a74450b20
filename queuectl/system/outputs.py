"""The files that hold what commands print: opened, added to, shortened. What a command writes itself is not seen here.

`disk` changes everything else on the disk; like its functions, each of these is one step.
"""

from __future__ import annotations

import os

from queuectl.system import disk
from queuectl.system.acting import as_owner
from queuectl.system.files import READ_WRITE
from queuectl.system.sharing import patiently


@as_owner
def open_file(path: str, *, mode: int = disk.PRIVATE_MODE, keep: bool = False) -> int:
    """Open a file for the output of a command; each write goes to the end. `mode` as in `disk.create`.

    The file is empty, but with `keep` it keeps what it holds. Raises OSError.
    """
    flags = READ_WRITE | os.O_CREAT | os.O_APPEND | (0 if keep else os.O_TRUNC)
    fd: int = patiently(os.open, path, flags, mode)
    try:
        disk.open_to_group(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def add(fd: int, data: bytes) -> None:
    """Write to the end of an output. Raises OSError."""
    disk.write_all(fd, data)


def open_again(fd: int) -> int:
    """Return another handle to an output, with locks of its own, whatever has its name now (Linux). Raises OSError."""
    return os.open(f"/proc/self/fd/{fd}", READ_WRITE | os.O_APPEND)


def shorten(fd: int, size: int) -> None:
    """Cut an output down to a size (bytes). Raises OSError."""
    os.ftruncate(fd, size)
