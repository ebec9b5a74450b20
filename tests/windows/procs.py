"""Processes on Windows, for tests, as /proc elsewhere: who started whom, who is alive, the end of one. By ctypes."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from ctypes import wintypes

assert sys.platform == "win32"

_SNAP_PROCESSES = 0x0002  # TH32CS_SNAPPROCESS
_TERMINATE, _SYNCHRONIZE = 0x0001, 0x00100000
_WAIT_TIMEOUT = 258
# What a test's kill leaves as the exit code: none that a program or a Job Object would.
KILLED = 99


class _Entry(ctypes.Structure):
    _fields_ = (
        ("dwSize", wintypes.DWORD),
        ("cntUsage", wintypes.DWORD),
        ("th32ProcessID", wintypes.DWORD),
        ("th32DefaultHeapID", ctypes.c_size_t),
        ("th32ModuleID", wintypes.DWORD),
        ("cntThreads", wintypes.DWORD),
        ("th32ParentProcessID", wintypes.DWORD),
        ("pcPriClassBase", wintypes.LONG),
        ("dwFlags", wintypes.DWORD),
        ("szExeFile", wintypes.WCHAR * 260),
    )


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel32.CreateToolhelp32Snapshot.argtypes = (wintypes.DWORD, wintypes.DWORD)
_kernel32.CreateToolhelp32Snapshot.restype = wintypes.HANDLE
_kernel32.Process32FirstW.argtypes = (wintypes.HANDLE, ctypes.POINTER(_Entry))
_kernel32.Process32NextW.argtypes = (wintypes.HANDLE, ctypes.POINTER(_Entry))
_kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
_kernel32.OpenProcess.restype = wintypes.HANDLE
_kernel32.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
_kernel32.WaitForSingleObject.restype = wintypes.DWORD
_kernel32.TerminateProcess.argtypes = (wintypes.HANDLE, wintypes.UINT)
_kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)


def _all() -> Iterator[tuple[int, int, str]]:
    """(pid, parent's pid, name of the program) of every process. A parent may be gone and its pid another's by now."""
    snapshot = _kernel32.CreateToolhelp32Snapshot(_SNAP_PROCESSES, 0)
    entry = _Entry(dwSize=ctypes.sizeof(_Entry))
    try:
        found = _kernel32.Process32FirstW(snapshot, ctypes.byref(entry))
        while found:
            yield entry.th32ProcessID, entry.th32ParentProcessID, entry.szExeFile
            found = _kernel32.Process32NextW(snapshot, ctypes.byref(entry))
    finally:
        _kernel32.CloseHandle(snapshot)


def children(pid: int) -> list[int]:
    """The living processes that a process has started."""
    return [child for child, above, _ in _all() if above == pid and is_running(child)]


def program(pid: int) -> str:
    """The file name of a process's program, "" where it is gone."""
    return next((name for found, _, name in _all() if found == pid), "")


def parent(pid: int) -> int:
    """Who started a process."""
    return next(above for found, above, _ in _all() if found == pid)


@contextlib.contextmanager
def _opened(pid: int, access: int) -> Iterator[int]:
    """A handle to a process, 0 where it is gone."""
    handle = _kernel32.OpenProcess(access, False, pid) or 0
    try:
        yield handle
    finally:
        if handle:
            _kernel32.CloseHandle(handle)


def is_running(pid: int) -> bool:
    """True while a process lives. (A process that has ended exists for as long as anybody has a handle to it.)"""
    with _opened(pid, _SYNCHRONIZE) as handle:
        return bool(handle) and _kernel32.WaitForSingleObject(handle, 0) == _WAIT_TIMEOUT


def kill(pid: int) -> None:
    """End a process at once, as kill -9 does."""
    with _opened(pid, _TERMINATE) as handle:
        if handle:
            _kernel32.TerminateProcess(handle, KILLED)
