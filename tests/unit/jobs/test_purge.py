"""purge: a dead or finished job is deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.errors import QueuectlError, UnknownJobError
from queuectl.model.lifecycle import DLQ, Outcome
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, listing, write_drop

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 3, "", 0.01)


def test_purged_job_is_gone_with_its_logs(api: Spool, hands: Desk) -> None:
    """Only what was asked for is deleted (P6)."""
    for job_id in ("a", "a.1", "b"):
        hands.run(hands.enqueue(id=job_id, max_retries=0), FAILED)
        Path(hands.spool.log_path(job_id, 1)).write_text(job_id)
    api.purge("a")
    assert listing(hands.spool) == {"dlq": ["a.1.json", "b.json"]}
    assert sorted(os.listdir(hands.spool.folder("logs"))) == ["a.1.1.log", "b.1.log"]
    with pytest.raises(UnknownJobError):
        api.get("a")


def test_purge_takes_the_logs_of_every_run(api: Spool, hands: Desk) -> None:
    """A job that ran more than once leaves nothing behind."""
    name = hands.enqueue(id="a", max_retries=1, backoff_base=0)
    for _ in range(2):
        name = hands.run(name, FAILED).name
    for attempt in (1, 2):
        Path(hands.spool.log_path("a", attempt)).write_text("x")
    api.purge("a")
    assert os.listdir(hands.spool.folder("logs")) == []


def test_purge_of_a_record_that_is_none_any_more(api: Spool, spool: SpoolDir) -> None:
    """A damaged file in dlq/ can be deleted by its name too."""
    write_drop(spool, "a.json", "damaged", DLQ)
    Path(spool.log_path("a", 1)).write_text("x")
    api.purge("a")
    assert listing(spool) == {}
    assert os.listdir(spool.folder("logs")) == []


def test_purge_of_a_job_that_is_on_its_way_is_refused(api: Spool, hands: Desk) -> None:
    """What waits or runs is never deleted (P1)."""
    name = hands.enqueue(id="a")
    with pytest.raises(QueuectlError, match="pending"):
        api.purge("a")
    hands.start(name)
    with pytest.raises(QueuectlError, match="running"):
        api.purge("a")
    assert listing(hands.spool) == {"running": ["a.json"]}
