"""Commands on Windows: CreateProcess into a Job Object of its own for each command, through ctypes.

The Job Object is what a process group and the inherited lease are elsewhere. A command is born inside it (an attribute
of CreateProcess, Windows 10 and later), so there is no instant in which it, or anything it starts, could be outside.
The worker holds the only handle, with KILL_ON_JOB_CLOSE: when the worker dies in any way, so does everything it ran
(promise P3). When a command ends, whatever it left running ends too, and only then does the run count as ended.

Just two handles are inherited, the output file and NUL. While a command lives, its output file cannot be moved or
deleted, so that `rescue`, which moves it first, cannot take a job from a dead worker before the command is gone.

Console: a command shares the worker's, if there is one (no window appears, no further process is needed for it, and
CTRL_BREAK can be sent to the command's own group); a worker without a console gives each command one without a window,
or Windows would open one on the screen.
"""

from __future__ import annotations

import contextlib
import ctypes
import msvcrt
import multiprocessing.connection
import ntpath
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from ctypes import wintypes
from multiprocessing.connection import Connection

from queuectl.worker.executors.base import (
    EXIT_NOT_FOUND,
    EXIT_NOT_RUNNABLE,
    SHELL_WORDS,
    CannotEnterError,
    CannotStartError,
    Ended,
    Spec,
)

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

_ERROR_DIRECTORY = 267
_NOT_FOUND_ERRORS = (2, 3)  # ERROR_FILE_NOT_FOUND, _PATH_NOT_FOUND
_NOT_RUNNABLE_ERRORS = (5, 193, 216)  # ERROR_ACCESS_DENIED, _BAD_EXE_FORMAT, _EXE_MACHINE_TYPE_MISMATCH
# Handles, memory, quotas, the system itself: ERROR_TOO_MANY_OPEN_FILES, _NOT_ENOUGH_MEMORY, _OUTOFMEMORY,
# _INTERNAL_ERROR, _NO_SYSTEM_RESOURCES to _COMMITMENT_LIMIT, _NOT_ENOUGH_QUOTA. Not the job's fault (promise P9).
_TROUBLE_ERRORS = (4, 8, 14, 1359, 1450, 1451, 1452, 1453, 1454, 1455, 1816)

# The exit code of what is killed, as by Popen.kill and taskkill.
_EXIT_KILLED = 1
_INTERRUPTED = 0xC000013A  # also by Ctrl-Break, and by a console that closes
_REASONS = {
    _INTERRUPTED: "interrupted by Ctrl-C",
    0xC0000005: "crashed: access violation",
    0xC00000FD: "crashed: stack overflow",
    0xC0000409: "crashed: aborted itself",
    0xC0000135: "could not start: a DLL is missing",
    0xC0000142: "could not start: a DLL failed to initialise",
}
_CMD_NOT_FOUND = 9009
# How often an ending Job Object is looked at.
_JOB_POLL_S = 0.02
# A wait longer than this is taken in parts: the system counts milliseconds in 32 bits.
_LONGEST_WAIT_S = 86400.0
_BATCH_ENDINGS = (".bat", ".cmd")
# What cmd.exe acts on even inside quotes, or that ends them; no quoting makes these safe as arguments of a batch file.
_BATCH_REFUSED = frozenset('"&|<>^%!\r\n')
_PATHEXT = ".COM;.EXE;.BAT;.CMD"


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


class WindowsExecutor:
    """See `executor.Executor`."""

    def __init__(self, conn: Connection, shell: str) -> None:
        self._conn: Connection | None = conn
        self._shell = "cmd" if shell == "auto" else shell
        self._null = msvcrt.get_osfhandle(os.open(os.devnull, os.O_RDWR))
        os.set_handle_inheritable(self._null, True)
        self._shares_console = _kernel32.GetConsoleCP() != 0
        self._flags = (
            subprocess.CREATE_NEW_PROCESS_GROUP
            | _CREATE_UNICODE_ENVIRONMENT
            | _EXTENDED_STARTUPINFO_PRESENT
            | (0 if self._shares_console else subprocess.CREATE_NO_WINDOW)
        )
        self._job = 0
        self._process = 0
        self._pid = 0
        # Commands inherit this: a crash must end them, not show a box that waits for a click.
        _kernel32.SetErrorMode(_SEM_FAILCRITICALERRORS | _SEM_NOGPFAULTERRORBOX | _SEM_NOOPENFILEERRORBOX)

    # --------------------------------------------------------------------------------------------------- start

    def start(self, spec: Spec) -> None:
        """See `executor.Executor`."""
        program, line = self._program_and_line(spec)
        if "\0" in line or "\0" in spec.cwd:
            raise CannotStartError(EXIT_NOT_RUNNABLE, "the command holds a NUL character")
        environment = _environment_block(spec.env)
        job = _make_job()
        try:
            self._create(job, program, line, environment, spec)
        except BaseException:
            _kernel32.CloseHandle(job)
            raise
        self._job = job

    def _create(self, job: int, program: str, line: str, environment: str, spec: Spec) -> None:
        output = msvcrt.get_osfhandle(spec.output_fd)
        info = _StartupInfoEx()
        info.cb = ctypes.sizeof(info)
        info.dwFlags = _STARTF_USESTDHANDLES
        info.hStdInput = self._null
        info.hStdOutput = info.hStdError = output
        made = _ProcessInformation()
        with _attributes(jobs=(job,), handles=(self._null, output)) as attributes:
            info.lpAttributeList = ctypes.addressof(attributes)
            os.set_handle_inheritable(output, True)
            done = _kernel32.CreateProcessW(
                program,
                ctypes.create_unicode_buffer(line),
                None,
                None,
                True,
                self._flags,
                ctypes.create_unicode_buffer(environment),
                spec.cwd,
                ctypes.byref(info),
                ctypes.byref(made),
            )
            code = ctypes.get_last_error()
            os.set_handle_inheritable(output, False)
        if not done:
            raise _start_error(program, spec.cwd, code)
        _kernel32.CloseHandle(made.hThread)
        self._process = made.hProcess
        self._pid = made.dwProcessId

    def _program_and_line(self, spec: Spec) -> tuple[str, str]:
        """The full path of what is started and the command line it gets."""
        if not isinstance(spec.command, str):
            return _list_line(spec.command, spec)
        first, *options = SHELL_WORDS[self._shell]
        if self._shell != "cmd":
            shell = _find(first, spec)
            return shell, subprocess.list2cmdline([shell, *options, spec.command])
        command = spec.command.rstrip("\r\n")
        if "\n" in command or "\r" in command:
            raise CannotStartError(
                EXIT_NOT_RUNNABLE,
                "cmd runs one line only: join the lines with && or set the shell to powershell",
                is_final=True,
            )
        # With /s cmd takes away the outermost quotes and nothing else, so the text needs no quoting of its own.
        shell = _cmd_path()
        return shell, f'{subprocess.list2cmdline([shell, *options])} "{command}"'

    # ---------------------------------------------------------------------------------------------------- wait

    def wait(self, timeout_s: float | None) -> Ended | None:
        """See `executor.Executor`."""
        waited_for: list[Connection | int] = [self._process] if self._conn is None else [self._process, self._conn]
        ready = multiprocessing.connection.wait(waited_for, _bounded(timeout_s))
        return self._reap() if self._process in ready else None

    def heard(self, timeout_s: float | None) -> bool:
        """See `executor.Executor`."""
        if self._conn is None:
            time.sleep(_bounded(timeout_s))
            return False
        return bool(multiprocessing.connection.wait([self._conn], _bounded(timeout_s)))

    @property
    def noticed(self) -> bool:
        """See `executor.Executor`. Asked for anew: a wait that a process has ended does not tell of messages."""
        return self.heard(0)

    def deafen(self) -> None:
        """See `executor.Executor`."""
        self._conn = None

    # ----------------------------------------------------------------------------------------------------- end

    def terminate(self, grace_s: float) -> Ended:
        """See `executor.Executor`."""
        if self._ask_to_end():
            deadline = time.monotonic() + grace_s
            while _active(self._job) and time.monotonic() < deadline:
                time.sleep(_JOB_POLL_S)
        return self._reap()

    def _ask_to_end(self) -> bool:
        """Send CTRL_BREAK to the command's group; False where that cannot be, so that waiting for it is no use."""
        if self._shares_console:
            return bool(_kernel32.GenerateConsoleCtrlEvent(_CTRL_BREAK_EVENT, self._pid))
        # The event goes only to a group on the sender's console, and the sender has none: it joins the command's.
        if not _kernel32.AttachConsole(self._pid):
            return False
        try:
            return bool(_kernel32.GenerateConsoleCtrlEvent(_CTRL_BREAK_EVENT, self._pid))
        finally:
            _kernel32.FreeConsole()

    def _reap(self) -> Ended:
        """How the command ended; whatever it left running is ended first, and waited for."""
        if _active(self._job):
            _kernel32.TerminateJobObject(self._job, _EXIT_KILLED)
            while _active(self._job):
                time.sleep(_JOB_POLL_S / 10)
        _kernel32.WaitForSingleObject(self._process, _INFINITE)
        code = wintypes.DWORD()
        _kernel32.GetExitCodeProcess(self._process, ctypes.byref(code))
        _kernel32.CloseHandle(self._process)
        _kernel32.CloseHandle(self._job)
        self._process = self._job = self._pid = 0
        return Ended(code.value, _reason(code.value), code.value == _INTERRUPTED)


def _bounded(timeout_s: float | None) -> float:
    return _LONGEST_WAIT_S if timeout_s is None else min(max(0.0, timeout_s), _LONGEST_WAIT_S)


def _reason(code: int) -> str:
    """What an exit code means, where it means more than its number. Codes have 32 bits, without a sign."""
    if code <= 255:
        return ""
    if code == _CMD_NOT_FOUND:
        return f"command not found (0x{code:X})"
    return f"{_REASONS[code]} (0x{code:X})" if code in _REASONS else f"0x{code:X}"


def _start_error(program: str, cwd: str, code: int) -> Exception:
    """Whose fault it is that CreateProcess failed."""
    if code in _TROUBLE_ERRORS:
        return ctypes.WinError(code)
    if code == _ERROR_DIRECTORY or not os.path.isdir(cwd):
        return CannotEnterError(cwd)
    if code in _NOT_FOUND_ERRORS:
        return CannotStartError(EXIT_NOT_FOUND, f"command not found: {program}")
    if code in _NOT_RUNNABLE_ERRORS:
        return CannotStartError(EXIT_NOT_RUNNABLE, f"not executable: {program}")
    return CannotStartError(EXIT_NOT_RUNNABLE, f"cannot start {program}: {ctypes.FormatError(code).strip()} ({code})")


# ------------------------------------------------------------------------------------------------- command lines


def _list_line(words: Sequence[str], spec: Spec) -> tuple[str, str]:
    """A command without a shell: its program's full path, and its line as C programs and Python read it."""
    program = _find(words[0], spec)
    if not _is_batch(program):
        return program, subprocess.list2cmdline([program, *words[1:]])
    # Windows starts a batch file through cmd.exe, which reads the arguments as commands of its own ("BatBadBut").
    for word in (program, *words[1:]):
        if found := _BATCH_REFUSED.intersection(word):
            raise CannotStartError(
                EXIT_NOT_RUNNABLE,
                f"refusing to give {min(found)!r} to the batch file {words[0]}: cmd could take it as a command",
                is_final=True,
            )
    shell = _cmd_path()
    quoted = " ".join(_quoted_for_batch(word) for word in (program, *words[1:]))
    # /e:on /v:off: whatever the registry says, %~1 works and ! means nothing.
    return shell, f'{subprocess.list2cmdline([shell])} /d /e:on /v:off /s /c "{quoted}"'


def _is_batch(program: str) -> bool:
    # Windows drops dots and spaces at the end of a name: "x.bat. ." is x.bat.
    return program.rstrip(". ").lower().endswith(_BATCH_ENDINGS)


def _quoted_for_batch(word: str) -> str:
    """In quotes always: a batch file's arguments end at , ; = and spaces. Backslashes before the last quote double."""
    last = len(word) - len(word.rstrip("\\"))
    return '"' + word + "\\" * last + '"'


def _cmd_path() -> str:
    return ntpath.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "cmd.exe")


def _find(name: str, spec: Spec) -> str:
    """The program that a name means to the command: by its own PATH, or from its folder where it holds a separator.

    As on POSIX the current folder is not searched, or whoever may put a file there would choose what runs.
    """
    get = {key.upper(): value for key, value in spec.env.items()}.get
    endings = [ending for ending in get("PATHEXT", _PATHEXT).split(";") if ending]
    if name.lower().endswith(tuple(ending.lower() for ending in endings)):
        endings = ["", *endings]
    elif ntpath.splitext(name)[1]:
        endings.append("")
    has_folder = any(sign in name for sign in "\\/:")
    folders = [""] if has_folder else [folder.strip('"') for folder in get("PATH", "").split(";")]
    for folder in folders:
        if not folder and not has_folder:
            continue
        for ending in endings:
            path = ntpath.normpath(ntpath.join(spec.cwd, folder, name + ending))
            if os.path.isfile(path):
                return path
    raise _start_error(name, spec.cwd, _NOT_FOUND_ERRORS[0])


def _environment_block(env: dict[str, str]) -> str:
    """NAME=value texts, each ended by NUL, sorted and unique without regard to case; the last one given counts."""
    chosen: dict[str, tuple[str, str]] = {}
    for name, value in env.items():
        chosen[name.upper()] = (name, value)
    for name, value in chosen.values():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise CannotStartError(EXIT_NOT_RUNNABLE, f"no environment variable can be called or hold this: {name!r}")
    # The NUL that ends the block is added by create_unicode_buffer.
    return "".join(f"{name}={value}\0" for _, (name, value) in sorted(chosen.items())) or "\0"


# ----------------------------------------------------------------------------------------------------- system calls


def _make_job() -> int:
    job: int = _kernel32.CreateJobObjectW(None, None)
    if not job:
        raise ctypes.WinError(ctypes.get_last_error())
    limits = _JobExtendedLimits(LimitFlags=_JOB_LIMIT_KILL_ON_JOB_CLOSE)
    size = ctypes.sizeof(limits)
    if not _kernel32.SetInformationJobObject(job, _JOB_EXTENDED_LIMITS, ctypes.byref(limits), size):
        error = ctypes.WinError(ctypes.get_last_error())
        _kernel32.CloseHandle(job)
        raise error
    return job


def _active(job: int) -> int:
    """How many processes run in a Job Object."""
    told = _JobAccounting()
    size = ctypes.sizeof(told)
    if not _kernel32.QueryInformationJobObject(job, _JOB_BASIC_ACCOUNTING, ctypes.byref(told), size, None):
        raise ctypes.WinError(ctypes.get_last_error())
    return int(told.ActiveProcesses)


@contextlib.contextmanager
def _attributes(*, jobs: tuple[int, ...], handles: tuple[int, ...]) -> Iterator[ctypes.Array[ctypes.c_char]]:
    """A list of attributes for CreateProcess: born into these Job Objects, inherits these handles and no others."""
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
