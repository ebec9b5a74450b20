"""Retries for files that other programs have open (Windows), and the meaning of disk errors.

Windows refuses to touch a file that a reader, an editor or a virus scanner has open for an instant. So on Windows each
call is retried for up to 2.5 s on errors 5, 32 and 33; elsewhere each call is made once.
"""

from __future__ import annotations

import errno
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

CAN_UNLINK_OPEN_FILES = os.name != "nt"

_SHARING_ERRORS = (5, 32, 33)  # ERROR_ACCESS_DENIED, _SHARING_VIOLATION, _LOCK_VIOLATION
SHARING_DEADLINE_S = 2.5
# A shorter limit for files that may not be ours yet, because another program's handle must not delay other jobs (P6).
GLANCE_S = 0.1
# The pauses stay short: other programs open a file repeatedly for an instant, and more tries find more gaps (while two
# programs read one file in a loop without a pause, 3 of 1,000 tries succeed).
_SHARING_PAUSE_S = 0.02
_FILE_SHARE_ALL = 7  # FILE_SHARE_READ | _WRITE | _DELETE
_FILE_SHARE_READ = 1
_DELETE = 0x00010000  # the right to delete and to rename

# Errors of the machine, not of a job (promise P9): no attempt is counted, and the pool waits.
TROUBLE_ERRNOS = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EROFS", "EIO", "ESTALE", "ENOLCK")
    if hasattr(errno, name)
)
# Of these, errors that mean either a failing disk or server (every file), or one bad sector or stale name (one file).
_EITHER_ERRNOS = frozenset(getattr(errno, name) for name in ("EIO", "ESTALE") if hasattr(errno, name))

T = TypeVar("T")


def is_trouble(error: OSError) -> bool:
    """Return whether an error is a problem of the machine (full disk, no handles, no memory), not of a job (P9)."""
    return error.errno in TROUBLE_ERRNOS or getattr(error, "winerror", None) in (8, 14, 39, 112, 1295, 1450, 1455)


def may_be_of_one_file(error: OSError) -> bool:
    """Return whether an error may concern one damaged file, or a dying disk and so every file."""
    return error.errno in _EITHER_ERRNOS


def is_held(error: OSError) -> bool:
    """Return whether Windows refused because another program has the file open, so that a later try may succeed."""
    return getattr(error, "winerror", None) in _SHARING_ERRORS


def patiently(call: Callable[..., T], *facts: Any, patience_s: float = SHARING_DEADLINE_S) -> T:
    """Return `call(*facts)`; on Windows retry while another program holds the file, for up to `patience_s`."""
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


def check_free(path: str) -> None:
    """Raise the error of a move if a program has this file open (Windows); else do nothing."""
    if sys.platform == "win32":
        import _winapi

        _winapi.CloseHandle(open_handle(path, _DELETE))


def is_open_elsewhere(path: str) -> bool:
    """Return whether a program has this file open, for writing or to the exclusion of others (Windows).

    Readers that let others read do not count. Raises OSError.
    """
    if sys.platform != "win32":
        raise NotImplementedError
    import _winapi

    try:
        _winapi.CloseHandle(open_handle(path, _winapi.GENERIC_READ, share=_FILE_SHARE_READ))
    except OSError as error:
        if is_held(error):
            return True
        raise
    return False


def open_handle(path: str, access: int, *, share: int = _FILE_SHARE_ALL) -> int:
    """Return a Windows handle to a file; by default it does not block other programs."""
    if sys.platform != "win32":
        raise NotImplementedError
    import _winapi

    try:
        return _winapi.CreateFile(path, access, share, 0, _winapi.OPEN_EXISTING, 0, 0)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path, error.winerror) from None
