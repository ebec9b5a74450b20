"""Gives the answers of Windows where Wine 8 gives others. Loaded at every start of the rig's Python (a .pth file).

Nothing of this runs on a real Windows. RIG_ENV_RIG_NO_REPAIRS=1 leaves it out.
"""

import ctypes
import errno
import os
import sys
import time

_ERROR_INTERNAL = 1359


def _repair_locking() -> None:
    """Wine's _locking() fails without an errno, and waits 10 ms in LK_LOCK where Windows waits 10 s."""
    import msvcrt

    take = msvcrt.locking

    def locking(fd: int, mode: int, nbytes: int, /) -> None:
        patient = mode in (msvcrt.LK_LOCK, msvcrt.LK_RLCK)
        for last in (False,) * 9 + (True,) if patient else (True,):
            try:
                return take(fd, msvcrt.LK_NBLCK if patient else mode, nbytes)
            except OSError as error:
                if error.errno:
                    raise
            if not last:
                time.sleep(1)
        code = errno.EDEADLOCK if patient else errno.EACCES
        raise OSError(code, os.strerror(code))

    msvcrt.locking = locking


def _repair_starts() -> None:
    """Under load one start in some thousand fails with error 1359, before the program has begun: try it again.

    (Where queuectl starts a command it does not come by here, and sees the error: the job goes back uncounted.)
    """
    import _winapi

    start = _winapi.CreateProcess

    def create_process(*words: object) -> object:
        for last in (False, False, True):
            try:
                return start(*words)
            except OSError as error:
                if error.winerror != _ERROR_INTERNAL or last:
                    raise
        return None

    _winapi.CreateProcess = create_process


def _hide_copyfile2() -> None:
    """CopyFile2 is missing and ends the process; shutil.copy2 (3.12 and later) does without it where it is hidden."""
    import _winapi

    vars(_winapi).pop("CopyFile2", None)


if sys.platform == "win32" and not os.environ.get("RIG_NO_REPAIRS"):
    if hasattr(ctypes.WinDLL("ntdll"), "wine_get_version"):
        _repair_locking()
        _repair_starts()
        _hide_copyfile2()
