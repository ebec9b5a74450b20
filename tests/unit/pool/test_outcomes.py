"""outcomes: what follows from a report of a worker."""

from __future__ import annotations

import pytest

from queuectl.jobs.verdict import Settled
from queuectl.model import history, record
from queuectl.model.lifecycle import DLQ, PENDING, RUNNING, Outcome
from queuectl.system import disk
from queuectl.worker.messages import Finished, Vanished
from tests.helpers import names_in
from tests.unit.pool.conftest import StillPool


@pytest.mark.parametrize(("kind", "fired"), [("failed", ["dead"]), ("cancelled", [])])
def test_a_cancelled_run_is_no_reason_for_on_dead(
    pool: StillPool, monkeypatch: pytest.MonkeyPatch, kind: str, fired: list[str]
) -> None:
    """`on_dead` is for jobs that failed: a job that somebody cancelled is not dead."""
    started: list[str] = []
    monkeypatch.setattr(pool.parts.hooks, "fire", lambda what, *_: started.append(what))
    monkeypatch.setattr(pool.parts.hooks, "events", frozenset({"dead", "done"}))
    settled = Settled(DLQ, "job1.json", None, None, "")
    report = Finished("job1.json", "job1", 1, Outcome(kind, 1), settled, 0, 2, "true")
    pool.parts.outcomes.take(pool.parts.core.workers[0], report)
    assert started == fired


def test_a_short_run_whose_file_is_gone_frees_its_worker(pool: StillPool) -> None:
    """P6: a run that ended before its start was reported takes no worker for the rest of the pool's life."""
    worker = pool.parts.core.workers[0]
    worker.outstanding["job1.json"] = 0.0
    pool.parts.outcomes.take(worker, Vanished("job1.json", "job1", Outcome("succeeded", 0)))
    assert worker.outstanding == {}
    assert pool.parts.outcomes.finished == 1


def test_an_orphan_is_rescued_although_a_suspended_worker_has_its_name(pool: StillPool) -> None:
    """P5: the worker that ran it is dead; the one that was given the name, too, does not answer."""
    orphan = record.frame(
        {"id": "job1", "command": "true", "max_retries": 3, "backoff_base": 2.0, "backoff_max": 60.0},
        [history.event("started", 0.0, attempt=1, worker="dead", lease="dead.0")],
    )
    spool = pool.parts.core.session.spool
    disk.create(spool.path(RUNNING, "job1.json"), orphan, sync=False)
    worker, now_s = pool.parts.core.workers[0], pool.clock.monotonic()
    worker.outstanding["job1.json"] = now_s
    pool.parts.outcomes.rescue(now_s + 0.1)
    assert names_in(spool, RUNNING) == ["job1.json"]
    pool.parts.outcomes.rescue(now_s + 0.6)
    assert names_in(spool, PENDING) == ["job1.json"] and not names_in(spool, RUNNING)
