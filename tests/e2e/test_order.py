"""The order of runs: first in, first out within a priority, whoever puts jobs in and whenever a pool starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.spool import SpoolDir
from tests.pool import PYTHON, SUCCEED, Pool, queuectl

HOLD_UP = [*PYTHON, "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)"]


def listed(spool: SpoolDir) -> list[str]:
    """The order that `queuectl list` promises."""
    rows = json.loads(queuectl(spool, "list", "--state", "pending", "--json"))["jobs"]
    return [row["id"] for row in rows]


def started(pool: Pool) -> list[str]:
    """The jobs in the order in which their runs were reported."""
    return [event["id"] for event in pool.events if event["event"] == "succeeded"]


@pytest.mark.parametrize("running", [True, False])
def test_jobs_of_one_priority_run_in_the_order_they_were_enqueued(
    spool: SpoolDir, tmp_path: Path, running: bool
) -> None:
    """Whatever their ids look like, and whether a pool runs meanwhile or starts later; `list` says the same."""
    queue, go_on = Spool(spool.root), tmp_path / "go-on"
    queue.enqueue([*HOLD_UP, str(go_on)], id="busy", priority=1)

    def put_in() -> list[str]:
        ids = [queue.enqueue(SUCCEED, id="zebra"), queue.enqueue(SUCCEED, id="apple"), queue.enqueue(SUCCEED)]
        ids += queue.enqueue_many([{"command": SUCCEED, "id": job_id} for job_id in ("b2", "b1", "b3")])
        ids += [queue.enqueue(SUCCEED), queue.enqueue(SUCCEED, id="0")]
        assert [job_id for job_id in listed(spool) if job_id != "busy"] == ids
        return ids

    put_in_before = [] if running else put_in()
    with Pool(spool, "--drain", count=1) as pool:
        pool.event("started", "busy")
        ids = put_in_before or put_in()
        go_on.touch()
        pool.event("succeeded", ids[-1])
    assert started(pool) == ["busy", *ids]
