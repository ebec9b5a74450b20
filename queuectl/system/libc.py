"""The C library, for calls that Python lacks: a rename that refuses to replace, syncfs, and prctl.

Renames that never replace (promise P7) are renameat2 on Linux and renameatx_np on macOS. `disk` calls
them, and loads this module only if it is needed: ctypes takes 10 ms.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import Any

_AT_FDCWD = -100  # linux/fcntl.h
_AT_FDCWD_MACOS = -2
_RENAME_NOREPLACE = 1  # linux/fs.h
_RENAME_EXCL = 4  # macOS sys/stdio.h
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def _load() -> Any:
    if os.name == "nt":
        return None
    import ctypes

    with contextlib.suppress(OSError):
        return ctypes.CDLL(None, use_errno=True)
    return None


handle: Any = _load()
"""The C library through ctypes, or None if it is not available."""


def _find_no_replace() -> Callable[..., int]:
    import ctypes

    text, integer, unsigned = ctypes.c_char_p, ctypes.c_int, ctypes.c_uint
    if sys.platform.startswith("linux") and hasattr(handle, "renameat2"):
        handle.renameat2.argtypes = (integer, text, integer, text, unsigned)
        renameat2: Callable[..., int] = handle.renameat2

        def rename_on_linux(source: bytes, target: bytes, folder: int = _AT_FDCWD, to: int | None = None) -> int:
            return renameat2(folder, source, folder if to is None else to, target, _RENAME_NOREPLACE)

        return rename_on_linux
    if sys.platform == "darwin" and hasattr(handle, "renameatx_np"):
        handle.renameatx_np.argtypes = (integer, text, integer, text, unsigned)
        renameatx_np: Callable[..., int] = handle.renameatx_np

        def rename_on_macos(source: bytes, target: bytes, folder: int = _AT_FDCWD_MACOS, to: int | None = None) -> int:
            return renameatx_np(folder, source, folder if to is None else to, target, _RENAME_EXCL)

        return rename_on_macos

    def unsupported(_source: bytes, _target: bytes, *_folders: int) -> int:
        ctypes.set_errno(errno.ENOSYS)
        return -1

    return unsupported


rename_no_replace: Callable[..., int] | None = None if os.name == "nt" else _find_no_replace()
"""The system's rename that refuses to replace: source, target, and optionally the handle of the folder of both names,
or the handles of their two folders.

None on Windows, where plain rename already refuses.
"""


def last_errno() -> int:
    """Return the error number of the last call through ctypes."""
    import ctypes

    return ctypes.get_errno()


def become_subreaper() -> bool:
    """Make orphans among this process's descendants its children (Linux, prctl(2)); return False if impossible."""
    if handle is None or not sys.platform.startswith("linux"):
        return False
    import ctypes

    # Each argument is a long in the kernel; a plain int would leave half of it undefined.
    arguments = [ctypes.c_ulong(value) for value in (1, 0, 0, 0)]
    done: int = handle.prctl(_PR_SET_CHILD_SUBREAPER, *arguments)
    return done == 0
