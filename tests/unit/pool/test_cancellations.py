"""cancellations: requests to cancel reach the worker that runs the job."""

from __future__ import annotations

import os

import pytest

from queuectl.model.notice import Notice
from queuectl.spool import cancel_requests
from queuectl.spool.folder import SpoolDir
from queuectl.worker.messages import Cancel
from tests.helpers import Desk
from tests.unit.pool.conftest import StillPool


def test_a_request_to_cancel_that_cannot_be_read_is_reported_once(
    pool: StillPool, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: it is no trouble of the machine, and other requests are seen to."""
    sent: list[tuple[object, ...]] = []
    for job_id in ("a", "b"):
        cancel_requests.put(desk.spool, cancel_requests.Request(job_id, 1, "test", ""))
        pool.parts.core.workers[0].running[f"{job_id}.json"] = job_id
    monkeypatch.setattr(pool.parts.core.workers[0], "send", sent.append)
    find = cancel_requests.find

    def refuse(spool: SpoolDir, job_id: str, attempt: int) -> cancel_requests.Request | None:
        if job_id == "a":
            raise PermissionError(13, "Permission denied", os.path.join(spool.cancel_dir, "a.1"))
        return find(spool, job_id, attempt)

    monkeypatch.setattr(cancel_requests, "find", refuse)
    for _ in range(3):
        pool.parts.cancellations.step(0.0)
    (told,) = [event for event in pool.told if isinstance(event, Notice)]
    assert told.kind == "stuck" and "a.1" in told.text
    assert [(type(order), order[0]) for order in sent] == [(Cancel, "b")]
