"""The order of runs: first in, first out within a priority, whoever puts jobs in and whenever a pool starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.helpers import listing, wait_until, write_drop
from tests.pool import PYTHON, SUCCEED, Pool, queuectl

ORDER = ["zzz", "mmm", "a1", "a2", "a3", "a0"]
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


@pytest.mark.parametrize("running", [True, False])
def test_drops_run_by_priority(spool: SpoolDir, tmp_path: Path, running: bool) -> None:
    """Before anything of them runs a pool knows what they say; `list` promises the same order, with a pool or none."""
    queue, go_on = Spool(spool.root), tmp_path / "go-on"
    queue.enqueue([*HOLD_UP, str(go_on)], id="busy", priority=99)

    def put_in() -> None:
        for number in (1, 2, 3):
            write_drop(spool, f"a{number}.json", {"command": SUCCEED})
        write_drop(spool, "zzz.json", {"command": SUCCEED, "priority": 9})
        write_drop(spool, "a0.json", {"command": SUCCEED, "priority": -3})
        queue.enqueue(SUCCEED, id="mmm", priority=3)

    if not running:
        put_in()
        assert listed(spool) == ["busy", *ORDER]
    with Pool(spool, "--drain", count=1) as pool:
        pool.event("started", "busy")
        if running:
            put_in()
            wait_until(lambda: all(",in=" in name for name in spool.waiting_names()), timeout=30)
        assert listed(spool) == ORDER
        go_on.touch()
        pool.event("succeeded", "a0")
    assert started(pool) == ["busy", *ORDER]


def test_idle_pool_judges_drops_that_come_together(spool: SpoolDir) -> None:
    """With a worker that is free, and no other job, the more urgent of two drops is first all the same."""
    with Pool(spool, count=1).ready() as pool:
        queuectl(spool, "pause")
        pool.event("paused")
        for number in range(5):
            write_drop(spool, f"a{number}.json", {"command": SUCCEED, "priority": number})
        queuectl(spool, "resume")
        pool.event("succeeded", "a0")
    assert started(pool) == ["a4", "a3", "a2", "a1", "a0"]


def test_busy_pool_refuses_and_delays_drops_at_once(spool: SpoolDir, tmp_path: Path) -> None:
    """Neither a refusal nor a due time waits until a worker has time for the file (P6)."""
    go_on = tmp_path / "go-on"
    Spool(spool.root).enqueue([*HOLD_UP, str(go_on)], id="busy")
    with Pool(spool, "--drain", count=1) as pool:
        pool.event("started", "busy")
        write_drop(spool, "wrong.json", {"comand": "x"})
        write_drop(spool, "soon.json", {"command": SUCCEED, "delay": 0.5})
        write_drop(spool, "many.json", [{"command": SUCCEED}])
        wait_until(lambda: "rejected" in listing(spool), timeout=30)
        wait_until(lambda: any(name.startswith("soon,due=") for name in spool.waiting_names()), timeout=30)
        assert pool.event("rejected")
        go_on.touch()
        pool.event("succeeded", "soon")
        assert pool.wait() == 0
    assert len(spool.job_names("done")) == 3


def test_pool_that_was_never_idle_judges_a_drop_as_it_comes(spool: SpoolDir, tmp_path: Path) -> None:
    """Behind long jobs events are asked for: no listing is waited for (P8 would allow a minute here)."""
    go_on = tmp_path / "go-on"
    queuectl(spool, "config", "set", "scan_s", "60")
    queue = Spool(spool.root)
    queue.enqueue([*HOLD_UP, str(go_on)], id="busy")
    queue.enqueue(SUCCEED, id="next")
    with Pool(spool, "--drain", count=1) as pool:
        pool.event("started", "busy")
        write_drop(spool, "wrong.json", {"comand": "x"})
        pool.event("rejected", timeout=30)
        go_on.touch()
        pool.event("succeeded", "next")
