"""Recovery of what a kill -9 leaves: found by a freed lock, within a second, never twice at once."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.helpers import wait_until
from tests.pool import AT_ONCE_NS, PYTHON, SUCCEED, WINDOWS, Pool, Witness, ends_with, is_running, kill, queuectl

pytestmark = pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="finds processes through /proc")


def test_a_killed_worker_s_job_runs_again_after_its_command_has_ended(spool: SpoolDir, tmp_path: Path) -> None:
    """P3, P5: kill -9 of a worker leaves its command running; the job starts again at once when that command ends.

    On Windows the command ends with its worker.
    """
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "job", "--", *witness.command(seconds="60,0" if WINDOWS else witness.gate))
    with Pool(spool, count=2) as pool:
        wait_until(lambda: witness.starts("job"))
        pool.kill_worker_of("job")
        killed = time.monotonic_ns()
        witness.open_gate()
        pool.event("succeeded", "job")
    assert witness.overlapping() == []
    assert len(witness.ends("job")) == (1 if WINDOWS else 2)
    first_end, second_start = killed if WINDOWS else witness.ends("job")[0], witness.starts("job")[1]
    print(f"ran again {(second_start - first_end) / 1e9:.3f} s after its first command's end")
    assert 0 < second_start - first_end < AT_ONCE_NS
    events = [event.event for event in spool.read("done", "job.json").record.history]
    assert events == ["enqueued", "started", "abandoned", "started", "succeeded"]


def test_a_killed_supervisor_s_workers_end_after_their_job(spool: SpoolDir, tmp_path: Path) -> None:
    """P5: kill -9 of the supervisor: running jobs are finished and recorded, the rest waits for a new pool."""
    witness = Witness(tmp_path / "witness")
    for number in range(2):
        queuectl(spool, "enqueue", "--id", f"run{number}", "--", *witness.command(seconds=witness.gate))
    pool = Pool(spool, count=2)
    wait_until(lambda: len(witness.lines()) >= 2)
    workers = pool.worker_pids()
    kill(pool.pid)
    witness.open_gate()
    pool.wait()
    queuectl(spool, "enqueue", "--id", "next", "--", *witness.command())
    wait_until(lambda: not any(is_running(pid) for pid in workers))
    assert spool.job_names("done") == ["run0.json", "run1.json"]
    with Pool(spool, "--drain") as again:
        assert again.wait() == 0
    assert spool.job_names("done") == ["next.json", "run0.json", "run1.json"]
    assert witness.overlapping() == []
    assert all(len(witness.starts(job_id)) == 1 for job_id in ("run0", "run1", "next"))


def test_a_killed_worker_is_replaced(spool: SpoolDir) -> None:
    """A pool keeps its number of workers."""
    with Pool(spool, count=2).ready() as pool:
        first = wait_until(lambda: len(pool.worker_pids()) == 2 and pool.worker_pids())
        kill(first[0])
        pool.event("worker_lost")
        wait_until(lambda: len(pool.worker_pids()) == 2 and first[0] not in pool.worker_pids())
        queuectl(spool, "enqueue", "--id", "job", "--command", SUCCEED)
        pool.event("succeeded", "job")


@pytest.mark.skipif(WINDOWS, reason="a thread that reads a pipe keeps it open there")
def test_a_pool_whose_reader_is_gone_works_on_and_replaces_its_workers(spool: SpoolDir) -> None:
    """`worker start | tee log`, and tee is gone: lines that nobody reads are no reason to do nothing."""
    with Pool(spool, count=2).ready() as pool:
        first = wait_until(lambda: len(pool.worker_pids()) == 2 and pool.worker_pids())
        assert pool.process.stdout is not None
        null_fd = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null_fd, pool.process.stdout.fileno())  # the last reading end is closed
        os.close(null_fd)
        queuectl(spool, "enqueue", "--id", "one", "--command", SUCCEED)
        wait_until(lambda: spool.holds("one", ("done",)))
        kill(first[0])
        wait_until(lambda: len(pool.worker_pids()) == 2 and first[0] not in pool.worker_pids())
        queuectl(spool, "enqueue", "--id", "two", "--command", SUCCEED)
        wait_until(lambda: spool.holds("two", ("done",)))


def test_a_worker_that_dies_at_its_start_is_replaced(spool: SpoolDir) -> None:
    """A worker that is killed before it has said a word is noticed too."""
    with Pool(spool, count=1) as pool:
        first = wait_until(pool.worker_pids)
        kill(first[0])
        pool.event("worker_lost")
        queuectl(spool, "enqueue", "--id", "job", "--command", SUCCEED)
        pool.event("succeeded", "job")


def test_a_job_that_kills_its_worker_every_time_ends_dead(spool: SpoolDir, tmp_path: Path) -> None:
    """P5: a poison job uses up its budget as abandoned, and the jobs beside it run."""
    # On Windows os.kill ends a process at once, whatever the signal.
    poison = [*PYTHON, "import os; os.kill(os.getppid(), 9)"]
    queuectl(spool, "enqueue", "--id", "poison", "--max-retries", "2", "--", *poison)
    for number in range(5):
        queuectl(spool, "enqueue", "--id", f"good{number}", "--command", SUCCEED)
    with Pool(spool, "--drain", count=2) as pool:
        assert pool.wait() == 0
    assert len(spool.job_names("done")) == 5
    last = spool.read("dlq", "poison.json").record.history[-1]
    assert (last.event, last.attempt, last.to) == ("abandoned", 3, "dlq")
    assert "abandoned" in last.reason


@pytest.mark.skipif(WINDOWS, reason="on Windows what a command leaves running ends with it")
def test_a_process_left_behind_does_not_hold_up_the_next_job(spool: SpoolDir, tmp_path: Path) -> None:
    """P5: a daemon that a command leaves keeps its own lease; a later job of that worker is still recovered at once."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "leaves", "--command", "sleep 30 >/dev/null 2>&1 & echo $!")
    with Pool(spool, count=1) as pool:
        pool.event("succeeded", "leaves")
        daemon = int(queuectl(spool, "logs", "leaves"))
        try:
            queuectl(spool, "enqueue", "--id", "job", "--", *witness.command(seconds=witness.gate))
            wait_until(lambda: witness.starts("job"))
            pool.kill_worker_of("job")
            witness.open_gate()
            pool.event("succeeded", "job")
        finally:
            kill(daemon)
    assert witness.starts("job")[1] - witness.ends("job")[0] < AT_ONCE_NS
    ends_with(spool, {"done": 2}, 0)


@pytest.mark.skipif(WINDOWS, reason="on Windows what a command leaves running ends with it")
def test_a_retry_waits_for_what_the_failed_run_has_left(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: a command that fails and leaves a process in a session of its own is not started beside it; others are."""
    witness, go = tmp_path / "witness", tmp_path / "go"
    left = f"echo S >>{witness}; until test -e {go}; do sleep 0.02; done; echo E >>{witness}"
    queuectl(
        spool,
        *("enqueue", "--id", "job", "--max-retries", "1", "--backoff-base", "0"),
        *("--command", f"setsid sh -c '{left}' </dev/null >/dev/null 2>&1 & exit 1"),
    )
    with Pool(spool, "--drain", count=1) as pool:
        pool.event("alive")
        queuectl(spool, "enqueue", "--id", "other", "--command", SUCCEED)
        pool.event("succeeded", "other")
        wait_until(lambda: witness.exists() and witness.read_text())
        assert witness.read_text().split() == ["S"]
        go.touch()
        assert pool.wait() == 0
    wait_until(lambda: witness.read_text().split() == ["S", "E", "S", "E"])
    assert spool.job_names("dlq") == ["job.json"]
