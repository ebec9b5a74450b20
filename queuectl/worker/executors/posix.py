"""Commands on POSIX: posix_spawn (no fork: that costs 21 ms in a process of 300 MB), a process group each.

The worker's folder is changed for the start, because posix_spawn cannot do it for the child; a worker starts one
command at a time and names its own files absolutely. SIGCHLD arrives in a pipe, so that one poll waits for the
command and for the supervisor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import sys
import time
from multiprocessing.connection import Connection

from queuectl.system import files, processes
from queuectl.worker.executors import family
from queuectl.worker.executors.base import (
    EXIT_NOT_FOUND,
    EXIT_NOT_RUNNABLE,
    CannotEnterError,
    CannotStartError,
    Ended,
    Spec,
    shell_words,
)
from queuectl.worker.executors.family import NAMED_AT_MOST, Family, HeldFile

assert sys.platform != "win32"  # tells mypy, too

# Python ignores SIGPIPE and the worker ignores Ctrl-C; a command gets what it would get from a shell.
_RESET_SIGNALS = frozenset(
    getattr(signal, name)
    for name in ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGCHLD")
    if hasattr(signal, name)
)
# As a command ends that a system ends when it stops: by such a signal, or, a shell whose command did, with 128 + n.
_SHUTDOWN_CODES = frozenset(128 + number for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
_SUCCESS = Ended(0, "")
# In thousandths of the memory (proc(5)).
_OOM_SCORE_ADJ = 300
# Handles that a process has at its start have low numbers.
_FIRST_HANDLES = 256
# Then the system's own conversion gives a command the bytes that `_bytes` does, in a tenth of the time: a job has some
# forty variables.
_SYSTEM_IS_UTF8 = sys.getfilesystemencoding().replace("-", "").lower() == "utf8"
# poll takes milliseconds in a C int, which end after 24 days; whoever waits for longer asks again.
_LONGEST_POLL_S = 86400.0
# How often a run that is being ended is looked at; no event tells when the last of its processes is gone.
_LOOK_EVERY_MS = 20


class PosixExecutor:
    """See `executor.Executor`."""

    def __init__(self, conn: Connection, shell: str) -> None:
        # A spawned process is started with inheritable handles (our pipe to the supervisor among them); a daemon that
        # a command leaves would keep that pipe open, and nobody would notice the end of this worker.
        for fd in range(3, _FIRST_HANDLES):
            with contextlib.suppress(OSError):
                os.set_inheritable(fd, False)
        _be_killed_before_the_supervisor()
        self._shell = shell_words(shell)
        self._conn_fd = conn.fileno()
        self._null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._wake_fd, wake_write_fd = os.pipe()
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(wake_write_fd, False)
        signal.set_wakeup_fd(wake_write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        self._poll = select.poll()
        self._poll.register(self._wake_fd, select.POLLIN)
        self._poll.register(self._conn_fd, select.POLLIN)
        self._signals = select.poll()  # not select, which takes no handle above 1023
        self._signals.register(self._wake_fd, select.POLLIN)
        self._home_fd = _open_home()
        self._path = os.environ.get("PATH")
        self._reset = _signals_to_reset()
        self._pid = 0
        self._spec: Spec | None = None
        self._started = 0
        """When the command was started (`processes.now`), where that matters."""
        self._adopts = family.adopt()
        before = processes.children(os.getpid()) if self._adopts else []
        self._earlier = frozenset(each.key for each in before if not each.has_ended)
        """Children of ours (`Process.key`) that are no command's, or that earlier commands have left."""
        self._has_left = bool(before)
        """False only if the system said so: we had no child beside the last command. A look can miss one."""
        self._woken = False
        self._noticed = False

    def start(self, spec: Spec) -> None:
        """See `executor.Executor`."""
        words = (*self._shell, spec.command) if isinstance(spec.command, str) else tuple(spec.command)
        os.set_inheritable(spec.lease_fd, True)
        self._spec = spec
        if self._has_left:
            # Anew, because what was left may have started others and ended since.
            self._earlier = frozenset(each.key for each in processes.children(os.getpid()) if not each.has_ended)
            self._started = processes.now()
        try:
            os.chdir(_bytes(spec.cwd))
        except (OSError, ValueError) as error:  # ValueError: a NUL in it
            why = str(error.strerror if isinstance(error, OSError) else error)
            raise CannotEnterError(spec.cwd, why) from error
        try:
            argv = tuple(map(_bytes, words))
            env: dict[bytes, bytes] | dict[str, str] = spec.env
            if not _SYSTEM_IS_UTF8:
                env = {_bytes(key): _bytes(text) for key, text in spec.env.items()}
            self._pid = os.posix_spawnp(
                self._found(argv[0], spec.env.get("PATH")),
                argv,
                env,
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, self._null_fd, 0),
                    (os.POSIX_SPAWN_DUP2, spec.output_fd, 1),
                    (os.POSIX_SPAWN_DUP2, spec.output_fd, 2),
                ),
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
            try:
                os.fchdir(self._home_fd)
            except OSError:
                self._leave()

    def wait(self, timeout_s: float | None) -> Ended | None:
        """See `executor.Executor`."""
        if self._woken:  # a SIGCHLD was drained while only the supervisor was listened to
            self._woken = False
            ended = self._reap()
            if ended is not None:
                return ended
        self.heard(timeout_s)
        self._woken = False
        return self._reap()

    def heard(self, timeout_s: float | None) -> bool:
        """See `executor.Executor`."""
        self._noticed = False
        for fd, _ in self._poll.poll(None if timeout_s is None else 1000 * min(max(0.0, timeout_s), _LONGEST_POLL_S)):
            if fd == self._conn_fd:
                self._noticed = True
                continue
            self._woken = True
            os.read(self._wake_fd, 512)
            if not self._pid:  # something that an earlier command has left has ended
                self._reap_all()
        return self._noticed

    @property
    def noticed(self) -> bool:
        """See `executor.Executor`."""
        return self._noticed

    @staticmethod
    def _leave() -> None:
        """Go to a folder that no job has chosen, where the way home is closed: its mode was changed.

        It never fails, because the command may run already (P3).
        """
        with contextlib.suppress(OSError):
            os.chdir("/")

    def _found(self, program: bytes, path: str | None) -> bytes:
        """The program by the job's own PATH where it brings one: posix_spawnp searches the worker's."""
        if b"/" in program or path == self._path:
            return program
        search = None if path is None else _bytes(path)
        return shutil.which(program, path=search) or program  # type: ignore[arg-type]  # bytes are as good

    def deafen(self) -> None:
        """See `executor.Executor`."""
        self._poll.unregister(self._conn_fd)

    def _reap(self) -> Ended | None:
        status, has_others = self._reap_all()
        if status is None:
            return None
        left = self._take_stock(self._family()) if has_others else ()
        self._has_left = has_others
        self._pid = 0
        return _ended(status, left=left) if status or left else _SUCCESS

    def _reap_all(self) -> tuple[int | None, bool]:
        """Reap what has ended of our children, orphans too; how the command ended, and whether others live."""
        status = None
        while True:
            try:
                pid, found = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if self._pid and status is None:
                    raise
                return status, False
            if not pid:
                return status, True
            if pid == self._pid:
                status = found

    def _family(self) -> Family:
        """The processes of the command that runs."""
        spec = self._spec
        assert spec is not None
        file = 0, 0
        with contextlib.suppress(OSError):
            info = os.fstat(spec.lease_fd)
            file = info.st_dev, info.st_ino
        return Family(
            self._pid,
            lease=HeldFile(spec.lease_path, file, spec.lease_fd),
            env=spec.env,
            since=self._started,
            earlier=self._earlier if self._has_left else None,
            adopts=self._adopts,
        )

    def _take_stock(self, run: Family) -> tuple[int, ...]:
        """The pids of what the command has left; from now on they are what an earlier command has left.

        What a command leaves has us as its parent, or a process that it has left: without a new child it is nothing.
        """
        pids = processes.child_pids(os.getpid())
        if pids <= {pid for pid, _ in self._earlier}:
            return ()
        left = tuple(each.pid for each in run.members())
        self._earlier = frozenset(each.key for each in processes.children(os.getpid()) if not each.has_ended)
        return left[:NAMED_AT_MOST]

    def terminate(self, grace_s: float) -> Ended:
        """See `executor.Executor`.

        The command is reaped last: until then its pid, and with it that of its group, is given to nobody else.
        """
        run = self._family()
        self._signal_group(signal.SIGTERM)
        self._signal_group(signal.SIGCONT)  # a stopped process hears TERM only when it goes on
        deadline = time.monotonic() + grace_s
        while (run.ask() or not self._has_ended()) and time.monotonic() < deadline:
            self._pause()
        self._signal_group(signal.SIGKILL)
        refusing = run.kill(self._pause)
        while not self._has_ended():
            self._pause()
        _, status = os.waitpid(self._pid, 0)
        if self._has_others() and not (refusing or self._has_left):
            run.kill(self._pause)  # the looks have missed one
        left = self._take_stock(run)
        self._has_left = self._has_others()
        self._pid = 0
        return _ended(status, killed=tuple(pid for pid in run.killed if pid not in left), left=left)

    @staticmethod
    def _has_others() -> bool:
        """True where we have children, the command being reaped."""
        try:
            return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def _has_ended(self) -> bool:
        """True where the command has ended; it is not reaped."""
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _pause(self) -> None:
        """Wait for a moment, or until a child has ended."""
        self._signals.poll(_LOOK_EVERY_MS)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_fd, 512)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)


def _ended(status: int, *, killed: tuple[int, ...] = (), left: tuple[int, ...] = ()) -> Ended:
    """How a command ended, from what waitpid says."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        reason = "command not found" if code == EXIT_NOT_FOUND else ""
        return Ended(code, reason, code in _SHUTDOWN_CODES, killed, left)
    with contextlib.suppress(ValueError):
        return Ended(128 - code, f"ended by {signal.Signals(-code).name}", 128 - code in _SHUTDOWN_CODES, killed, left)
    return Ended(128 - code, f"ended by signal {-code}", False, killed, left)


def _bytes(text: str) -> bytes:
    """A text of a job as the bytes that its command gets: UTF-8 in every locale, and what was no UTF-8 as it was.

    Raises:
        ValueError: half of a surrogate pair.
    """
    return text.encode("utf-8", "surrogateescape")


def _signals_to_reset() -> list[int]:
    """The signals that do in a command what they do by default: all but those that were ignored before our own start.

    The default is what most have anyway, but glibc makes two system calls in each command for a signal that is not
    named, to find that out: 15 us of CPU for a job.
    """
    settable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return sorted(
        int(each) for each in settable if each in _RESET_SIGNALS or signal.getsignal(each) is not signal.SIG_IGN
    )


def _open_home() -> int:
    """A handle to go back to after a start. Not a name: the way back must not fail when somebody has taken the folder
    away, or a command would run whose start we report as failed. Where it cannot be entered by us, any other will do.
    """
    try:
        return files.open_folder(".")
    except OSError:
        return files.open_folder("/")


def _be_killed_before_the_supervisor() -> None:
    """Where memory runs out, Linux is to end a command or its worker, whose job is then recovered, and not the pool.

    Inherited by the commands; only a rise, which needs no privilege.
    """
    path = "/proc/self/oom_score_adj"
    with contextlib.suppress(OSError, ValueError), open(path, "r+", encoding="ascii") as file:
        if int(file.read()) < _OOM_SCORE_ADJ:
            file.seek(0)
            file.write(str(_OOM_SCORE_ADJ))


def _ignore(_number: int, _frame: object) -> None:
    """A handler must exist for a signal to arrive in the wake-up pipe."""


def _start_error(program: str, error: OSError, path: str | None) -> Exception:
    """Whose fault it is that a program did not start; `path` is where it was looked for."""
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
