"""The C library, for what Python has no function for: a rename that refuses to replace, and syncfs.

Renames that never replace (promise P7) are renameat2 on Linux and renamex_np on macOS. What calls these is in `fsops`,
which loads this module only where it is needed: ctypes takes 10 ms.
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


def _load() -> Any:
    if os.name == "nt":
        return None
    import ctypes

    with contextlib.suppress(OSError):
        return ctypes.CDLL(None, use_errno=True)
    return None


handle: Any = _load()
"""The C library through ctypes, or None where there is none."""


def _find_no_replace() -> Callable[[bytes, bytes], int]:
    import ctypes

    text, integer, unsigned = ctypes.c_char_p, ctypes.c_int, ctypes.c_uint
    if sys.platform.startswith("linux") and hasattr(handle, "renameat2"):
        handle.renameat2.argtypes = (integer, text, integer, text, unsigned)
        renameat2: Callable[..., int] = handle.renameat2
        return lambda source, target: renameat2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE)
    if sys.platform == "darwin" and hasattr(handle, "renamex_np"):
        handle.renamex_np.argtypes = (text, text, unsigned)
        renamex_np: Callable[..., int] = handle.renamex_np
        return lambda source, target: renamex_np(source, target, _RENAME_EXCL)

    def unsupported(_source: bytes, _target: bytes) -> int:
        ctypes.set_errno(errno.ENOSYS)
        return -1

    return unsupported


rename_no_replace: Callable[[bytes, bytes], int] | None = None if os.name == "nt" else _find_no_replace()
"""The system's rename that refuses to replace; None where plain rename already refuses (Windows)."""


def last_errno() -> int:
    """What the last call through ctypes failed with."""
    import ctypes

    return ctypes.get_errno()
