"""Files that not even root can change (Linux: the attribute that `chattr +i` sets)."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_GETFLAGS, _SETFLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10


def _set_immutable(path: Path, on: bool) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl

    fd = os.open(path, os.O_RDONLY)
    try:
        flags = struct.unpack("L", fcntl.ioctl(fd, _GETFLAGS, b"\0" * struct.calcsize("L")))[0]
        flags = flags | _IMMUTABLE if on else flags & ~_IMMUTABLE
        fcntl.ioctl(fd, _SETFLAGS, struct.pack("L", flags))
    finally:
        os.close(fd)


@contextlib.contextmanager
def immutable(*paths: str | os.PathLike[str]) -> Iterator[None]:
    """Nobody can write, rename or delete these files within; skips the test where that cannot be."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can make a file immutable")
    made: list[Path] = []
    try:
        for path in map(Path, paths):
            try:
                _set_immutable(path, True)
            except OSError:
                pytest.skip("this file system knows no immutable files")
            made.append(path)
        yield
    finally:
        for path in made:
            with contextlib.suppress(FileNotFoundError):
                _set_immutable(path, False)
