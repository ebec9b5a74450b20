"""Commands on POSIX: posix_spawn (no fork: that costs 21 ms in a process of 300 MB), a process group each.

The worker's folder is changed for the start, because posix_spawn cannot do it for the child; a worker has one thread
and names its own files absolutely.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import time
from collections.abc import Generator, Sequence

from queuectl.system import files
from queuectl.worker.executors import children, family
from queuectl.worker.executors.base import (
    EXIT_NOT_FOUND,
    EXIT_NOT_RUNNABLE,
    CannotEnterError,
    CannotStartError,
    Ended,
    Spec,
    shell_words,
)

assert sys.platform != "win32"  # tells mypy, too

# Python ignores SIGPIPE and the worker ignores Ctrl-C; a command gets what it would get from a shell.
_RESET_SIGNALS = frozenset(
    getattr(signal, name)
    for name in ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGCHLD")
    if hasattr(signal, name)
)
# A system that stops ends commands by these signals; a shell whose command ended so exits with 128 + n.
_SHUTDOWN_CODES = frozenset(128 + number for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
_SUCCESS = Ended(0, "")
_LAST_SUCCESS = Ended(0, "", is_last=True)
# In thousandths of the memory, see proc(5).
_OOM_SCORE_ADJ = 300
# If True, a handle that posix_spawn duplicates onto itself is inherited (POSIX.1-2024; glibc since 2.29, musl).
_DUP_INHERITS = sys.platform == "linux"
# Handles that a process has at its start have low numbers; where the system does not list them, these are tried.
_FIRST_HANDLES = range(3, 256)
# If True, the system's own conversion gives a command the same bytes as `_bytes`, in a tenth of the time.
_SYSTEM_IS_UTF8 = sys.getfilesystemencoding().replace("-", "").lower() == "utf8"


def _handles() -> Sequence[int]:
    """Return the open handles of this process but the standard ones; some that are not open may be among them."""
    try:
        return [fd for fd in map(int, os.listdir("/dev/fd")) if fd > 2]
    except (OSError, ValueError):
        return _FIRST_HANDLES


class PosixExecutor:
    """See `base.Executor`."""

    def __init__(self, shell: str) -> None:
        # A spawned process is started with inheritable handles (our pipe to the supervisor among them); a daemon that
        # a command leaves would keep that pipe open, and nobody would notice the end of this worker.
        for fd in _handles():
            with contextlib.suppress(OSError):
                os.set_inheritable(fd, False)
        _be_killed_before_the_supervisor()
        self.use_shell(shell)
        self._null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._children = children.Children()
        self._running: dict[int, PosixProcess] = {}
        """The commands that run, by pid."""
        self.sources = [self._children.wake_fd]
        """See `base.Executor`."""
        self._home_fd = _open_home()
        self._path = os.environ.get("PATH")
        self._shared_env: dict[str, str] = {}
        """The variables of the last command, without those of its run."""
        self._shared_bytes: dict[bytes, bytes] = {}
        """The same as bytes, if two commands in a row had them."""
        self._reset = _signals_to_reset()

    def wake(self) -> None:
        """See `base.Executor`."""
        os.read(self._children.wake_fd, 512)

    def start(self, spec: Spec) -> PosixProcess:
        """See `base.Executor`."""
        words = (*self._shell, spec.command) if isinstance(spec.command, str) else tuple(spec.command)
        at_start = self._children.before_start()
        try:
            os.chdir(spec.cwd if _SYSTEM_IS_UTF8 else _bytes(spec.cwd))
        except (OSError, ValueError) as error:  # ValueError: a NUL in it
            why = str(error.strerror if isinstance(error, OSError) else error)
            raise CannotEnterError(spec.cwd, why) from error
        try:
            argv: tuple[str, ...] | tuple[bytes, ...] = words
            if not _SYSTEM_IS_UTF8:
                argv = tuple(map(_bytes, words))
            program: str | bytes = argv[0]
            if "/" not in words[0] and spec.env.get("PATH") != self._path:
                program = _find(words[0], spec.env.get("PATH"))
            actions = [
                (os.POSIX_SPAWN_DUP2, self._null_fd if spec.input_fd < 0 else spec.input_fd, 0),
                (os.POSIX_SPAWN_DUP2, spec.output_fd, 1),
                (os.POSIX_SPAWN_DUP2, spec.output_fd, 2),
            ]
            # A command inherits its own lease, and no lease of another slot.
            if _DUP_INHERITS:
                actions.append((os.POSIX_SPAWN_DUP2, spec.lease_fd, spec.lease_fd))
            else:
                os.set_inheritable(spec.lease_fd, True)
            pid = os.posix_spawnp(
                program,
                argv,
                self._variables(spec),
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=self._reset,
            )
        except OSError as error:
            raise _start_error(words[0], error, spec.env.get("PATH")) from error
        except ValueError as error:
            what = "its command or a variable holds what no system takes there"
            raise CannotStartError(EXIT_NOT_RUNNABLE, what) from error
        finally:
            if not _DUP_INHERITS:
                os.set_inheritable(spec.lease_fd, False)
            try:
                os.fchdir(self._home_fd)
            except OSError:
                self._enter_root()
        self._children.add(pid)
        process = self._running[pid] = PosixProcess(self._running, pid, spec, at_start)
        return process

    def use_shell(self, shell: str) -> None:
        """See `base.Executor`."""
        self._shell = shell_words(shell)

    def ended(self) -> list[tuple[PosixProcess, Ended]]:
        """See `base.Executor`."""
        statuses, has_others = self._children.reap()
        found = []
        # All of these have ended, so one listing shows what each of them has left.
        others = self._children.left() if has_others and statuses else set()
        success = _SUCCESS if others or not self._children.are_adopted else _LAST_SUCCESS
        for pid, status in statuses:
            process = self._running.pop(pid)
            left = process.list_left(others) if others else ()
            found.append((process, _ended(status, left=left) if status or left else success))
        return found

    def _variables(self, spec: Spec) -> dict[bytes, bytes] | dict[str, str]:
        """Return the variables of a command. Those that many runs share are converted once: there are some forty."""
        if spec.env is not self._shared_env:
            self._shared_env, self._shared_bytes = spec.env, {}
            if _SYSTEM_IS_UTF8:
                return {**spec.env, **spec.marks}
        if not self._shared_bytes:
            self._shared_bytes = {_bytes(name): _bytes(text) for name, text in spec.env.items()}
        made = self._shared_bytes.copy()
        for name, text in spec.marks.items():
            made[name.encode()] = text.encode("utf-8", "surrogateescape")
        return made

    @staticmethod
    def _enter_root() -> None:
        """Go to a folder that no job has chosen, if the mode of the worker's own folder was changed.

        It never fails, because the command may run already (P3).
        """
        with contextlib.suppress(OSError):
            os.chdir("/")


class PosixProcess:
    """See `base.Process`."""

    def __init__(self, running: dict[int, PosixProcess], pid: int, spec: Spec, at_start: children.AtStart) -> None:
        self.pid = pid
        self._running = running
        self._children = at_start.ours
        self._spec = spec
        self._at_start = at_start

    def terminate(self, grace_s: float) -> Generator[float, object, Ended]:
        """See `base.Process`.

        The command is reaped last: until then its pid, and with it that of its group, is given to nobody else.
        """
        run, ours = self._family(), self._children
        self._running.pop(self.pid, None)
        ours.begin_end(self.pid)
        self._signal_group(signal.SIGTERM)
        self._signal_group(signal.SIGCONT)  # a stopped process handles TERM only when it goes on
        deadline = time.monotonic() + grace_s
        while (run.terminate() or not ours.has_ended(self.pid)) and time.monotonic() < deadline:
            yield children.LOOK_EVERY_S
        self._signal_group(signal.SIGKILL)
        refusing = yield from run.kill()
        while not ours.has_ended(self.pid):
            yield children.LOOK_EVERY_S
        _, status = os.waitpid(self.pid, 0)
        ours.forget(self.pid)
        if not refusing and self._at_start.is_alone and ours.has_any():
            yield from run.kill()  # the listings have missed one
        left = self._list_left(run)
        return _ended(status, killed=tuple(pid for pid in run.killed if pid not in left), left=left)

    def end_left(self) -> Generator[float, object, tuple[tuple[int, ...], tuple[int, ...]]]:
        """See `base.Process`."""
        run = self._family()
        yield from run.kill()
        left = self._list_left(run)
        return tuple(pid for pid in run.killed if pid not in left), left

    def _family(self) -> family.Family:
        """Return the processes of this command."""
        file = 0, 0
        with contextlib.suppress(OSError):
            info = os.fstat(self._spec.lease_fd)
            file = info.st_dev, info.st_ino
        return family.Family(
            self.pid,
            lease=family.HeldFile(self._spec.lease_path, file, self._spec.lease_fd),
            env={**self._spec.env, **self._spec.marks},
            at_start=self._at_start,
        )

    def list_left(self, others: set[int]) -> tuple[int, ...]:
        """Return the pids of processes that the command, which has ended, has left; some of them if there are many.

        `others` are the children of the worker besides its commands (`Children.left`), listed since the end.

        A process that a command leaves is a child of the worker, or descends from one that the command left. So
        without a new child it has left none.
        """
        if others <= {pid for pid, _ in self._at_start.earlier or ()}:
            return ()
        return tuple(each.pid for each in self._family().members())[: family.NAMED_AT_MOST]

    def _list_left(self, run: family.Family) -> tuple[int, ...]:
        """Do the same after an end by `run`."""
        if self._children.left() <= {pid for pid, _ in self._at_start.earlier or ()}:
            return ()
        return tuple(each.pid for each in run.members())[: family.NAMED_AT_MOST]

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _ended(status: int, *, killed: tuple[int, ...] = (), left: tuple[int, ...] = ()) -> Ended:
    """Return how a command ended, from the status of waitpid."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        reason = "command not found" if code == EXIT_NOT_FOUND else ""
        return Ended(code, reason, code in _SHUTDOWN_CODES, killed, left)
    with contextlib.suppress(ValueError):
        return Ended(128 - code, f"ended by {signal.Signals(-code).name}", 128 - code in _SHUTDOWN_CODES, killed, left)
    return Ended(128 - code, f"ended by signal {-code}", False, killed, left)


def _bytes(text: str) -> bytes:
    """Return a text of a job as the bytes that its command gets: UTF-8 in every locale; other bytes stay as they were.

    Raises:
        ValueError: half of a surrogate pair.
    """
    return text.encode("utf-8", "surrogateescape")


def _find(program: str, path: str | None) -> bytes:
    """Return a program by the job's own PATH, because posix_spawnp searches the worker's."""
    name, search = _bytes(program), None if path is None else _bytes(path)
    return shutil.which(name, path=search) or name  # type: ignore[arg-type]  # bytes are as good


def _signals_to_reset() -> list[int]:
    """Return the signals that are reset to their default in a command: all but those ignored before our own start.

    Most have their default anyway. But for a signal that is not named, glibc makes two system calls in each command to
    find that out: 15 us of CPU for a job.
    """
    settable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return sorted(
        int(each) for each in settable if each in _RESET_SIGNALS or signal.getsignal(each) is not signal.SIG_IGN
    )


def _open_home() -> int:
    """Return a handle of the folder to go back to after a start.

    A name would not do: the way back must not fail if somebody has taken the folder away, or a command would run whose
    start is reported as failed. If this process may not enter the folder, any other will do.
    """
    try:
        return files.open_folder(".")
    except OSError:
        return files.open_folder("/")


def _be_killed_before_the_supervisor() -> None:
    """Let Linux end a command or its worker, and not the pool, if memory runs out: the job is recovered then.

    Inherited by the commands; only a rise, which needs no privilege.
    """
    path = "/proc/self/oom_score_adj"
    with contextlib.suppress(OSError, ValueError), open(path, "r+", encoding="ascii") as file:
        if int(file.read()) < _OOM_SCORE_ADJ:
            file.seek(0)
            file.write(str(_OOM_SCORE_ADJ))


def _start_error(program: str, error: OSError, path: str | None) -> Exception:
    """Return the exception for a program that did not start: the job's fault or the machine's. `path` was searched."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.sep in program and os.path.isfile(program):  # looked for where the command was to run
            return CannotStartError(EXIT_NOT_FOUND, f"the program that the first line of {program} names is not found")
        return CannotStartError(EXIT_NOT_FOUND, f"command not found: {program}")
    if error.errno == errno.EACCES:
        # A folder of PATH that may not be searched gives this as well, and so does a folder of the program's name.
        if "/" not in program and shutil.which(program, os.F_OK, path) is None:
            return CannotStartError(EXIT_NOT_FOUND, f"command not found: {program}")
        return CannotStartError(EXIT_NOT_RUNNABLE, f"not executable: {program}")
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO):
        return error
    return CannotStartError(EXIT_NOT_RUNNABLE, f"cannot start {program}: {error.strerror}")
