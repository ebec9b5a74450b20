"""A run that is ended is ended whole, and a run that is not over forbids the next one (P3). Real processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from queuectl.model import history
from queuectl.spool.folder import SpoolDir
from tests.helpers import named, only, wait_until
from tests.pool import Pool, command_line, command_of, is_running, kill, queuectl

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")

# It leaves the command's session and process group, and writes its pid to a file.
DAEMON = "setsid sh -c 'echo $$ > {0}; exec sleep 60' & "


def pid_in(path: Path) -> int:
    """The pid that a daemon writes to a file, waited for."""
    return int(wait_until(lambda: path.exists() and path.read_text().strip()))


def asleep_in(path: Path) -> int:
    """The same, once the shell of the daemon has become `sleep`."""
    pid = pid_in(path)
    wait_until(lambda: command_line(pid).startswith("sleep"))
    return pid


def enqueue(spool: SpoolDir, job_id: str, command: str, *options: str) -> None:
    """Put in a job without a wait between its runs."""
    queuectl(spool, "enqueue", "--id", job_id, "--backoff-base", "0", *options, "--command", command)


def last_outcome(spool: SpoolDir, state: str, job_id: str) -> history.Event:
    """The last event of a record."""
    return spool.read(state, named(spool, state, f"{job_id}.json")).record.history[-1]


@pytest.mark.parametrize("how", ["timeout", "cancel", "stop"])
def test_a_run_that_is_ended_takes_its_daemons_with_it(spool: SpoolDir, tmp_path: Path, how: str) -> None:
    """P3: what left the session and the group of the command ends with the run, and the record names it."""
    daemon, job_id = tmp_path / "daemon", "job0"
    with Pool(spool, count=1) as pool:
        for number in range(6):
            job_id = f"job{number}"
            options = ["--timeout", f"{2**number}s"] if how == "timeout" else []
            enqueue(spool, job_id, DAEMON.format(daemon) + "sleep 60", "--max-retries", "0", *options)
            if how == "timeout":
                pool.event("timed_out", job_id, timeout=100)
            if how != "timeout" or lines(daemon):  # the daemon is to start within the timeout, on a busy machine too
                break
        pid = pid_in(daemon)
        if how == "cancel":
            queuectl(spool, "cancel", job_id)
        elif how == "stop":
            queuectl(spool, "worker", "stop", "--now")
        state = "pending" if how == "stop" else "dlq"
        wait_until(lambda: spool.job_names(state))
        assert not is_running(pid)
    outcome = last_outcome(spool, state, job_id)
    assert pid in outcome.killed and outcome.left == ()
    assert str(pid) in queuectl(spool, "show", job_id)


# A command whose work is done by a process in a group of its own, which ends when there is a file.
WORK = "timeout 60 setsid sh -c 'echo S >> {0}; while [ ! -e {0}.end ]; do sleep 0.05; done; echo E >> {0}' & "


def lines(path: Path) -> str:
    """What the runs of a job wrote, such as S at the start and E at the end."""
    return path.read_text().replace("\n", "") if path.exists() else ""


@pytest.mark.parametrize("how", ["stop", "cancel", "failure"])
def test_runs_never_overlap_whatever_outlived_the_last_one(spool: SpoolDir, tmp_path: Path, how: str) -> None:
    """P3: after each outcome the next run starts when nothing of the last one lives: S1 S2 never stand together."""
    path, end = tmp_path / "work", tmp_path / "work.end"
    # The first run fails while its work goes on; or it is ended, and the work with it.
    waits = f"[ -e {end} ]" if how == "failure" else "wait $!"
    enqueue(spool, "job", f"cd /; {WORK.format(path)} {waits}", "--max-retries", "1")
    with Pool(spool, count=1) as pool:
        wait_until(lambda: lines(path).startswith("S"))
        if how == "stop":
            queuectl(spool, "worker", "stop", "--now")
            end.touch()
            pool = Pool(spool, count=1)
        elif how == "cancel":
            queuectl(spool, "cancel", "job")
            wait_until(lambda: spool.job_names("dlq"))
            end.touch()
            queuectl(spool, "retry", "job")
        elif how == "failure":
            assert "still holds the lease" in pool.event("alive")["text"]
            end.touch()
        with pool:
            wait_until(lambda: spool.job_names("done"))
            expected = {"stop": "SSE", "cancel": "SSE", "failure": "SESE"}
            wait_until(lambda: lines(path) == expected[how])


def test_runs_never_overlap_after_a_timeout(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: the same for a run whose time is up: the work of the first one is ended before the second one starts."""
    with Pool(spool, count=1):
        for number in range(6):  # both are to start their work within the timeout, however busy the machine is
            path, options = tmp_path / f"work{number}", ["--timeout", f"{2**number}s", "--max-retries", "1"]
            enqueue(spool, f"job{number}", f"cd /; {WORK.format(path)} wait $!", *options)
            wait_until(lambda number=number: f"job{number}.json" in spool.job_names("dlq"), 160)
            if lines(path) == "SS":
                break
    assert lines(path) == "SS"


def test_a_daemon_that_a_job_left_on_purpose_survives_the_end_of_later_runs(spool: SpoolDir, tmp_path: Path) -> None:
    """Only what belongs to a run is ended with it; `show` and the pool's log name what was left."""
    daemon = tmp_path / "daemon"
    waits = f"while [ ! -s {daemon} ]; do sleep 0.01; done"
    enqueue(spool, "leaves", DAEMON.format(daemon) + waits)
    with Pool(spool, count=1) as pool:
        left = pool.event("succeeded", "leaves")["left"]
        pid = pid_in(daemon)
        try:
            assert left == [pid]
            enqueue(spool, "slow", "sleep 60", "--timeout", "0.2", "--max-retries", "0")
            assert "killed" not in pool.event("timed_out", "slow")
            assert is_running(pid)
        finally:
            kill(pid)
    assert f"process {pid} was left running" in queuectl(spool, "show", "leaves")


def test_why_names_the_process_that_a_job_waits_for(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: while something of the last run lives the next one waits, and `why` says what and for how to end it."""
    daemon = tmp_path / "daemon"
    waits = f"while [ ! -s {daemon} ]; do sleep 0.01; done"
    enqueue(spool, "leaves", DAEMON.format(daemon) + waits + "; exit 1", "--max-retries", "1")
    with Pool(spool, count=1) as pool:
        pid = asleep_in(daemon)
        pool.event("alive")
        told = queuectl(spool, "why", "leaves")
        assert f"process {pid}" in told and "sleep 60" in told and f"kill {pid}" in told
        assert len(spool.read("pending", only(spool, "pending")).record.history) == 3
        kill(pid)
        pool.event("failed", "leaves")
        wait_until(lambda: spool.job_names("dlq"))


def test_why_names_what_lives_on_of_a_run_whose_pool_is_gone(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: a run whose pool was killed is waited for, and `why` names its processes."""
    daemon = tmp_path / "daemon"
    enqueue(spool, "orphan", DAEMON.format(daemon) + "wait")
    with Pool(spool, count=1) as pool:
        pid = asleep_in(daemon)
        for each in (pool.pid, *pool.worker_pids(), wait_until(lambda: command_of(pool, "orphan"))):
            kill(each)
    try:
        told = queuectl(spool, "why", "orphan")
        assert f"process {pid} (sleep 60)" in told and "is gone" in told
    finally:
        kill(pid)
    wait_until(lambda: not is_running(pid))
    told = queuectl(spool, "why", "orphan")
    assert "is put back" in told or "put the job back" in told
