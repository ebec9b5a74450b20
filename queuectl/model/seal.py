"""Seals texts: a checksum in the last line distinguishes queuectl's own text from a text that a person has changed.

queuectl replaces or deletes only a text with an intact seal (P6, P11).
"""

from __future__ import annotations

import zlib

_SEAL = b"Written by queuectl, check %08x\n"
_SIZE = len(_SEAL % 0)


def seal(text: str) -> bytes:
    """Return a text with its seal as bytes for a file."""
    data = text.encode("utf-8", "replace")
    return data + _SEAL % zlib.crc32(data)


def is_sealed(data: bytes) -> bool:
    """Return whether a text is exactly as `seal` made it."""
    return data[-_SIZE:] == _SEAL % zlib.crc32(data[:-_SIZE])
