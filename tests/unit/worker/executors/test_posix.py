"""posix: commands, their environment, their end."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("POSIX commands", allow_module_level=True)

from queuectl.system import processes
from queuectl.system.locks import FileLock, is_held
from queuectl.worker.channel import Channel
from queuectl.worker.executors import base, choose
from queuectl.worker.executors.base import CannotStartError, Ended, Spec
from queuectl.worker.executors.children import Children
from queuectl.worker.executors.posix import PosixExecutor, PosixProcess
from tests.helpers import wait_until


class Bench:
    """An executor with a supervisor's end of the pipe, an output file and a lease."""

    def __init__(self, tmp_path: Path, shell: str = "auto") -> None:
        self.folder = tmp_path / "work"
        self.folder.mkdir(exist_ok=True)
        self.output_path = tmp_path / "out"
        self.output_fd = os.open(self.output_path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.lease = FileLock(str(tmp_path / "lease"))
        assert self.lease.try_acquire()
        self.supervisor: Connection
        self.supervisor, self.conn = multiprocessing.Pipe()
        made = choose.make(shell)
        assert isinstance(made, PosixExecutor)
        self.executor = made
        self.channel = Channel(self.conn, made)
        self.process: PosixProcess

    def start(self, command: str | list[str], *, cwd: str | None = None, env: dict[str, str] | None = None) -> None:
        """Start a command in the work folder."""
        environ = {"PATH": os.environ["PATH"], **(env or {})}
        self.process = self.executor.start(
            Spec(command, cwd or str(self.folder), environ, self.output_fd, self.lease.fd, self.lease.path)
        )

    def end(self, timeout: float = 60.0) -> Ended:
        """Wait for the end of the command."""
        deadline = time.monotonic() + timeout
        while (ended := self.look(1.0)) is None:
            assert time.monotonic() < deadline
        return ended

    def look(self, timeout_s: float | None) -> Ended | None:
        """Wait for the end of the command; None if something else has come, or the time is over."""
        self.channel.wait(timeout_s)
        return next((how for process, how in self.channel.ended() or () if process is self.process), None)

    def terminate(self, grace_s: float) -> Ended:
        """End the command, step by step."""
        steps = self.process.terminate(grace_s)
        while True:
            try:
                next(steps)
            except StopIteration as over:
                ended: Ended = over.value
                return ended
            self.executor._children.pause()

    def run(self, command: str | list[str], **options: Any) -> Ended:
        """Start a command and wait for its end."""
        self.start(command, **options)
        return self.end()

    @property
    def printed(self) -> str:
        """What the command printed."""
        return self.output_path.read_text()

    def close(self) -> None:
        """Give everything back."""
        os.close(self.output_fd)
        self.lease.close()
        self.conn.close()
        self.supervisor.close()
        os.close(self.executor._null_fd)
        os.close(self.executor.sources[0])


def bench_in(folder: Path) -> Iterator[Bench]:
    """Yield an executor in this process; its signal handling is taken back afterwards."""
    old = signal.getsignal(signal.SIGCHLD)
    made = Bench(folder)
    yield made
    wake_fd = signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, old)
    os.close(wake_fd)
    made.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An executor in this process."""
    yield from bench_in(tmp_path)


def test_command_is_sent_every_signal(bench: Bench) -> None:
    """What the worker blocks or ignores for itself is not blocked for its command (signal(7): kept over an exec)."""
    assert bench.run("grep -E '^Sig(Blk|Ign)' /proc/self/status || echo none").exit_code == 0
    lines = dict(line.split(":") for line in bench.printed.splitlines() if ":" in line)
    of_the_library = 1 << 31 | 1 << 32  # glibc keeps two for itself
    assert [int(value, 16) & ~of_the_library for value in lines.values()] == [0] * len(lines)


def test_exit_code_is_the_commands(bench: Bench) -> None:
    """0 is success, anything else is what the command said."""
    assert bench.run("true")[:2] == (0, "")
    assert bench.run("exit 7")[:2] == (7, "")
    assert bench.run(["sh", "-c", "exit 200"])[:2] == (200, "")


def test_string_runs_in_the_shell_and_list_does_not(bench: Bench) -> None:
    """A list's words are arguments as they are."""
    bench.run("echo one; echo $((1 + 1))")
    bench.run(["echo", "$HOME; *"])
    assert bench.printed == "one\n2\n$HOME; *\n"


def test_output_and_errors_go_to_the_file_and_input_is_empty(bench: Bench) -> None:
    """A command that reads its input gets the end of it at once."""
    assert bench.run("cat; echo out; echo err >&2").exit_code == 0
    assert bench.printed == "out\nerr\n"


def test_environment_is_what_was_given(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else reaches the command."""
    monkeypatch.setenv("SECRET", "x")
    bench.run("env", env={"QUEUECTL_JOB_ID": "job1"})
    lines = bench.printed.splitlines()
    assert "QUEUECTL_JOB_ID=job1" in lines
    assert not any(line.startswith("SECRET=") for line in lines)


def test_command_runs_in_its_folder_and_the_worker_stays_in_its_own(bench: Bench) -> None:
    """Changing the folder for the start is undone, also when the start fails."""
    home = os.getcwd()
    bench.run("pwd")
    assert bench.printed == f"{bench.folder.resolve()}\n"
    with pytest.raises(CannotStartError):
        bench.start(["/no/such/program"])
    assert os.getcwd() == home


def test_command_starts_although_the_worker_s_own_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: a start that is reported as failed while the command runs would let the job run twice at once."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    made = Bench(tmp_path)
    home.rmdir()
    made.start("exit 7")
    assert made.end().exit_code == 7
    made.close()


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        (["no-such-program-xyz"], 127, "command not found: no-such-program-xyz"),
        (["/etc/passwd/x"], 127, "command not found: /etc/passwd/x"),
        (["./plain"], 126, "not executable: ./plain"),
        (["./folder"], 126, "not executable: ./folder"),
        (["./nonsense"], 126, "cannot start ./nonsense"),
        (["./no-interpreter"], 127, "the program that the first line of ./no-interpreter names is not found"),
        (["a\0b"], 126, ""),
    ],
)
def test_command_that_cannot_be_started_is_the_jobs_fault(
    bench: Bench, command: list[str], code: int, reason: str
) -> None:
    """A missing or broken program is a failed attempt with the shell's own code, never a crash (P6)."""
    (bench.folder / "plain").write_text("x")
    (bench.folder / "folder").mkdir()
    for name, content in (("nonsense", b"\x7fELF" + b"\0" * 60), ("no-interpreter", b"#!/no/such/shell\n")):
        (bench.folder / name).write_bytes(content)
        (bench.folder / name).chmod(0o755)
    with pytest.raises(CannotStartError) as caught:
        bench.start(command)
    assert caught.value.exit_code == code
    assert caught.value.reason.startswith(reason)
    assert bench.run("true").exit_code == 0


def test_a_path_that_cannot_be_searched_has_no_such_command(bench: Bench, tmp_path: Path) -> None:
    """A folder in the place of the program, or one in PATH that nobody may enter, makes no program."""
    (tmp_path / "bin" / "tool").mkdir(parents=True)
    (tmp_path / "closed").mkdir(mode=0)
    for folder in ("bin", "closed"):
        with pytest.raises(CannotStartError, match="command not found: tool") as caught:
            bench.start(["tool"], env={"PATH": str(tmp_path / folder)})
        assert caught.value.exit_code == base.EXIT_NOT_FOUND


@pytest.mark.parametrize("cwd", ["/no/such/folder", "/etc/passwd", "a\0b"])
def test_folder_that_cannot_be_entered_is_the_jobs_fault(bench: Bench, cwd: str) -> None:
    """A folder that is gone, is none, or cannot be one fails the attempt and says which (P6)."""
    with pytest.raises(CannotStartError) as caught:
        bench.start("true", cwd=cwd)
    assert caught.value.exit_code == base.EXIT_NOT_RUNNABLE
    assert caught.value.reason.startswith(f"cannot enter the folder {cwd} (the job's cwd)")


@pytest.mark.parametrize("env", [{"A=B": "x"}, {"A": "\0"}])
def test_environment_that_cannot_be_is_the_jobs_fault(bench: Bench, env: dict[str, str]) -> None:
    """A variable that no system takes fails the attempt (P6)."""
    with pytest.raises(CannotStartError):
        bench.start("true", env=env)


@pytest.mark.parametrize("code", ["EAGAIN", "ENOMEM", "EMFILE", "ENFILE"])
def test_machine_that_cannot_fork_is_not_the_jobs_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """No memory and no processes left are the worker's trouble (P9)."""

    def refuse(*_args: object, **_options: object) -> int:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    monkeypatch.setattr(os, "posix_spawnp", refuse)
    with pytest.raises(OSError) as caught:
        bench.start("true")
    assert caught.value.errno == getattr(errno, code)


def test_command_not_found_by_the_shell_is_said(bench: Bench) -> None:
    """127 from the shell is told in words."""
    assert bench.run("no-such-program-xyz")[:2] == (127, "command not found")


def test_end_by_a_signal_is_128_and_its_number(bench: Bench) -> None:
    """A command that was killed from outside says by what."""
    assert bench.run("kill -9 $$")[:2] == (137, "ended by SIGKILL")
    assert bench.run("kill -TERM $$")[:2] == (143, "ended by SIGTERM")


@pytest.mark.parametrize(
    ("command", "is_shutdown"),
    [("kill -TERM $$", True), ("kill -HUP $$", True), ("exit 143", True), ("kill -9 $$", False), ("exit 1", False)],
)
def test_end_as_of_a_system_that_stops_is_told_from_a_failure(bench: Bench, command: str, is_shutdown: bool) -> None:
    """The signals of a shutdown, also where a shell passes on that its command ended by one; no ordinary code (P9)."""
    assert bench.run(command).is_shutdown is is_shutdown


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="no real-time signals")
def test_end_by_a_signal_without_a_name(bench: Bench) -> None:
    """A real-time signal has a number only."""
    number = signal.SIGRTMIN + 3
    assert bench.run(f"kill -{number} $$")[:2] == (128 + number, f"ended by signal {number}")


def test_commands_get_the_signals_that_a_shell_would_give(bench: Bench) -> None:
    """Python ignores SIGPIPE and a worker ignores Ctrl-C; a command does neither."""
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bench.run([sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"])
        bench.run("kill -PIPE $$")
    finally:
        signal.signal(signal.SIGINT, old)
    assert bench.printed == "False\n"


def test_a_signal_that_the_pool_was_started_to_ignore_is_ignored_by_its_commands(tmp_path: Path) -> None:
    """As with a shell: what is ignored before its start, it hands on (POSIX, sh: trap)."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGCHLD)}
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    made = Bench(tmp_path)
    try:
        look = "import signal; print([signal.getsignal(s).name for s in (signal.SIGUSR2, signal.SIGUSR1)])"
        made.run([sys.executable, "-c", look])
    finally:
        wake_fd = signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wake_fd)
        made.close()
    assert made.printed == "['SIG_IGN', 'SIG_DFL']\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at what glibc does")
def test_every_signal_is_named_that_a_command_has_by_default(bench: Bench) -> None:
    """A signal that is not named costs two system calls in each command."""
    missing = signal.valid_signals() - set(bench.executor._reset) - {signal.SIGKILL, signal.SIGSTOP}
    assert all(signal.getsignal(number) is signal.SIG_IGN for number in missing)


def test_command_leads_a_group_of_its_own(bench: Bench) -> None:
    """Ending a command never ends its worker."""
    bench.run([sys.executable, "-c", "import os; print(os.getpgid(0) == os.getpid())"])
    assert bench.printed == "True\n"


def test_command_holds_the_lease(bench: Bench) -> None:
    """The lock lives as long as anything of the job, even without its worker (P3)."""
    bench.start("echo ready; exec sleep 60")
    wait_until(lambda: bench.printed)
    bench.lease.close()
    assert is_held(bench.lease.path)
    bench.terminate(5)
    assert not is_held(bench.lease.path)
    assert bench.lease.try_acquire()


def test_command_gets_no_other_handle_of_the_worker(bench: Bench, tmp_path: Path) -> None:
    """A command that is left behind holds the lease and nothing else, no stripe above all (P3)."""
    stripe = FileLock(str(tmp_path / "stripe"))
    assert stripe.try_acquire()
    bench.start(["sleep", "60"])
    stripe.close()
    # The kernel lets posix_spawn return an instant before it closes the child's other handles.
    wait_until(lambda: not is_held(stripe.path))
    bench.terminate(5)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are not the worker's children")
def test_the_system_says_whether_a_command_has_left_nothing(bench: Bench) -> None:
    """P3, P5: what a command has left is a child of the worker, so its lease is not taken for free."""
    others = [each for each in processes.children(os.getpid()) if not each.has_ended]
    assert bench.run("true").is_last == (not others)
    assert not bench.run("setsid sleep 60 & echo $!").is_last
    assert not bench.run("true").is_last, "what an earlier command has left could hold any lease"
    left = int(bench.printed)
    os.kill(left, signal.SIGKILL)
    os.waitpid(left, 0)
    bench.start("sleep 60")
    beside = bench.process
    assert bench.run("true").is_last == (not others)
    assert not bench.run("setsid sleep 60 & echo $!").is_last
    assert not bench.run("true").is_last
    left = int(bench.printed.split()[-1])
    os.kill(left, signal.SIGKILL)
    os.waitpid(left, 0)
    beside._signal_group(signal.SIGKILL)
    bench.process = beside
    assert bench.end().exit_code == 128 + signal.SIGKILL


def test_terminate_asks_first(bench: Bench) -> None:
    """A command that ends when it is asked to is not killed, and its own exit code counts."""
    bench.start("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done")
    wait_until(lambda: "ready" in bench.printed)
    assert bench.terminate(10)[:2] == (5, "")
    assert "bye" in bench.printed


def test_terminate_kills_what_does_not_listen(bench: Bench) -> None:
    """After the grace a command is killed."""
    bench.start("trap '' TERM; echo ready; while :; do sleep 0.01; done")
    wait_until(lambda: "ready" in bench.printed)
    assert bench.terminate(0.1)[:2] == (137, "ended by SIGKILL")


def test_terminate_ends_the_whole_tree(bench: Bench) -> None:
    """What a command started ends with it, also what does not listen (P3)."""
    bench.start("(trap '' TERM; echo ready; while :; do sleep 0.01; done) & exec sleep 60")
    wait_until(lambda: "ready" in bench.printed)
    bench.terminate(0.2)
    bench.lease.close()
    wait_until(lambda: not is_held(bench.lease.path))


def test_terminate_ends_a_stopped_command(bench: Bench) -> None:
    """A command that was stopped hears TERM as soon as it goes on."""
    bench.start(["sleep", "60"])
    os.kill(bench.process.pid, signal.SIGSTOP)
    assert bench.terminate(10)[:2] == (143, "ended by SIGTERM")


def test_terminate_of_a_command_that_ended_gives_its_end(bench: Bench) -> None:
    """A command that ends while it is being ended keeps its exit code."""
    bench.start("exit 4")
    wait_until(lambda: Children.has_ended(bench.process.pid))
    assert bench.terminate(5)[:2] == (4, "")


def test_terminate_needs_no_waitid(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has it on macOS from 3.13 on only."""
    monkeypatch.delattr(os, "waitid")
    bench.start(["sleep", "60"])
    assert bench.terminate(10)[:2] == (143, "ended by SIGTERM")
    bench.start("(trap '' TERM; while :; do sleep 0.01; done) & trap '' TERM; echo ready; while :; do sleep 0.01; done")
    wait_until(lambda: "ready" in bench.printed)
    assert bench.terminate(0.1)[:2] == (137, "ended by SIGKILL")
    bench.lease.close()
    wait_until(lambda: not is_held(bench.lease.path))


@pytest.mark.parametrize("shell", ["auto", "sh", "bash", "zsh", "powershell", "pwsh", "cmd"])
def test_every_shell_of_the_setting_has_its_words(shell: str) -> None:
    """The command follows as the last word."""
    assert base.shell_words(shell)[-1] in ("-c", "/c", "-Command")


@pytest.mark.parametrize("is_listed", [True, False])
def test_no_handle_that_was_there_before_reaches_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_listed: bool
) -> None:
    """A spawned worker begins with inheritable handles, also where the system does not list them."""
    if not is_listed:

        def refuse(path: str) -> list[str]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

        monkeypatch.setattr(os, "listdir", refuse)
    fd = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        for _bench in bench_in(tmp_path):
            assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
