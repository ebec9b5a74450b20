"""The C library, for what Python has no function for: a rename that refuses to replace, and syncfs.

Renames that never replace (promise P7) are renameat2 on Linux and renamex_np on macOS. What calls these is in `fsops`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import Any

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # linux/fs.h
_RENAME_EXCL = 4  # macOS sys/stdio.h

_UNTRIED: Any = object()
_no_replace_call: Any = _UNTRIED
_handle: Any = _UNTRIED


def handle() -> Any:
    """The C library through ctypes (10 ms to import, so only where needed), or None where there is none."""
    global _handle
    if _handle is _UNTRIED:
        _handle = None
        if os.name != "nt":
            import ctypes

            with contextlib.suppress(OSError):
                _handle = ctypes.CDLL(None, use_errno=True)
    return _handle


def no_replace() -> Callable[[bytes, bytes], int] | None:
    """The system's rename that refuses to replace; None where plain rename already refuses (Windows)."""
    global _no_replace_call
    if _no_replace_call is _UNTRIED:
        _no_replace_call = None if os.name == "nt" else _find_no_replace()
    found: Callable[[bytes, bytes], int] | None = _no_replace_call
    return found


def _find_no_replace() -> Callable[[bytes, bytes], int]:
    import ctypes

    libc = handle()
    text, integer, unsigned = ctypes.c_char_p, ctypes.c_int, ctypes.c_uint
    if sys.platform.startswith("linux") and hasattr(libc, "renameat2"):
        call = libc.renameat2
        call.argtypes = (integer, text, integer, text, unsigned)
        return lambda source, target: int(call(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE))
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        call = libc.renamex_np
        call.argtypes = (text, text, unsigned)
        return lambda source, target: int(call(source, target, _RENAME_EXCL))

    def unsupported(_source: bytes, _target: bytes) -> int:
        ctypes.set_errno(errno.ENOSYS)
        return -1

    return unsupported


def last_errno() -> int:
    """What the last call through ctypes failed with."""
    import ctypes

    return ctypes.get_errno()
