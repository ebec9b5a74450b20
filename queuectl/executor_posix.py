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

from queuectl import fsops
from queuectl.executor import EXIT_NOT_FOUND, EXIT_NOT_RUNNABLE, CannotStartError, Ended, Spec, shell_words

assert sys.platform != "win32"  # tells mypy, too

# Python ignores SIGPIPE and the worker ignores Ctrl-C; a command gets what it would get from a shell.
_RESET_SIGNALS = [
    int(getattr(signal, name))
    for name in ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGCHLD")
    if hasattr(signal, name)
]
# As a command ends that a system ends when it stops: by such a signal, or, a shell whose command did, with 128 + n.
_SHUTDOWN_CODES = frozenset(128 + number for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
# In thousandths of the memory (proc(5)).
_OOM_SCORE_ADJ = 300
# Handles that a process has at its start have low numbers.
_FIRST_HANDLES = 256
# poll takes milliseconds in a C int, which end after 24 days; whoever waits for longer asks again.
_LONGEST_POLL_S = 86400.0
# How often an ending process group is looked at; no event tells when the last of a group is gone.
_GROUP_POLL_MS = 20


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
        self._pid = 0
        self._woken = False
        self._noticed = False

    def start(self, spec: Spec) -> None:
        """See `executor.Executor`."""
        argv = (*self._shell, spec.command) if isinstance(spec.command, str) else tuple(spec.command)
        os.set_inheritable(spec.lease_fd, True)
        try:
            os.chdir(spec.cwd)
        except (OSError, ValueError) as error:  # ValueError: a NUL in it
            why = error.strerror if isinstance(error, OSError) else error
            raise CannotStartError(EXIT_NOT_RUNNABLE, f"cannot enter the folder {spec.cwd}: {why}") from error
        try:
            self._pid = os.posix_spawnp(
                self._found(argv[0], spec.env),
                argv,
                spec.env,
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, self._null_fd, 0),
                    (os.POSIX_SPAWN_DUP2, spec.output_fd, 1),
                    (os.POSIX_SPAWN_DUP2, spec.output_fd, 2),
                ),
                setpgroup=0,
                setsigmask=(),
                setsigdef=_RESET_SIGNALS,
            )
        except OSError as error:
            raise _start_error(argv[0], error) from error
        except ValueError as error:
            raise CannotStartError(EXIT_NOT_RUNNABLE, str(error)) from error
        finally:
            os.fchdir(self._home_fd)

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
        return self._noticed

    @property
    def noticed(self) -> bool:
        """See `executor.Executor`."""
        return self._noticed

    def _found(self, program: str, env: dict[str, str]) -> str:
        """The program by the job's own PATH where it brings one: posix_spawnp searches the worker's."""
        if os.sep in program or (path := env.get("PATH")) == self._path:
            return program
        return shutil.which(program, path=path) or program

    def deafen(self) -> None:
        """See `executor.Executor`."""
        self._poll.unregister(self._conn_fd)

    def _reap(self) -> Ended | None:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return Ended(code, "command not found" if code == EXIT_NOT_FOUND else "", code in _SHUTDOWN_CODES)
        with contextlib.suppress(ValueError):
            return Ended(128 - code, f"ended by {signal.Signals(-code).name}", 128 - code in _SHUTDOWN_CODES)
        return Ended(128 - code, f"ended by signal {-code}")

    def terminate(self, grace_s: float) -> Ended:
        """See `executor.Executor`."""
        group = self._pid
        self._signal(group, signal.SIGTERM)
        self._signal(group, signal.SIGCONT)  # a stopped process hears TERM only when it goes on
        deadline = time.monotonic() + grace_s
        ended = self._reap()
        while time.monotonic() < deadline and (ended is None or _group_lives(group)):
            self._signals.poll(_GROUP_POLL_MS)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_fd, 512)
            ended = ended or self._reap()
        self._signal(group, signal.SIGKILL)
        while ended is None:
            self._signals.poll(_GROUP_POLL_MS)
            ended = self._reap()
        return ended

    @staticmethod
    def _signal(group: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def _open_home() -> int:
    """A handle to go back to after a start. Not a name: the way back must not fail when somebody has taken the folder
    away, or a command would run whose start we report as failed. Where it cannot be entered by us, any other will do.
    """
    try:
        return fsops.open_folder(".")
    except OSError:
        return fsops.open_folder("/")


def _be_killed_before_the_supervisor() -> None:
    """Where memory runs out, Linux is to end a command or its worker, whose job is then recovered, and not the pool.

    Inherited by the commands; only a rise, which needs no privilege.
    """
    path = "/proc/self/oom_score_adj"
    with contextlib.suppress(OSError, ValueError), open(path, "r+", encoding="ascii") as file:
        if int(file.read()) < _OOM_SCORE_ADJ:
            file.seek(0)
            file.write(str(_OOM_SCORE_ADJ))


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _ignore(_number: int, _frame: object) -> None:
    """A handler must exist for a signal to arrive in the wake-up pipe."""


def _start_error(program: str, error: OSError) -> Exception:
    """Whose fault it is that a program did not start."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return CannotStartError(EXIT_NOT_FOUND, f"command not found: {program}")
    if error.errno == errno.EACCES:
        return CannotStartError(EXIT_NOT_RUNNABLE, f"not executable: {program}")
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO):
        return error
    return CannotStartError(EXIT_NOT_RUNNABLE, f"cannot start {program}: {error.strerror}")
