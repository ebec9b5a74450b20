"""Looking at jobs while real workers run them: why, wait, and logs that are followed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.monitor.waiting import Reason
from queuectl.monitor.why import explain
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk
from tests.helpers import wait_until, write_drop
from tests.pool import PYTHON, SLEEP, SUCCEED, Pool, queuectl

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes and signals")


def reasons(spool: SpoolDir, job_id: str) -> dict[str, Reason]:
    """Why a job is not running, by kind, the most pressing reason first."""
    found = explain(Spool(spool.root).session, job_id, now_at=time.time()).reasons
    return {reason.kind: reason for reason in found}


def start(spool: SpoolDir, *words: str) -> subprocess.Popen[str]:
    """A command of queuectl that runs on."""
    argv = [sys.executable, "-u", "-m", "queuectl", "--spool", spool.root, *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def exit_code(spool: SpoolDir, *words: str) -> int:
    """How a command of queuectl ends."""
    process = start(spool, *words)
    process.communicate(timeout=60)
    return process.returncode


# ----------------------------------------------------------------------------------------------------------------- why


def test_why_without_workers(spool: SpoolDir) -> None:
    """No workers, a pause, a file that is still arriving and one that holds no job, each with what changes it."""
    api = Spool(spool.root)
    api.enqueue(SUCCEED, id="first")
    no_workers = Reason("no_workers", "no workers are running", "queuectl worker start")
    assert reasons(spool, "first") == {"no_workers": no_workers}
    api.enqueue(SUCCEED, id="second")
    api.enqueue(SUCCEED, id="high", priority=5)
    behind = reasons(spool, "second")["behind"]
    assert behind.text == "it waits behind 2 jobs, 1 of higher priority; the next is high"
    Path(spool.paused_path).write_text("backup runs\n")
    found = reasons(spool, "first")
    assert list(found) == ["paused", "no_workers", "behind"]
    assert (found["paused"].text, found["paused"].change) == (
        "the spool is paused: backup runs",
        f"queuectl resume, or delete {spool.paused_path}",
    )
    disk.unlink(spool.paused_path)
    write_drop(spool, "half.json", '{"command": "ec')
    assert "incomplete" in reasons(spool, "half")["arriving"].text
    write_drop(spool, "half.json", '{"command": "echo"}')
    assert list(reasons(spool, "half")) == ["no_workers", "behind"]
    write_drop(spool, "none.json", '{"command": 5}')
    assert "command" in reasons(spool, "none")["no_job"].text
    write_drop(spool, "many.json", '[{"command": "a"}, {"command": "b"}]')
    assert "has 2 jobs" in reasons(spool, "many")["many"].text
    write_drop(spool, "x.json", {"id": "mine", "command": "true", "run_at": "2199-01-01T00:00:00Z"})
    assert list(reasons(spool, "mine")) == ["no_workers", "due"]


@posix
def test_why_with_a_spool_that_others_can_write_to(spool: SpoolDir) -> None:
    """P10: a spool that workers refuse is said to be one, and the command that closes it makes them take it."""
    Spool(spool.root).enqueue(SUCCEED, id="a")
    os.chmod(spool.folder("pending"), 0o777)
    found = reasons(spool, "a")
    assert list(found) == ["untrusted", "no_workers"]
    assert "every user can write to it" in found["untrusted"].text
    subprocess.run(found["untrusted"].change, shell=True, check=True)
    assert list(reasons(spool, "a")) == ["no_workers"]


def test_why_beside_workers(spool: SpoolDir) -> None:
    """What one worker does and leaves: done, dead, rejected, due, running, busy, behind, and left by a killed pool."""
    api = Spool(spool.root)
    api.enqueue(SUCCEED, id="ok")
    api.enqueue("exit 3", id="dead", max_retries=0)
    api.enqueue("exit 4", id="again", backoff_base=1000)
    api.enqueue(SUCCEED, id="later", run_at="2199-01-01T00:00:00Z")
    api.enqueue(SUCCEED, id="delayed", delay="1h")
    write_drop(spool, "bad.json", '{"command": 5}')
    with Pool(spool, count=1) as pool:
        pool.event("succeeded", "ok")
        pool.event("failed", "dead")
        pool.event("failed", "again")
        wait_until(lambda: os.path.exists(spool.path("rejected", "bad.json")))
        done = wait_until(lambda: reasons(spool, "ok").get("done"))
        dead = wait_until(lambda: reasons(spool, "dead").get("dead"))
        assert done.text.startswith("it succeeded ") and done.text.endswith(" ago")
        assert done.change == "queuectl retry ok"
        assert dead.text == "it is dead: exit 3, 1 attempt, retries used up"
        rejected = reasons(spool, "bad")["rejected"]
        assert rejected.text.startswith("it was rejected: ") and "command" in rejected.text
        again = wait_until(lambda: reasons(spool, "again").get("due"))
        assert "(retry 1 of 3, after: exit 4)" in again.text
        assert "(run_at 2199-01-01T00:00:00.000Z)" in reasons(spool, "later")["due"].text
        assert "(a delay)" in reasons(spool, "delayed")["due"].text

        api.enqueue(SLEEP, id="long")
        pool.event("started", "long")
        assert reasons(spool, "long")["running"].text.startswith("it is running: attempt 1, started ")
        api.enqueue(SUCCEED, id="a")
        api.enqueue(SUCCEED, id="b")
        assert list(reasons(spool, "a")) == ["busy"]
        found = reasons(spool, "b")
        assert list(found) == ["busy", "behind"]
        assert found["busy"].text.startswith("the only worker is busy with long (started ")
        assert found["behind"].text == "it waits behind 1 job; the next is a"
        assert queuectl(spool, "why", "lon").startswith("running\tit is running")
        pool.kill_everything()
    wait_until(lambda: "left" in reasons(spool, "long"))
    assert reasons(spool, "long")["left"].change == "queuectl worker start"


def test_what_why_says_changes_it(spool: SpoolDir) -> None:
    """The commands for a job that is held, waits for its time, is dead or done, and for a pause, make it run."""
    api = Spool(spool.root)
    api.enqueue(SUCCEED, id="later", delay="1h", priority=3)
    api.enqueue("exit 3", id="dead", max_retries=0)
    api.hold("dead")
    api.pause("just so", until_at=time.time() + 3600)
    assert list(reasons(spool, "dead")) == ["paused", "no_workers", "held"]
    assert "(until 2" in reasons(spool, "dead")["paused"].text

    def obey(reason: Reason) -> None:
        for command in reason.change.partition(", or ")[0].split(", then: "):
            queuectl(spool, *command.split()[1:])

    def ended(kind: str) -> int:
        return len([each for each in pool.events if each.get("event") == kind])

    with Pool(spool, count=1) as pool:
        obey(reasons(spool, "dead")["paused"])
        obey(reasons(spool, "dead")["held"])
        pool.event("failed", "dead")
        obey(reasons(spool, "later")["due"])
        pool.event("succeeded", "later")
        obey(wait_until(lambda: reasons(spool, "dead").get("dead")))
        wait_until(lambda: ended("failed") == 2)
        obey(wait_until(lambda: reasons(spool, "later").get("done")))
        wait_until(lambda: ended("succeeded") == 2)


@posix
def test_why_a_job_that_nothing_keeps(spool: SpoolDir) -> None:
    """With a free worker and nothing before it a job is the next; here the worker is halted before it takes it."""
    with Pool(spool, count=1).ready() as pool:
        wait_until(lambda: len(pool.worker_pids()) == 1)
        pids = [*pool.worker_pids(), pool.pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            Spool(spool.root).enqueue(SUCCEED, id="a")
            assert list(reasons(spool, "a")) == ["next"]
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        pool.event("succeeded", "a")


# ------------------------------------------------------------------------------------------------------- logs --follow


def test_logs_are_followed_from_run_to_run(spool: SpoolDir, tmp_path: Path) -> None:
    """What a job prints is there while it runs, over its retry, and the command ends with the job's exit code."""
    code = (
        "import os, sys, time\n"
        "run = os.environ['QUEUECTL_ATTEMPT']\n"
        "print('one', run, flush=True)\n"
        "while not os.path.exists(sys.argv[1] + run): time.sleep(0.005)\n"
        "print('two', run, flush=True)\n"
        "sys.exit(7)\n"
    )
    gate = tmp_path / "gate"
    Spool(spool.root).enqueue([*PYTHON, code, str(gate)], id="talks", max_retries=1, backoff_base=0.05)
    with Pool(spool, count=1), start(spool, "logs", "-f", "talk") as follower:
        assert follower.stdout is not None
        printed = []
        for run in ("1", "2"):
            printed.append(follower.stdout.readline().strip())  # while the command waits at its gate
            Path(f"{gate}{run}").touch()
            printed.append(follower.stdout.readline().strip())
        rest, told = follower.communicate(timeout=60)
    assert printed == ["one 1", "two 1", "one 2", "two 2"]
    assert (rest, follower.returncode) == ("", 7)
    assert "attempt 2 of talks:" in told
    assert "talks is dead: exit 7, 2 attempts, retries used up" in told
    assert exit_code(spool, "logs", "-f", "talks") == 7


@posix
def test_following_ends_by_ctrl_c(spool: SpoolDir) -> None:
    """Ctrl-C ends it with 130; the job is not touched."""
    code = "import time; print('here', flush=True); time.sleep(60)"
    Spool(spool.root).enqueue([*PYTHON, code], id="long")
    with Pool(spool, count=1) as pool:
        pool.event("started", "long")
        with start(spool, "logs", "-f", "long") as follower:
            assert follower.stdout is not None and follower.stdout.readline() == "here\n"
            follower.send_signal(signal.SIGINT)
            assert follower.wait(60) == 130
        assert spool.job_names("running") == ["long.json"]
        pool.kill_everything()


# ---------------------------------------------------------------------------------------------------------------- wait


def test_wait_ends_when_the_jobs_have(spool: SpoolDir, tmp_path: Path) -> None:
    """0 for success, a job's own code for its failure, 4 for several, 124 when the time is up; --any takes one."""
    api = Spool(spool.root)
    gate = tmp_path / "gate"
    code = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.005)\n"
    api.enqueue([*PYTHON, code, str(gate)], id="slow")
    api.enqueue(SUCCEED, id="ok")
    api.enqueue("exit 7", id="bad", max_retries=1, backoff_base=0.05)
    waiters = {
        "all": start(spool, "wait", "slow", "ok"),
        "any": start(spool, "wait", "--any", "slow", "ok"),
        "bad": start(spool, "wait", "bad"),
        "both": start(spool, "wait", "ok", "bad"),
        "late": start(spool, "wait", "slow", "--timeout", "0.3"),
    }
    with Pool(spool, count=2) as pool:
        ended = {name: waiters[name].communicate(timeout=60) for name in ("any", "bad", "both", "late")}
        codes = {name: waiters[name].returncode for name in ended}
        assert codes == {"any": 0, "bad": 7, "both": 4, "late": 124}
        assert ended["bad"][0] == "bad\tdlq\t7\texit 7, 2 attempts, retries used up\n"
        assert "slow" in ended["late"][1]
        assert waiters["all"].poll() is None
        gate.touch()
        pool.event("succeeded", "slow")
        waiters["all"].communicate(timeout=60)
        assert waiters["all"].returncode == 0
