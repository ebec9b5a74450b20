"""outcomes: what follows from a report of a worker."""

from __future__ import annotations

import pytest

from queuectl.jobs.verdict import Settled
from queuectl.model.lifecycle import DLQ, Outcome
from queuectl.worker.messages import Finished
from tests.unit.pool.conftest import StillPool


@pytest.mark.parametrize(("kind", "fired"), [("failed", ["dead"]), ("cancelled", [])])
def test_a_cancelled_run_is_no_reason_for_on_dead(
    pool: StillPool, monkeypatch: pytest.MonkeyPatch, kind: str, fired: list[str]
) -> None:
    """`on_dead` is for jobs that failed: a job that somebody cancelled is not dead."""
    started: list[str] = []
    monkeypatch.setattr(pool.parts.hooks, "fire", lambda what, *_: started.append(what))
    settled = Settled(DLQ, "job1.json", None, None, "")
    report = Finished("job1.json", "job1", 1, Outcome(kind, 1), settled, 0, "true")
    pool.parts.outcomes.take(pool.parts.core.workers[0], report)
    assert started == fired
