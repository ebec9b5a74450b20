"""Stopping pools: from another process, gracefully, and by force."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.spool import pools
from queuectl.spool.folder import SpoolDir
from tests.helpers import listing, only, wait_until
from tests.pool import (
    PYTHON,
    SLEEP,
    SUCCEED,
    Pool,
    Witness,
    children,
    command_of,
    ends_with,
    is_running,
    parent,
    queuectl,
    tree,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")
signals = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals; Windows stops pools by their file")


def test_stop_lets_a_running_job_end_and_records_it(spool: SpoolDir, tmp_path: Path) -> None:
    """`worker stop` from a second process waits for a job of a second, which ends and is recorded."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "one", "--", *witness.command(seconds=1))
    with Pool(spool) as pool:
        pool.event("started", "one")
        said = queuectl(spool, "worker", "stop")
        assert pool.process.wait(60) == 0
    assert "stopped" in said and "after 1 attempt" in said
    assert spool.job_names("done") == ["one.json"]
    assert len(witness.ends("one")) == 1


@pytest.mark.slow
def test_a_job_longer_than_the_grace_is_put_back_uncounted(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: what a stop cuts off goes back to pending/, is named, and costs no attempt; its whole tree is ended."""
    queuectl(spool, "config", "set", "stop_grace_s", "0.3")
    child = tmp_path / "child"
    queuectl(spool, "enqueue", "--id", "long", "--", *tree(child))
    with Pool(spool) as pool:
        pool.event("started", "long")
        child_pid = int(wait_until(lambda: child.exists() and child.read_text()))
        said = queuectl(spool, "worker", "stop")
        assert pool.process.wait(60) == 0
    assert "interrupted long" in said
    record = spool.read("pending", only(spool, "pending")).record
    assert [event.event for event in record.history] == ["enqueued", "started", "released"]
    wait_until(lambda: not is_running(child_pid))
    with Pool(spool, count=1) as again:
        assert again.event("started", "long")["attempt"] == 2
        queuectl(spool, "worker", "stop", "--now")


def test_stop_with_nothing_running_says_so(spool: SpoolDir) -> None:
    """`worker stop` without workers is no error."""
    assert queuectl(spool, "worker", "stop") == "no workers are running"


def test_stop_ends_every_pool_of_the_spool(spool: SpoolDir) -> None:
    """A stop reaches all pools, also a detached one, and waits until they are gone."""
    said = queuectl(spool, "worker", "start", "--count", "1", "--detach")
    assert said.startswith("started ")
    with Pool(spool, count=1).ready() as pool:
        assert len(pools.live(spool)) == 2
        assert queuectl(spool, "worker", "stop").count("stopped ") == 2
        assert pool.process.wait(60) == 0
    assert pools.live(spool) == []


def _descendants(pid: int) -> list[int]:
    """A process's children, their children and so on (Linux)."""
    found = [pid]
    for each in found:
        found += children(each)
    return found[1:]


def _send(number: int, pids: list[int]) -> None:
    """Send a signal to processes at once: a shell whose child has ended does not get to its next command before that.

    One that has gone meanwhile was ended by whoever had the signal first.
    """
    for each in (signal.SIGSTOP, number, signal.SIGCONT):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, each)


HIT = ("supervisor", "worker", "command")
# In the default run each of them is the first that a SIGTERM reaches, and one way is tried with a hang-up.
_OFTEN = {(order, "SIGTERM") for order in zip(HIT, (*HIT[1:], *HIT[:1]), (*HIT[2:], *HIT[:2]), strict=True)}
_OFTEN.add((HIT, "SIGHUP"))


@linux
@pytest.mark.parametrize(
    ("order", "number"),
    [
        pytest.param(
            order,
            getattr(signal, name, 0),
            id="-".join((*order, name)),
            marks=() if (order, name) in _OFTEN else pytest.mark.slow,
        )
        for order in itertools.permutations(HIT)
        for name in ("SIGTERM", "SIGHUP")
    ],
)
def test_a_system_that_stops_costs_no_run(spool: SpoolDir, order: tuple[str, ...], number: signal.Signals) -> None:
    """P9: a signal to all processes at once, whichever is hit first: the job goes back uncounted, and is not dead."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("under nohup a pool goes on after a hang-up")
    queuectl(spool, "enqueue", "--id", "job", "--max-retries", "0", "--command", "sleep 60; true")
    with Pool(spool, count=1) as pool:
        command = wait_until(lambda: command_of(pool, "job"))
        wait_until(lambda: children(command))  # the shell's: it has its own signals back
        hit = {"supervisor": [pool.pid], "worker": [parent(command)], "command": [*_descendants(command), command]}
        for who in order:
            _send(number, hit[who])
        assert pool.wait() == 0
    last = spool.read("pending", only(spool, "pending")).record.history[-1]
    # The stop of the pool may reach the command first.
    assert last.event == "released" and last.exit_code in (128 + number, 128 + signal.SIGTERM)
    assert "asked to stop" in last.reason


@linux
@pytest.mark.parametrize("first", HIT)
@pytest.mark.parametrize("started", [pytest.param("nohup", marks=pytest.mark.slow), "detach"])
def test_a_system_that_stops_costs_no_run_of_a_pool_without_a_terminal(
    spool: SpoolDir, started: str, first: str, tmp_path: Path
) -> None:
    """P9: the same for pools under nohup and with --detach: SIGTERM to all of their processes, in any order."""
    queuectl(spool, "enqueue", "--id", "job", "--max-retries", "0", "--command", "sleep 60; true")
    words = [sys.executable, "-m", "queuectl", "--spool", spool.root, "worker", "start", "--count", "1"]
    if started == "nohup":
        subprocess.Popen(["nohup", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    else:
        subprocess.run([*words, "--detach"], check=True, capture_output=True)
    supervisor = wait_until(lambda: [info.pid for info in pools.live(spool)], 20)[0]
    found = wait_until(lambda: len(below := _descendants(supervisor)) == 3 and below, 20)  # worker, shell, sleep
    worker, *command = found
    hit = {"supervisor": [supervisor], "worker": [worker], "command": command[::-1]}
    for who in (first, *sorted(hit.keys() - {first})):
        _send(signal.SIGTERM, hit[who])
    wait_until(lambda: not pools.live(spool), 20)
    last = spool.read("pending", only(spool, "pending")).record.history[-1]
    assert (last.event, last.exit_code) == ("released", 143)


@linux
def test_a_signal_of_somebody_else_is_a_failure(spool: SpoolDir) -> None:
    """A command that is ended by a signal while nobody asks the pool to stop has failed, as ever."""
    queuectl(spool, "enqueue", "--id", "job", "--max-retries", "0", "--command", "kill -TERM $$")
    queuectl(spool, "enqueue", "--id", "next", "--command", SUCCEED)
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    last = spool.read("dlq", "job.json").record.history[-1]
    assert (last.event, last.exit_code) == ("failed", 143)
    assert spool.job_names("done") == ["next.json"]


@signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_gracefully(spool: SpoolDir, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C once, and the SIGTERM of a service manager, let a running job end."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "job", "--", *witness.command(seconds=0.7))
    with Pool(spool) as pool:
        pool.event("started", "job")
        pool.process.send_signal(number)
        assert pool.process.wait(60) == 0
    ends_with(spool, {"done": 1}, 0)


@signals
def test_a_second_ctrl_c_stops_at_once(spool: SpoolDir, tmp_path: Path) -> None:
    """Ctrl-C twice ends running jobs now and puts them back."""
    queuectl(spool, "enqueue", "--id", "job", "--", *SLEEP)
    with Pool(spool) as pool:
        pool.event("started", "job")
        pool.process.send_signal(signal.SIGINT)
        pool.event("stopping")
        pool.process.send_signal(signal.SIGINT)
        assert pool.process.wait(60) == 0
    assert listing(spool)["pending"] == ["job.json"]


def test_max_jobs_ends_a_pool_after_that_many_runs(spool: SpoolDir) -> None:
    """`--max-jobs 3` runs three of five jobs and leaves two waiting."""
    for _ in range(5):
        queuectl(spool, "enqueue", "--command", SUCCEED)
    with Pool(spool, "--max-jobs", "3") as pool:
        assert pool.wait() == 0
    assert (len(spool.job_names("done")), len(spool.job_names("pending"))) == (3, 2)


def test_nothing_starts_while_the_spool_is_paused(spool: SpoolDir) -> None:
    """While the file PAUSED exists nothing new starts; deleting it lets the work go on."""
    Path(spool.paused_path).write_text("moving the office\n", encoding="utf-8")
    with Pool(spool) as pool:
        assert "moving the office" in pool.event("paused")["text"]
        queuectl(spool, "enqueue", "--id", "job", "--command", SUCCEED)
        assert not [event for event in pool.events if event["event"] == "started"]
        Path(spool.paused_path).unlink()
        pool.event("succeeded", "job")


def _gate(tmp_path: Path) -> tuple[list[str], Path]:
    """A command that ends when a file is there, and that file."""
    gate = tmp_path / "gate"
    code = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.02)"
    return [*PYTHON, code, str(gate)], gate


def test_a_stop_that_waits_lets_every_pool_end_its_jobs(spool: SpoolDir, tmp_path: Path) -> None:
    """`worker stop --wait` outlasts the grace of the pools, starts nothing new, and returns when all have ended."""
    queuectl(spool, "config", "set", "stop_grace_s", "0")
    command, gate = _gate(tmp_path)
    for number in range(3):
        queuectl(spool, "enqueue", "--id", f"long{number}", "--", *command)
    assert queuectl(spool, "worker", "start", "--detach").startswith("started ")
    wait_until(lambda: len(spool.job_names("running")) == 1)
    with Pool(spool, count=1) as pool:
        pool.event("started")
        stop = start(spool, "worker", "stop", "--wait")
        pool.event("stopping")
        log = Path(next(info.log for info in pools.live(spool) if info.log))
        wait_until(lambda: "without a time limit" in log.read_text())
        assert stop.poll() is None and pool.process.poll() is None
        gate.touch()
        out, _ = stop.communicate(timeout=60)
        assert (stop.returncode, pool.process.wait(60)) == (0, 0)
    assert out.count("after 1 attempt") == 2 and "interrupted" not in out
    assert (len(spool.job_names("done")), listing(spool)["pending"]) == (2, ["long2.json"])


@pytest.mark.parametrize("harder", [["--now"], ["--grace", "0.2"], []])
def test_a_second_stop_can_be_harder(spool: SpoolDir, harder: list[str]) -> None:
    """A stop that waits for ever gives way to `--now`, to a grace and to an ordinary stop; both commands return."""
    queuectl(spool, "enqueue", "--id", "long", "--", *SLEEP)
    with Pool(spool, "--grace", "0.3", count=1) as pool:
        pool.event("started", "long")
        first = start(spool, "worker", "stop", "--wait")
        pool.event("stopping")
        queuectl(spool, "worker", "stop", *harder)
        first.communicate(timeout=60)
        assert (first.returncode, pool.process.wait(60)) == (0, 0)
    assert listing(spool)["pending"] == ["long.json"]


def test_a_second_stop_cannot_be_softer(spool: SpoolDir) -> None:
    """Whoever asks for an end within a second gets it, whatever is asked for after that."""
    queuectl(spool, "enqueue", "--id", "long", "--", *SLEEP)
    with Pool(spool, "--grace", "1h", count=1) as pool:
        pool.event("started", "long")
        first = start(spool, "worker", "stop", "--grace", "1")
        pool.event("stopping")
        queuectl(spool, "worker", "stop", "--wait")
        first.communicate(timeout=60)
        assert (first.returncode, pool.process.wait(60)) == (0, 0)
    assert listing(spool)["pending"] == ["long.json"]


def test_a_detached_pool_has_the_grace_that_it_was_started_with(spool: SpoolDir, tmp_path: Path) -> None:
    """`worker start --detach --grace` hands the grace on, and `worker stop` waits for as long."""
    queuectl(spool, "config", "set", "stop_grace_s", "0")
    command, gate = _gate(tmp_path)
    queuectl(spool, "enqueue", "--id", "long", "--", *command)
    queuectl(spool, "worker", "start", "--detach", "--grace", "1h")
    wait_until(lambda: spool.job_names("running"))
    assert pools.live(spool)[0].grace_s == 3600
    stop = start(spool, "worker", "stop")
    wait_until(lambda: requested(spool, pools.live(spool)[0].pool) == "stop")
    gate.touch()
    assert "after 1 attempt" in stop.communicate(timeout=60)[0]
    assert spool.job_names("done") == ["long.json"]


@signals
def test_ctrl_c_ends_the_waiting_and_not_the_stop(spool: SpoolDir, tmp_path: Path) -> None:
    """Who waits for a stop may go; the pool ends its job and then itself."""
    command, gate = _gate(tmp_path)
    queuectl(spool, "enqueue", "--id", "long", "--", *command)
    with Pool(spool, count=1) as pool:
        pool.event("started", "long")
        stop = start(spool, "worker", "stop", "--wait")
        pool.event("stopping")
        stop.send_signal(signal.SIGINT)
        _, err = stop.communicate(timeout=60)
        assert stop.returncode == 130 and "the pools still stop" in err
        assert pool.process.poll() is None
        gate.touch()
        assert pool.process.wait(60) == 0
    assert spool.job_names("done") == ["long.json"]


@signals
def test_a_signal_is_harder_than_a_stop_that_waits(spool: SpoolDir) -> None:
    """Ctrl-C at a pool that somebody waits for is an ordinary stop, and a second one ends its jobs."""
    queuectl(spool, "enqueue", "--id", "long", "--", *SLEEP)
    with Pool(spool, "--grace", "1h", count=1) as pool:
        pool.event("started", "long")
        first = start(spool, "worker", "stop", "--wait")
        pool.event("stopping")
        pool.process.send_signal(signal.SIGINT)
        wait_until(lambda: [item for item in pool.events if "up to 3600 s" in item.get("text", "")])
        pool.process.send_signal(signal.SIGINT)
        first.communicate(timeout=60)
        assert (first.returncode, pool.process.wait(60)) == (0, 0)
    assert listing(spool)["pending"] == ["long.json"]


def test_a_stop_needs_no_settings(spool: SpoolDir) -> None:
    """A mistake in queuectl.toml keeps nobody from stopping the pools."""
    with Pool(spool, count=1).ready() as pool:
        Path(spool.root, "queuectl.toml").write_text("stop_grace_s = = 5")
        assert "stopped " in queuectl(spool, "worker", "stop")
        assert pool.process.wait(60) == 0


def test_ways_to_stop_exclude_each_other(spool: SpoolDir) -> None:
    """Nobody could say which of two graces was meant."""
    done = start(spool, "worker", "stop", "--wait", "--now")
    assert "cannot be combined" in done.communicate(timeout=60)[1]
    assert done.returncode == 2


def start(spool: SpoolDir, *words: str) -> subprocess.Popen[str]:
    """Start one command of queuectl."""
    argv = [sys.executable, "-m", "queuectl", "--spool", spool.root, *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def requested(spool: SpoolDir, pool: str) -> str:
    """What a pool was asked for by its file, "" where it was not."""
    path = Path(spool.pool_dir, f"{pool}.stop")
    return path.read_text() if path.exists() else ""
