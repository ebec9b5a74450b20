"""Commands on Windows: CreateProcess into a Job Object of its own for each command.

The Job Object is what a process group and the inherited lease are elsewhere. A command is born inside it (an attribute
of CreateProcess, Windows 10 and later), so there is no instant in which it, or anything it starts, could be outside.
The worker holds the only handle, with KILL_ON_JOB_CLOSE: when the worker dies in any way, so does everything it ran
(promise P3). When a command ends, whatever it left running ends too, and only then does the run count as ended.

Just two handles are inherited, the output file and the input (NUL or a file). While a command lives, its output file
cannot be moved or deleted, so that `rescue`, which moves it first, cannot take a job from a dead worker before the
command is gone.

Console: a command shares the worker's, if there is one (no window appears, no further process is needed for it, and
CTRL_BREAK can be sent to the command's own group); a worker without a console gives each command one without a window,
or Windows would open one on the screen.
"""

from __future__ import annotations

import contextlib
import msvcrt
import ntpath
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence

from queuectl.system import win32
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

_ERROR_DIRECTORY = 267
_NOT_FOUND_ERRORS = (2, 3)  # ERROR_FILE_NOT_FOUND, _PATH_NOT_FOUND
_NOT_RUNNABLE_ERRORS = (5, 193, 216)  # ERROR_ACCESS_DENIED, _BAD_EXE_FORMAT, _EXE_MACHINE_TYPE_MISMATCH
# Handles, memory, quotas, the system itself: ERROR_TOO_MANY_OPEN_FILES, _NOT_ENOUGH_MEMORY, _OUTOFMEMORY,
# _INTERNAL_ERROR, _NO_SYSTEM_RESOURCES to _COMMITMENT_LIMIT, _NOT_ENOUGH_QUOTA. Not the job's fault (promise P9).
_TROUBLE_ERRORS = (4, 8, 14, 1359, 1450, 1451, 1452, 1453, 1454, 1455, 1816)

# The exit code of a killed process, as with Popen.kill and taskkill.
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
# Check a Job Object that is being ended this often.
_JOB_POLL_S = 0.02
_BATCH_ENDINGS = (".bat", ".cmd")
# Characters that cmd.exe acts on even inside quotes, or that end them. No quoting makes them safe as arguments of a
# batch file.
_BATCH_REFUSED = frozenset('"&|<>^%!\r\n')
_PATHEXT = ".COM;.EXE;.BAT;.CMD"


class WindowsExecutor:
    """See `base.Executor`."""

    def __init__(self, shell: str) -> None:
        self.use_shell(shell)
        self._null = msvcrt.get_osfhandle(os.open(os.devnull, os.O_RDWR))
        os.set_handle_inheritable(self._null, True)
        self._shares_console = win32.has_console()
        self._flags = subprocess.CREATE_NEW_PROCESS_GROUP | (0 if self._shares_console else subprocess.CREATE_NO_WINDOW)
        self._running: list[WindowsProcess] = []
        win32.show_no_error_boxes()

    @property
    def sources(self) -> list[int]:
        """See `base.Executor`: the handles of the processes that run, without those that are being ended."""
        return [each.handle for each in self._running]

    def wake(self) -> None:
        """See `base.Executor`. A handle stays ready until its process is reaped."""

    def start(self, spec: Spec) -> WindowsProcess:
        """See `base.Executor`."""
        program, line = self._program_and_line(spec)
        if "\0" in line or "\0" in spec.cwd:
            raise CannotStartError(EXIT_NOT_RUNNABLE, "the command holds a NUL character")
        environment = _environment_block({**spec.env, **spec.marks})
        job = win32.make_job()
        try:
            output = msvcrt.get_osfhandle(spec.output_fd)
            source = self._null if spec.input_fd < 0 else msvcrt.get_osfhandle(spec.input_fd)
            start = win32.Start(program, line, environment, spec.cwd, self._flags, output, source)
            handle, pid = _create(start, job)
        except BaseException:
            win32.close(job)
            raise
        process = WindowsProcess(self._running, job, handle, pid, shares_console=self._shares_console)
        self._running.append(process)
        return process

    def use_shell(self, shell: str) -> None:
        """See `base.Executor`."""
        self._shell = "cmd" if shell == "auto" else shell

    def ended(self) -> list[tuple[WindowsProcess, Ended]]:
        """See `base.Executor`."""
        over = [each for each in self._running if win32.has_ended(each.handle)]
        for each in over:
            self._running.remove(each)
        return [(each, each.reap()) for each in over]

    def _program_and_line(self, spec: Spec) -> tuple[str, str]:
        """Return the full path of the program and its command line."""
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
        # With /s cmd removes the outermost quotes and nothing else, so the text needs no quoting of its own.
        shell = _cmd_path()
        return shell, f'{subprocess.list2cmdline([shell, *options])} "{command}"'


class WindowsProcess:
    """See `base.Process`."""

    def __init__(self, running: list[WindowsProcess], job: int, handle: int, pid: int, *, shares_console: bool) -> None:
        self.handle = handle
        self._running = running
        self._job = job
        self._pid = pid
        self._shares_console = shares_console

    def terminate(self, grace_s: float) -> Generator[float, object, Ended]:
        """See `base.Process`."""
        with contextlib.suppress(ValueError):
            self._running.remove(self)
        if self._send_break():
            deadline = time.monotonic() + grace_s
            while win32.count_processes(self._job) and time.monotonic() < deadline:
                yield _JOB_POLL_S
        return self.reap()

    def end_left(self) -> Generator[float, object, tuple[tuple[int, ...], tuple[int, ...]]]:
        """See `base.Process`: `reap` has ended everything."""
        yield from ()
        return (), ()

    def _send_break(self) -> bool:
        """Send CTRL_BREAK to the command's group; return False if that is impossible, so that waiting is no use."""
        if self._shares_console:
            return win32.send_break(self._pid)
        # The event reaches only a group on the sender's console. The sender has none, so it joins the command's.
        with win32.console_of(self._pid) as has_joined:
            return has_joined and win32.send_break(self._pid)

    def reap(self) -> Ended:
        """Return how the command ended; end whatever it left running before, and wait for that."""
        if win32.count_processes(self._job):
            win32.terminate_job(self._job, _EXIT_KILLED)
            while win32.count_processes(self._job):
                time.sleep(_JOB_POLL_S / 10)
        code = win32.exit_code(self.handle)
        win32.close(self.handle)
        win32.close(self._job)
        return Ended(code, _reason(code), code == _INTERRUPTED)


def _create(start: win32.Start, job: int) -> tuple[int, int]:
    """Start a process; its output file and its input are inheritable for no longer than that."""
    os.set_handle_inheritable(start.output, True)
    was_inheritable = os.get_handle_inheritable(start.input)
    os.set_handle_inheritable(start.input, True)
    try:
        return win32.create_process(start, job)
    except win32.StartError as error:
        raise _start_error(start.program, start.cwd, error.code) from error
    finally:
        os.set_handle_inheritable(start.output, False)
        os.set_handle_inheritable(start.input, was_inheritable)


def _reason(code: int) -> str:
    """Return the reason for an exit code, "" if the number says it all. Codes have 32 bits and no sign."""
    if code <= 255:
        return ""
    if code == _CMD_NOT_FOUND:
        return f"command not found (0x{code:X})"
    return f"{_REASONS[code]} (0x{code:X})" if code in _REASONS else f"0x{code:X}"


def _start_error(program: str, cwd: str, code: int) -> Exception:
    """Return the exception for an error of CreateProcess: the job's fault or the machine's."""
    if code in _TROUBLE_ERRORS:
        return win32.error(code)
    if code == _ERROR_DIRECTORY or not os.path.isdir(cwd):
        return CannotEnterError(cwd)
    if code in _NOT_FOUND_ERRORS:
        return CannotStartError(EXIT_NOT_FOUND, f"command not found: {program}")
    if code in _NOT_RUNNABLE_ERRORS:
        return CannotStartError(EXIT_NOT_RUNNABLE, f"not executable: {program}")
    return CannotStartError(EXIT_NOT_RUNNABLE, f"cannot start {program}: {win32.describe(code)} ({code})")


# ------------------------------------------------------------------------------------------------- command lines


def _list_line(words: Sequence[str], spec: Spec) -> tuple[str, str]:
    """Return a list's program with its full path, and its command line as C programs and Python read it."""
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
    """Quote any word: a batch file's arguments end at , ; = and spaces. Double backslashes before the last quote."""
    last = len(word) - len(word.rstrip("\\"))
    return '"' + word + "\\" * last + '"'


def _cmd_path() -> str:
    return ntpath.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "cmd.exe")


def _find(name: str, spec: Spec) -> str:
    """Return the program of that name: by the command's own PATH, or from its folder if the name holds a separator.

    As on POSIX the current folder is not searched. Otherwise anyone who may put a file there would choose the program.
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
    """Return NAME=value texts, each ended by NUL, sorted; of names that differ in case only, the last one counts."""
    chosen: dict[str, tuple[str, str]] = {}
    for name, value in env.items():
        chosen[name.upper()] = (name, value)
    for name, value in chosen.values():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise CannotStartError(EXIT_NOT_RUNNABLE, f"no environment variable can be called or hold this: {name!r}")
    # The NUL that ends the block is added by create_unicode_buffer.
    return "".join(f"{name}={value}\0" for _, (name, value) in sorted(chosen.items())) or "\0"
