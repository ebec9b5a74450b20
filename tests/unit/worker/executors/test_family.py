"""family: the processes of one run, found and ended whatever they did to get away (P3). Linux, with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("a subreaper finds them on Linux only", allow_module_level=True)

from queuectl.system import processes
from queuectl.system.locks import is_held
from tests.helpers import wait_until
from tests.pool import is_running, kill
from tests.unit.worker.executors.test_posix import Bench

# A daemon as the books have it: it forks twice, has a session of its own, no handle of its parent's and no variable.
# It writes its pid to a file and runs the command that follows the file.
DAEMON = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.closerange(0, 256)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
os.execve("/bin/sleep", ["sleep", "60"], {})
"""


def end_children() -> None:
    """Kill and reap all children of this process, orphans that it has adopted too."""
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
    while children := processes.children(os.getpid()):
        for each in children:
            kill(each.pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(each.pid, 0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An executor in this process, which is a subreaper meanwhile; what is left is killed."""
    old = signal.getsignal(signal.SIGCHLD)
    end_children()  # of tests before it: what is there when an executor is made is no command's
    made = Bench(tmp_path)
    yield made
    end_children()
    made.executor._children.reap()
    os.close(signal.set_wakeup_fd(-1))
    signal.signal(signal.SIGCHLD, old)
    made.close()


def daemon(path: Path) -> list[str]:
    """A command that starts a daemon, which writes its pid to this file, and ends."""
    return [sys.executable, "-S", "-c", DAEMON, str(path)]


def pid_in(path: Path) -> int:
    """The pid in a file, waited for."""
    return int(wait_until(lambda: path.exists() and path.read_text().strip()))


def sh_daemon(path: Path) -> str:
    """A text for a shell that starts a process in a session of its own, which keeps the lease."""
    # It starts nothing more: a process of its own that is just ending would be found beside it.
    return f"setsid sh -c 'echo $$ > {path}; exec sleep 60' & "


def test_a_process_in_a_session_of_its_own_ends_with_the_run(bench: Bench, tmp_path: Path) -> None:
    """P3: it is asked like the command, and named."""
    bench.start(sh_daemon(tmp_path / "daemon") + "sleep 60")
    pid = pid_in(tmp_path / "daemon")
    ended = bench.terminate(10)
    assert (ended.exit_code, ended.left) == (143, ())
    assert pid in ended.killed and not is_running(pid)
    bench.lease.close()
    assert not is_held(bench.lease.path)


def test_a_daemon_without_handles_and_variables_ends_with_the_run(bench: Bench, tmp_path: Path) -> None:
    """P3: where no earlier job has left anything, all that is below the worker is of this run."""
    path = tmp_path / "daemon"
    bench.start(f"{sys.executable} -S -c '{DAEMON}' {path}; sleep 60")
    pid = pid_in(path)
    ended = bench.terminate(10)
    assert pid in ended.killed and not is_running(pid)


def test_what_does_not_listen_is_killed(bench: Bench, tmp_path: Path) -> None:
    """A process outside of the group that ignores SIGTERM gets the grace, then SIGKILL."""
    path = tmp_path / "daemon"
    bench.start(f"setsid sh -c 'trap \"\" TERM; echo $$ > {path}; while :; do sleep 0.05; done' & sleep 60")
    pid = pid_in(path)
    ended = bench.terminate(0.2)
    assert pid in ended.killed and ended.left == ()
    assert not is_running(pid)


def test_what_forks_on_and_on_is_ended(bench: Bench, tmp_path: Path) -> None:
    """P3: processes that replace themselves by others in new sessions are stopped before they are killed."""
    runner = tmp_path / "runner"
    runner.write_text(f"#!/bin/sh\ntrap '' TERM\necho >> {tmp_path}/count\nsetsid {runner} &\nsetsid sleep 60 &\n")
    runner.chmod(0o755)
    bench.start(f"setsid {runner} & sleep 60")
    wait_until(lambda: (tmp_path / "count").exists() and (tmp_path / "count").stat().st_size > 20)
    ended = bench.terminate(0.1)
    assert ended.left == () and ended.killed
    size = (tmp_path / "count").stat().st_size
    assert [each for each in processes.children(os.getpid()) if not each.has_ended] == []
    assert (tmp_path / "count").stat().st_size == size


@pytest.mark.parametrize("kind", ["keeps the lease", "keeps nothing"])
def test_a_daemon_of_an_earlier_job_is_spared(bench: Bench, tmp_path: Path, kind: str) -> None:
    """What a job left on purpose, by ending itself, lives on when a later run is ended, and so do its children."""
    old = tmp_path / "old"
    waits = f"while [ ! -s {old} ]; do sleep 0.01; done"
    bench.start(sh_daemon(old) + waits if kind == "keeps the lease" else daemon(old))
    ended = bench.end()
    pid = pid_in(old)
    if kind == "keeps the lease":
        assert ended.left == (pid,)
    bench.start(sh_daemon(tmp_path / "new") + "sleep 60", env={"QUEUECTL_JOB_ID": "second"})
    wait_until(lambda: bench.process._at_start.earlier)
    new_pid = pid_in(tmp_path / "new")
    ended = bench.terminate(10)
    assert new_pid in ended.killed and not is_running(new_pid)
    assert pid not in ended.killed and is_running(pid)


def test_a_new_daemon_is_told_from_an_old_one_by_its_variables(bench: Bench, tmp_path: Path) -> None:
    """Without the lease and the session of the run, the id of the job in its environment tells whose it is."""
    bench.start(daemon(tmp_path / "old"))
    bench.end()
    old_pid = pid_in(tmp_path / "old")
    keeps = DAEMON.replace('["sleep", "60"], {}', '["sleep", "60"], os.environ')
    marks = {"QUEUECTL_JOB_ID": "second", "QUEUECTL_ATTEMPT": "1", "QUEUECTL_SPOOL": str(tmp_path)}
    bench.start(f"{sys.executable} -S -c '{keeps}' {tmp_path / 'new'}; sleep 60", env=marks)
    new_pid = pid_in(tmp_path / "new")
    ended = bench.terminate(10)
    assert new_pid in ended.killed and is_running(old_pid)


def test_a_daemon_that_a_look_has_missed_is_spared(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of children may skip one that is just getting another parent; what lives on is no later run's for that."""
    bench.start(daemon(tmp_path / "old"))
    with monkeypatch.context() as patched:
        patched.setattr(processes, "children", lambda _pid: [])
        bench.end()
    old_pid = pid_in(tmp_path / "old")
    bench.start(sh_daemon(tmp_path / "new") + "sleep 60", env={"QUEUECTL_JOB_ID": "second"})
    new_pid = pid_in(tmp_path / "new")
    ended = bench.terminate(10)
    assert new_pid in ended.killed and not is_running(new_pid)
    assert is_running(old_pid)


def test_a_daemon_is_spared_although_another_ended_while_a_run_was_ended(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that has ended and is not reaped says nothing of the others: they are still those of earlier jobs."""
    bench.run(daemon(tmp_path / "lasting"))
    bench.run(daemon(tmp_path / "ending"))
    lasting, ending = pid_in(tmp_path / "lasting"), pid_in(tmp_path / "ending")
    bench.start(["sleep", "60"])
    pids = processes.OwnChildren.pids

    def after_an_end(listed: processes.OwnChildren) -> set[int]:
        kill(ending)
        wait_until(lambda: (found := processes.find(ending)) is None or found.has_ended)
        return pids(listed)

    monkeypatch.setattr(processes.OwnChildren, "pids", after_an_end)  # the last look of a run that is ended
    bench.terminate(5)
    bench.start(["sleep", "60"])
    bench.terminate(5)
    assert is_running(lasting)


def test_variables_are_found_in_the_midst_of_an_exec() -> None:
    """A process has no variables for an instant while its program is replaced; it must not be taken for a stranger."""
    for _ in range(40):
        pid = os.posix_spawnp("sh", ["sh", "-c", "sleep 0.002; exec sleep 60"], {"PATH": os.environ["PATH"], "A": "1"})
        try:
            while Path(f"/proc/{pid}/comm").read_text() == "sh\n":
                looks = [processes.environment(pid) for _ in range(20)]
                assert all(b"A=1" in look.split(b"\0") for look in looks), looks
        finally:
            kill(pid)
            os.waitpid(pid, 0)


def test_a_process_without_variables_is_not_waited_for() -> None:
    """A program that was started without any, or is no more, is told from one in the midst of an exec."""
    pid = os.posix_spawnp("sleep", ["sleep", "60"], {})
    try:
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        assert processes.environment(pid) == b""
    finally:
        kill(pid)
        os.waitpid(pid, 0)
    assert processes.environment(pid) == b""


def test_a_command_that_ends_by_itself_leaves_its_daemons(bench: Bench, tmp_path: Path) -> None:
    """It may leave something on purpose; the end names what it left."""
    path = tmp_path / "daemon"
    bench.start(sh_daemon(path) + f"while [ ! -s {path} ]; do sleep 0.01; done")
    ended = bench.end()
    pid = pid_in(path)
    assert (ended.exit_code, ended.killed, ended.left) == (0, (), (pid,))
    assert is_running(pid)


def zombies() -> list[int]:
    """Our children that have ended and were not reaped."""
    return [each.pid for each in processes.children(os.getpid()) if each.has_ended]


def test_orphans_are_reaped(bench: Bench) -> None:
    """What loses its parent becomes the worker's child; its end leaves no zombie, be the worker idle or busy."""
    bench.run("sleep 0.05 & sleep 0.06 &")
    wait_until(lambda: bench.look(0.01) or not processes.children(os.getpid()))
    bench.start("sleep 0.05 & (sleep 0.05 & ) ; exec sleep 60")
    wait_until(lambda: bench.look(0.01) or (not zombies() and len(processes.children(os.getpid())) == 1))
    bench.terminate(5)
    assert processes.children(os.getpid()) == []


def test_a_signal_reaches_nobody_who_has_the_pid_later() -> None:
    """A process is its pid and when it started; another with that pid is left alone."""
    pid = os.posix_spawnp("sleep", ["sleep", "60"], {})
    found = processes.find(pid)
    assert found is not None
    assert not processes.send(found._replace(started=found.started - 1), signal.SIGKILL)
    assert processes.find(pid) is not None
    assert processes.send(found, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert processes.find(pid) is None and not processes.send(found, signal.SIGKILL)


def test_a_program_can_be_named_anything() -> None:
    """The name in /proc/PID/stat is chosen by the program, parentheses and spaces too."""
    code = "import ctypes, time\nctypes.CDLL(None).prctl(15, b') Z 1 (', 0, 0, 0)\ntime.sleep(60)"
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", code], {})
    try:
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == ") Z 1 (\n")
        found = processes.find(pid)
        assert found is not None and (found.parent, found.has_ended) == (os.getpid(), False)
    finally:
        kill(pid)
        os.waitpid(pid, 0)


def test_every_child_is_listed_however_many_there_are() -> None:
    """P3: what is left beside commands is looked for in this list, which the system gives a page at a time."""
    code = (
        "import os, signal\n"
        "from queuectl.system.processes import OwnChildren\n"
        "listed, children = OwnChildren(), set()\n"
        "for wanted in (0, 1, 3, 1100):\n"
        "    while len(children) < wanted:\n"
        "        children.add(os.fork())\n"
        "        if 0 in children: signal.pause()\n"
        "    assert listed.pids() == children, wanted\n"
        "for pid in children: os.kill(pid, signal.SIGKILL)\n"
        "assert listed.pids() == children, 'not reaped'\n"
        "for pid in children: os.waitpid(pid, 0)\n"
        "assert listed.pids() == set()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="no ps(1)")
def test_processes_are_told_by_ps_as_well() -> None:
    """What macOS has in the place of /proc tells the same."""
    me = next(iter(processes._listed("-p", str(os.getpid()))))
    assert (me.pid, me.parent, me.group) == (os.getpid(), os.getppid(), os.getpgid(0))
    assert 1_000_000_000 < me.started <= processes.time.time()
    assert os.getpid() in {each.pid for each in processes._listed("-A")}


def test_a_run_is_found_by_its_lease_where_nothing_is_adopted(bench: Bench, tmp_path: Path) -> None:
    """P3 on systems without a subreaper: what holds the lease under the handle that was inherited ends with the run."""
    bench.executor._children.are_adopted = False
    bench.start(sh_daemon(tmp_path / "daemon") + "sleep 60")
    pid = pid_in(tmp_path / "daemon")
    ended = bench.terminate(10)
    assert pid in ended.killed and not is_running(pid)


def test_whoever_only_looks_at_a_lease_is_spared(bench: Bench, tmp_path: Path) -> None:
    """A process that opens the lease to see whether it is held has it as another handle."""
    fd = os.open(bench.lease.path, os.O_RDWR)
    try:
        assert processes.holds(os.getpid(), bench.lease.path, (os.fstat(fd).st_dev, os.fstat(fd).st_ino), fd=fd)
        code = f"import time\nkept = [open({bench.lease.path!r}) for _ in range(2)]\ntime.sleep(60)"
        pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", code], {})
    finally:
        os.close(fd)
    wait_until(lambda: processes.holders(bench.lease.path) == [pid])
    assert processes.holders(bench.lease.path, fd=77) == []
    kill(pid)
    os.waitpid(pid, 0)
