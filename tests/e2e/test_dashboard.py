"""The dashboard of real pools: written, taken over after a kill, and left behind telling the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from queuectl.spool import counts
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FACTS, METRICS, PAGE
from tests.helpers import wait_until, write_drop
from tests.pool import SLEEP, SUCCEED, Pool, command_of, kill, queuectl


def facts(spool: SpoolDir) -> dict[str, Any]:
    """status.json, {} while there is none."""
    try:
        found: dict[str, Any] = json.loads(Path(spool.root, FACTS).read_text())
    except FileNotFoundError:
        return {}
    return found


def test_drained_spool_has_a_page_that_tells_how_it_ended(spool: SpoolDir) -> None:
    """Also a pool that lives for less than a second leaves a page, and no file of it is taken for a job (P11)."""
    Path(spool.settings_path).write_text("metrics = true\n")
    write_drop(spool, "good.json", {"command": SUCCEED})
    write_drop(spool, "bad.json", {"command": "exit 9", "max_retries": 0})
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    found = facts(spool)
    assert found["counts"] == {"pending": 0, "running": 0, "done": 1, "dlq": 1, "rejected": 0}
    assert (found["workers"], found["failures"][0]["id"]) == (0, "bad")
    page = Path(spool.root, PAGE).read_text()
    assert "No workers run." not in page  # it drained, so nothing is wrong
    assert found["headline"] == "Nothing left to run, 1 job is dead"
    assert (found["ended_pool"]["how"], found["last_hour"]) == ("drained", {"done": 1, "failed": 1, "skipped": 0})
    for buckets in found["load"].values():
        assert [sum(bucket[key] for bucket in buckets) for key in ("done", "failed")] == [1, 1]
    assert 'href="dlq/bad.json"' in page
    figures = Path(spool.root, METRICS).read_text()
    assert 'queuectl_jobs{state="dlq"} 1' in figures
    assert 'queuectl_ended_runs_total{outcome="failed"} 1' in figures
    assert json.loads(queuectl(spool, "check", "--json"))["findings"] == []


def test_one_of_two_pools_writes_and_the_other_takes_over(spool: SpoolDir) -> None:
    """A supervisor that is killed frees the dashboard at once (P5), also where a worker of it lives on with its job."""
    with Pool(spool, count=1) as first:
        wait_until(lambda: facts(spool).get("workers") == 1)
        kill(first.worker_pids()[0])  # the next one is made by a supervisor that has the dashboard's lock
        first.event("worker_lost")
        write_drop(spool, "long.json", {"command": SLEEP})
        first.event("started", "long")
        left = [*first.worker_pids(), wait_until(lambda: command_of(first, "long"))]
        with Pool(spool, count=1).ready() as second:
            before = facts(spool)["written_at"]
            kill(first.pid)
            name = second.event("pool_started")["pool"]
            wait_until(lambda: [pool["pool"] for pool in facts(spool)["pools"]] == [name])
            assert facts(spool)["written_at"] > before
            assert facts(spool)["running"][0]["id"] == "long"
            for pid in left:
                kill(pid)
            first.wait()
            second.ask_to_stop()
            second.wait()
    assert facts(spool)["workers"] == 0


@pytest.mark.slow
def test_counts_outlive_their_pools_and_tell_how_the_last_one_ended(spool: SpoolDir) -> None:
    """Two pools add to one file; kill -9 leaves what was written, and the next pool counts on."""
    with Pool(spool, count=1) as first, Pool(spool, count=1) as second:
        for number in range(4):
            write_drop(spool, f"early{number}.json", {"command": SUCCEED})
        wait_until(lambda: facts(spool).get("last_hour", {}).get("done") == 4)
        # Without counts the page knows the four from their records: so wait for the file as well.
        wait_until(lambda: (known := counts.read(spool)) is not None and known.totals.done == 4)
        for pool in (first, second):
            kill(pool.pid)
            pool.wait()
    assert json.loads(queuectl(spool, "status", "--json"))["ended_pool"] == {"how": "died", "at": None}
    write_drop(spool, "late.json", {"command": "exit 9", "max_retries": 0})
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    known = counts.read(spool)
    assert known is not None and known.totals == (4, 1, 0)
    assert known.ended is not None and known.ended.how == counts.DRAINED
    with Pool(spool, count=1).ready() as pool:
        pool.ask_to_stop()
        pool.wait()
    assert json.loads(queuectl(spool, "status", "--json"))["ended_pool"]["how"] == counts.STOPPED
    assert json.loads(queuectl(spool, "check", "--json"))["findings"] == []
