"""The four scenarios that queuectl grew from, with real processes from end to end."""

from __future__ import annotations

import sys

from queuectl.model import times
from queuectl.spool.folder import SpoolDir
from tests.helpers import wait_until
from tests.pool import Pool, Witness, ends_with, queuectl


def test_an_enqueued_job_runs_and_completes(spool: SpoolDir) -> None:
    """Scenario 1: what is enqueued runs, is listed as completed, and its output is kept."""
    queuectl(spool, "enqueue", '{"id": "job1", "command": "echo Hello World"}')
    with Pool(spool, "--drain") as pool:
        assert pool.wait() == 0
    assert "job1" in queuectl(spool, "list", "--state", "completed")
    assert queuectl(spool, "logs", "job1") == "Hello World"


def test_a_failing_job_is_retried_with_growing_delays_and_then_dead(spool: SpoolDir) -> None:
    """Scenario 2: three retries, each exactly backoff_base ** n seconds after the failure, then dlq/."""
    queuectl(spool, "enqueue", "--id", "bad", "--max-retries", "3", "--backoff-base", "1.2", "--command", "exit 7")
    with Pool(spool, "--drain") as pool:
        assert pool.wait() == 0
    history = spool.read("dlq", "bad.json").record.history
    failed = [event for event in history if event.event == "failed"]
    started = [times.from_text(event.at) for event in history if event.event == "started"]
    assert [event.exit_code for event in failed] == [7, 7, 7, 7]
    assert [event.delay_s for event in failed] == [1.2, 1.44, 1.728, None]
    for event, next_start_at in zip(failed[:3], started[1:], strict=True):
        assert abs(times.from_text(event.due_at) - times.from_text(event.at) - (event.delay_s or 0)) < 0.002
        assert next_start_at >= times.from_text(event.due_at)
    assert "bad" in queuectl(spool, "dlq", "list")


def test_a_job_retried_from_the_dead_letter_queue_succeeds(spool: SpoolDir) -> None:
    """Scenario 3: a dead job runs again with a fresh budget, its history kept, and succeeds."""
    marker = spool.tmp_path("marker")
    command = f'{sys.executable} -c "import os, sys; sys.exit(0 if os.path.exists(sys.argv[1]) else 9)" {marker}'
    queuectl(spool, "enqueue", "--id", "later", "--max-retries", "0", "--command", command)
    with Pool(spool) as pool:
        pool.event("failed", "later")
        ends_with(spool, {"dlq": 1})
        with open(marker, "w", encoding="utf-8"):
            pass
        queuectl(spool, "dlq", "retry", "later")
        pool.event("succeeded", "later")
    history = [event.event for event in spool.read("done", "later.json").record.history]
    assert history == ["enqueued", "started", "failed", "requeued", "started", "succeeded"]


def test_jobs_survive_a_restart_of_everything(spool: SpoolDir, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Scenario 4 (P1, P3): killed as by a power cut, a new pool runs what was waiting and what was cut off."""
    witness = Witness(tmp_path / "witness")
    for number in range(3):
        queuectl(spool, "enqueue", "--id", f"long{number}", "--", *witness.command(seconds=0.6))
    for number in range(10):
        queuectl(spool, "enqueue", "--id", f"short{number}", "--", *witness.command())
    pool = Pool(spool, count=2)
    wait_until(lambda: len(witness.lines()) >= 2)
    pool.kill_everything()
    with Pool(spool, "--drain") as again:
        assert again.wait() == 0
    assert len(spool.job_names("done")) == 13
    assert witness.overlapping() == []
