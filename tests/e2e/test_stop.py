"""Stopping pools: from another process, gracefully, and by force."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from queuectl import pools
from queuectl.spool import SpoolDir
from tests.helpers import wait_until
from tests.pool import SLEEP, SUCCEED, Pool, Witness, ends_with, is_running, queuectl, tree

signals = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals; Windows stops pools by their file")


def test_stop_lets_a_running_job_end_and_records_it(spool: SpoolDir, tmp_path: Path) -> None:
    """`worker stop` from a second process waits for a 2-second job, which ends and is recorded."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "two", "--", *witness.command(seconds=2))
    with Pool(spool) as pool:
        pool.event("started", "two")
        said = queuectl(spool, "worker", "stop")
        assert pool.process.wait(5) == 0
    assert "stopped" in said and "ran 1 job" in said
    assert spool.job_names("done") == ["two.json"]
    assert len(witness.ends("two")) == 1


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
        assert pool.process.wait(10) == 0
    assert "cut off long" in said
    record = spool.read("pending", "long.json").record
    assert [event.event for event in record.history] == ["enqueued", "started", "released"]
    wait_until(lambda: not is_running(child_pid))
    with Pool(spool, count=1) as again:
        assert again.event("started", "long")["attempt"] == 2
        queuectl(spool, "worker", "stop", "--now")


def test_stop_with_nothing_running_says_so(spool: SpoolDir) -> None:
    """`worker stop` without workers is no error."""
    assert queuectl(spool, "worker", "stop") == "no workers are running on this spool"


def test_stop_ends_every_pool_of_the_spool(spool: SpoolDir) -> None:
    """A stop reaches all pools, also a detached one, and waits until they are gone."""
    said = queuectl(spool, "worker", "start", "--count", "1", "--detach")
    assert said.startswith("started ")
    with Pool(spool, count=1).ready() as pool:
        assert len(pools.live(spool)) == 2
        assert queuectl(spool, "worker", "stop").count("stopped ") == 2
        assert pool.process.wait(5) == 0
    assert pools.live(spool) == []


@signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_gracefully(spool: SpoolDir, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C once, and the SIGTERM of a service manager, let a running job end."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "job", "--", *witness.command(seconds=0.7))
    with Pool(spool) as pool:
        pool.event("started", "job")
        pool.process.send_signal(number)
        assert pool.process.wait(10) == 0
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
        assert pool.process.wait(10) == 0
    assert spool.job_names("pending") == ["job.json"]


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
