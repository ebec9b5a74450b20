"""Processes and Job Objects of Windows, through ctypes. Handles are plain numbers that the caller closes.

An attribute of CreateProcess (Windows 10 and later) starts a process inside a Job Object, so neither the process nor
anything that it starts is ever outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from ctypes import wintypes
from typing import NamedTuple

assert sys.platform == "win32"

_CREATE_UNICODE_ENVIRONMENT = 0x00000400
_EXTENDED_STARTUPINFO_PRESENT = 0x00080000
_STARTF_USESTDHANDLES = 0x00000100
_ATTRIBUTE_HANDLE_LIST = 0x00020002
_ATTRIBUTE_JOB_LIST = 0x0002000D
_JOB_BASIC_ACCOUNTING = 1
_JOB_EXTENDED_LIMITS = 9
_JOB_LIMIT_KILL_ON_JOB_CLOSE = 0x00002000
_SEM_FAILCRITICALERRORS = 0x0001
_SEM_NOGPFAULTERRORBOX = 0x0002
_SEM_NOOPENFILEERRORBOX = 0x8000
_CTRL_BREAK_EVENT = 1
_WAIT_OBJECT_0 = 0
_INFINITE = 0xFFFFFFFF


class _StartupInfoEx(ctypes.Structure):
    _fields_ = (
        ("cb", wintypes.DWORD),
        ("lpReserved", wintypes.LPWSTR),
        ("lpDesktop", wintypes.LPWSTR),
        ("lpTitle", wintypes.LPWSTR),
        *((name, wintypes.DWORD) for name in ("dwX", "dwY", "dwXSize", "dwYSize", "dwXCountChars", "dwYCountChars")),
        ("dwFillAttribute", wintypes.DWORD),
        ("dwFlags", wintypes.DWORD),
        ("wShowWindow", wintypes.WORD),
        ("cbReserved2", wintypes.WORD),
        ("lpReserved2", ctypes.c_void_p),
        ("hStdInput", wintypes.HANDLE),
        ("hStdOutput", wintypes.HANDLE),
        ("hStdError", wintypes.HANDLE),
        ("lpAttributeList", ctypes.c_void_p),
    )


class _ProcessInformation(ctypes.Structure):
    _fields_ = (
        ("hProcess", wintypes.HANDLE),
        ("hThread", wintypes.HANDLE),
        ("dwProcessId", wintypes.DWORD),
        ("dwThreadId", wintypes.DWORD),
    )


class _JobExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
        ("IoInfo", ctypes.c_uint64 * 6),
        *((name, ctypes.c_size_t) for name in ("ProcessMemory", "JobMemory", "PeakProcessMemory", "PeakJobMemory")),
    )


class _JobAccounting(ctypes.Structure):
    _fields_ = (
        ("Times", ctypes.c_int64 * 4),
        ("TotalPageFaultCount", wintypes.DWORD),
        ("TotalProcesses", wintypes.DWORD),
        ("ActiveProcesses", wintypes.DWORD),
        ("TotalTerminatedProcesses", wintypes.DWORD),
    )


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel32.CreateJobObjectW.argtypes = (ctypes.c_void_p, wintypes.LPCWSTR)
_kernel32.CreateJobObjectW.restype = wintypes.HANDLE
_kernel32.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
_kernel32.QueryInformationJobObject.argtypes = (
    wintypes.HANDLE,
    ctypes.c_int,
    ctypes.c_void_p,
    wintypes.DWORD,
    ctypes.c_void_p,
)
_kernel32.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
_kernel32.InitializeProcThreadAttributeList.argtypes = (
    ctypes.c_void_p,
    wintypes.DWORD,
    wintypes.DWORD,
    ctypes.POINTER(ctypes.c_size_t),
)
_kernel32.UpdateProcThreadAttribute.argtypes = (
    ctypes.c_void_p,
    wintypes.DWORD,
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_void_p,
)
_kernel32.DeleteProcThreadAttributeList.argtypes = (ctypes.c_void_p,)
_kernel32.DeleteProcThreadAttributeList.restype = None
_kernel32.CreateProcessW.argtypes = (
    wintypes.LPCWSTR,
    wintypes.LPWSTR,
    ctypes.c_void_p,
    ctypes.c_void_p,
    wintypes.BOOL,
    wintypes.DWORD,
    ctypes.c_void_p,
    wintypes.LPCWSTR,
    ctypes.POINTER(_StartupInfoEx),
    ctypes.POINTER(_ProcessInformation),
)
_kernel32.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
_kernel32.WaitForSingleObject.restype = wintypes.DWORD
_kernel32.GetExitCodeProcess.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
_kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
_kernel32.GetConsoleCP.restype = wintypes.UINT
_kernel32.AttachConsole.argtypes = (wintypes.DWORD,)
_kernel32.GenerateConsoleCtrlEvent.argtypes = (wintypes.DWORD, wintypes.DWORD)
_kernel32.SetErrorMode.argtypes = (wintypes.UINT,)


class Start(NamedTuple):
    """A process to start: its program, its whole command line and its block of variables.

    `flags` are further creation flags. The process inherits only the handles `output` and `input`, which must be
    inheritable. It writes to the first and reads from the second.
    """

    program: str
    line: str
    environment: str
    cwd: str
    flags: int
    output: int
    input: int


class StartError(Exception):
    """CreateProcess failed with this system error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def create_process(start: Start, job: int) -> tuple[int, int]:
    """Start a process inside a Job Object; return its handle and its pid.

    Raises:
        StartError: the system refused.
        OSError: the list of attributes cannot be created.
    """
    info = _StartupInfoEx()
    info.cb = ctypes.sizeof(info)
    info.dwFlags = _STARTF_USESTDHANDLES
    info.hStdInput = start.input
    info.hStdOutput = info.hStdError = start.output
    made = _ProcessInformation()
    with _attributes(jobs=(job,), handles=(start.input, start.output)) as attributes:
        info.lpAttributeList = ctypes.addressof(attributes)
        done = _kernel32.CreateProcessW(
            start.program,
            ctypes.create_unicode_buffer(start.line),
            None,
            None,
            True,
            start.flags | _CREATE_UNICODE_ENVIRONMENT | _EXTENDED_STARTUPINFO_PRESENT,
            ctypes.create_unicode_buffer(start.environment),
            start.cwd,
            ctypes.byref(info),
            ctypes.byref(made),
        )
        code = ctypes.get_last_error()
    if not done:
        raise StartError(code)
    _kernel32.CloseHandle(made.hThread)
    return int(made.hProcess), int(made.dwProcessId)


def has_ended(process: int) -> bool:
    """Return whether a process has ended."""
    return bool(_kernel32.WaitForSingleObject(process, 0) == _WAIT_OBJECT_0)


def exit_code(process: int) -> int:
    """Wait for the end of a process; return its exit code, which is an unsigned 32-bit number."""
    _kernel32.WaitForSingleObject(process, _INFINITE)
    code = wintypes.DWORD()
    _kernel32.GetExitCodeProcess(process, ctypes.byref(code))
    return int(code.value)


def make_job() -> int:
    """Return a new Job Object whose processes end when its last handle is closed.

    Raises:
        OSError: the system cannot create a Job Object.
    """
    job: int = _kernel32.CreateJobObjectW(None, None)
    if not job:
        raise ctypes.WinError(ctypes.get_last_error())
    limits = _JobExtendedLimits(LimitFlags=_JOB_LIMIT_KILL_ON_JOB_CLOSE)
    size = ctypes.sizeof(limits)
    if not _kernel32.SetInformationJobObject(job, _JOB_EXTENDED_LIMITS, ctypes.byref(limits), size):
        failure = ctypes.WinError(ctypes.get_last_error())
        _kernel32.CloseHandle(job)
        raise failure
    return job


def count_processes(job: int) -> int:
    """Return how many processes run in a Job Object."""
    counts = _JobAccounting()
    size = ctypes.sizeof(counts)
    if not _kernel32.QueryInformationJobObject(job, _JOB_BASIC_ACCOUNTING, ctypes.byref(counts), size, None):
        raise ctypes.WinError(ctypes.get_last_error())
    return int(counts.ActiveProcesses)


def terminate_job(job: int, code: int) -> None:
    """End all processes of a Job Object with this exit code."""
    _kernel32.TerminateJobObject(job, code)


def close(handle: int) -> None:
    """Close a handle."""
    _kernel32.CloseHandle(handle)


def has_console() -> bool:
    """Return whether this process has a console."""
    return bool(_kernel32.GetConsoleCP() != 0)


def send_break(group: int) -> bool:
    """Send CTRL_BREAK to a process group on this process's console; return whether the system accepted it."""
    return bool(_kernel32.GenerateConsoleCtrlEvent(_CTRL_BREAK_EVENT, group))


@contextlib.contextmanager
def console_of(pid: int) -> Iterator[bool]:
    """Use the console of another process within the block, if this process has none; yield whether that works."""
    if not _kernel32.AttachConsole(pid):
        yield False
        return
    try:
        yield True
    finally:
        _kernel32.FreeConsole()


def show_no_error_boxes() -> None:
    """Let a crash end a process instead of showing a box that waits for a click. Processes inherit this."""
    _kernel32.SetErrorMode(_SEM_FAILCRITICALERRORS | _SEM_NOGPFAULTERRORBOX | _SEM_NOOPENFILEERRORBOX)


def error(code: int) -> OSError:
    """Return the exception for a system error code."""
    return ctypes.WinError(code)


def describe(code: int) -> str:
    """Return the system's text for an error code."""
    return ctypes.FormatError(code).strip()


@contextlib.contextmanager
def _attributes(*, jobs: tuple[int, ...], handles: tuple[int, ...]) -> Iterator[ctypes.Array[ctypes.c_char]]:
    """Create the attributes for CreateProcess: start in these Job Objects, inherit only these handles."""
    size = ctypes.c_size_t()
    _kernel32.InitializeProcThreadAttributeList(None, 2, 0, ctypes.byref(size))
    made = ctypes.create_string_buffer(size.value)
    if not _kernel32.InitializeProcThreadAttributeList(made, 2, 0, ctypes.byref(size)):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        held = []  # the list points at these arrays until it is deleted
        for kind, values in ((_ATTRIBUTE_JOB_LIST, jobs), (_ATTRIBUTE_HANDLE_LIST, handles)):
            held.append((wintypes.HANDLE * len(values))(*values))
            size_of = ctypes.sizeof(held[-1])
            if not _kernel32.UpdateProcThreadAttribute(made, 0, kind, held[-1], size_of, None, None):
                raise ctypes.WinError(ctypes.get_last_error())
        yield made
    finally:
        _kernel32.DeleteProcThreadAttributeList(made)
