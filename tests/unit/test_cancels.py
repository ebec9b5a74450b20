"""Requests to cancel a run."""

from __future__ import annotations

from queuectl import cancels
from queuectl.cancels import Request
from queuectl.lifecycle import Outcome
from tests.helpers import Desk


def test_sweep_leaves_the_requests_for_what_runs(desk: Desk) -> None:
    """What a killed command left goes once the job does not run; a request under way stays."""
    desk.start(desk.enqueue(id="runs"))
    desk.run(desk.enqueue(id="ended"), Outcome("succeeded", 0))
    for job_id in ("runs", "ended", "unknown"):
        cancels.put(desk.spool, Request(job_id, 1, "somebody", ""))
    cancels.sweep(desk.spool)
    assert cancels.waiting(desk.spool) == [("runs", 1)]
