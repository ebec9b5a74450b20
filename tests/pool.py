"""A real worker pool in a process of its own, for tests: started, listened to, stopped, killed. And its processes.

What kill -9 is elsewhere is TerminateProcess on Windows, and a pool is asked to stop there by its file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from queuectl.cli import main
from queuectl.cli.terminal import printing
from queuectl.spool import pools
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import is_alive
from tests.helpers import wait_until

if sys.platform == "win32":
    from tests.windows import procs

WINDOWS = sys.platform == "win32"
WITNESS = Path(__file__).with_name("witness.py")
# What happens at once, which takes its time on a busy machine; waits that are not for a lock are longer by far.
AT_ONCE_NS = 20e9
# Commands for every system. A text goes to sh or to cmd; both know `exit`.
SUCCEED = "exit 0"
PYTHON = [sys.executable, "-S", "-c"]
SLEEP = [*PYTHON, "import time; time.sleep(60)"]


def queuectl(spool: SpoolDir, *words: str, stdin: str | None = None, check: bool = True) -> str:
    """Run one command of queuectl; return what it printed to standard output.

    It runs in this process, but for what starts and stops pools: a Python for it costs more than all the rest.
    """
    if (words[0] != "worker" or words[1] == "list") and stdin is None:
        return _run_here(spool, *words, check=check)
    done = subprocess.run(
        [sys.executable, "-m", "queuectl", "--spool", spool.root, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout.strip()


def _run_here(spool: SpoolDir, *words: str, check: bool) -> str:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n") for _ in range(2))
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO())  # nobody is there to be asked
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = printing.close_streams(main.main(["--spool", spool.root, *words]))
    finally:
        sys.stdin = before
    printed, errors = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    assert not check or code == 0, (words, code, printed, errors)
    return str(printed).strip()


class Pool:
    """`queuectl worker start` as a process; its events are read as they come."""

    def __init__(
        self,
        spool: SpoolDir,
        *options: str,
        count: int = 2,
        cwd: Path | None = None,
        program: tuple[str, ...] = ("-m", "queuectl"),
    ) -> None:
        self.spool = spool
        self.events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        command = [sys.executable, *program, "--spool", spool.root, "worker", "start"]
        self.process = subprocess.Popen(
            [*command, "--count", str(count), "--log-format", "json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0,
        )
        self._readers = [threading.Thread(target=target, daemon=True) for target in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print("the last that the pool told:", *self.events[-30:], sep="\n")
        if self.process.poll() is None:
            self.ask_to_stop()
        self.end()

    def end(self) -> None:
        """Wait for the end of a pool that was asked to stop; kill it after a minute."""
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            print("the pool did not stop")
            self.kill_everything()
        self.wait()

    def ask_to_stop(self) -> None:
        """Ask for a graceful stop, as a service manager does."""
        if not WINDOWS:
            self.process.send_signal(signal.SIGTERM)
            return
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            if started := [item for item in self.events if item["event"] == "pool_started"]:
                pools.request_stop(self.spool, started[0]["pool"], now=False)
                return
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        """The supervisor's process. (What was started may be a launcher: the python.exe of a venv on Windows.)"""
        if not WINDOWS:
            return self.process.pid
        name = self.event("pool_started")["pool"]
        return next(info.pid for info in pools.live(self.spool) if info.pool == name)

    def wait(self, timeout: float = 60) -> int:
        """Wait until the pool has ended; its exit code."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(60)
        for line in self.errors:
            print(f"pool {self.process.pid}: {line}", end="")  # shown by pytest where the test fails
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code

    def ready(self) -> Self:
        """Wait until the pool is there."""
        self.event("pool_started")
        return self

    def event(self, kind: str, job_id: str = "", timeout: float = 60) -> dict[str, Any]:
        """The first event of this kind (of this job), waited for."""

        def find() -> dict[str, Any] | None:
            wanted = (
                item for item in self.events if item["event"] == kind and (not job_id or item.get("id") == job_id)
            )
            return next(wanted, None)

        found: dict[str, Any] = wait_until(find, timeout)
        return found

    def worker_pids(self) -> list[int]:
        """The worker processes of this pool (Linux, Windows)."""
        if sys.platform == "win32":
            return [pid for pid in children(self.pid) if procs.program(pid).lower().startswith("python")]
        return [pid for pid in children(self.pid) if "resource_tracker" not in command_line(pid)]

    def kill_worker_of(self, job_id: str) -> None:
        """SIGKILL the worker that runs a job, and nothing else."""
        started = wait_until(lambda: last_start(self.spool, job_id))
        command_pid = wait_until(lambda: command_of(self, job_id))
        worker = parent(command_pid)
        assert started and worker in self.worker_pids()
        kill(worker)

    def kill_everything(self) -> None:
        """SIGKILL the supervisor, its workers and their commands: what a power cut does to processes."""
        pids = [self.process.pid]
        for pid in pids:
            pids += [child for child in children(pid) if child not in pids]
        for pid in pids:
            kill(pid)
        self.wait()


def kill(pid: int) -> None:
    """kill -9, or what it is on Windows; nothing where the process is gone."""
    if sys.platform == "win32":
        procs.kill(pid)
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """True while a process runs; a zombie does not (Linux, Windows)."""
    if sys.platform == "win32":
        return procs.is_running(pid)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The child processes of a process, of all its threads (Linux, Windows)."""
    if sys.platform == "win32":
        return procs.children(pid)
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    except OSError:
        pass
    return found


def command_line(pid: int) -> str:
    """The command line of a process, "" where it is gone (Linux)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def parent(pid: int) -> int:
    """The parent of a process (Linux, Windows)."""
    if sys.platform == "win32":
        return procs.parent(pid)
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def command_of(pool: Pool, job_id: str) -> int | None:
    """The process that runs a job's command in a pool (Linux; Windows: of the only job that runs)."""
    if WINDOWS:
        found = [pid for worker in pool.worker_pids() for pid in children(worker)]
        return found[0] if len(found) == 1 else None
    wanted = f"QUEUECTL_JOB_ID={job_id}\0".encode()
    for worker in pool.worker_pids():
        for pid in children(worker):
            try:
                if wanted in Path(f"/proc/{pid}/environ").read_bytes():
                    return pid
            except OSError:
                continue
    return None


def last_start(spool: SpoolDir, job_id: str) -> Any:
    """The last `started` event of a running job, if its run is alive."""
    try:
        history = spool.read("running", f"{job_id}.json").record.history
    except OSError:
        return None
    last = history[-1]
    return last if last.event == "started" and is_alive(spool, last.lease) else None


def tree(child: Path) -> list[str]:
    """A command that starts a child, which writes its pid to `child` and sleeps for a minute, and waits for it."""
    child_code = (
        "import os, sys, time\n"
        "with open(sys.argv[1] + '.new', 'w') as file: file.write(str(os.getpid()))\n"
        "os.replace(sys.argv[1] + '.new', sys.argv[1])\n"
        "time.sleep(60)\n"
    )
    code = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', *sys.argv[1:]])"
    return [*PYTHON, code, child_code, str(child)]


class Marks:
    """Lines that the jobs' shells append outside the spool: cheaper than a `Witness`, for many jobs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if WINDOWS:
            path.mkdir()

    def command(self, *words: str) -> str:
        """A command that appends a line `WORD ID` for each word."""
        if WINDOWS:  # cmd shares no file that it appends to: one file a job there
            file = f'>>"{self.path}\\%QUEUECTL_JOB_ID%"'
            return "&".join(f"{file} echo {word} %QUEUECTL_JOB_ID%" for word in words)
        lines = "".join(f"{word} %s\\n" for word in words)
        ids = ' "$QUEUECTL_JOB_ID"' * len(words)
        return f'printf "{lines}"{ids} >> "{self.path}"'

    def lines(self) -> list[str]:
        """What was appended."""
        files = sorted(self.path.iterdir()) if WINDOWS else [self.path]
        return [line.rstrip() for file in files for line in file.read_text().splitlines()]


class Witness:
    """What jobs leave behind outside the spool: a line when a command starts and one when it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def gate(self) -> str:
        """A value of `seconds`: the run lasts until `open_gate`, so what is done meanwhile is never too late."""
        return f"@{self.path}.gate"

    def open_gate(self) -> None:
        """Let all runs end that wait for it, and those that come."""
        Path(f"{self.path}.gate").touch()

    def command(self, *, seconds: float | str = 0, code: int = 0, fail_first: int = 0) -> list[str]:
        """A command that notes its start and its end here, and fails where asked to; "60,0": the first run lasts."""
        return [sys.executable, "-S", str(WITNESS), str(self.path), str(seconds), str(code), str(fail_first)]

    def lines(self) -> list[tuple[str, str, int, int]]:
        """(S or E or O, job id, pid, monotonic nanoseconds), in order of time."""
        try:
            rows = self.path.read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [(kind, job_id, int(pid), int(at)) for kind, job_id, pid, at in (row.split() for row in rows)]
        return sorted(found, key=lambda item: item[3])

    def starts(self, job_id: str) -> list[int]:
        """When the runs of a job started (nanoseconds)."""
        return [at for kind, found, _, at in self.lines() if kind == "S" and found == job_id]

    def ends(self, job_id: str) -> list[int]:
        """When the runs of a job ended (nanoseconds)."""
        return [at for kind, found, _, at in self.lines() if kind == "E" and found == job_id]

    def overlapping(self) -> list[str]:
        """Jobs of which two runs were under way at once.

        An O says so by itself. Else: a run that ended after a later one had started. (A killed run has no end.)
        """
        found = []
        last_start: dict[str, int] = {}
        for kind, job_id, pid, _ in self.lines():
            if kind == "S":
                last_start[job_id] = pid
            elif kind == "O" or last_start[job_id] != pid:
                found.append(job_id)
        return found


def ends_with(spool: SpoolDir, counts: dict[str, int], timeout: float = 60) -> None:
    """Wait until the state folders hold these numbers of jobs."""

    def reached() -> bool:
        return all(len(spool.job_names(state)) == count for state, count in counts.items())

    wait_until(reached, timeout)


Condition = Callable[[], Any]
