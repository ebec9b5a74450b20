"""snapshot: the facts of a dashboard, and status.json."""

from __future__ import annotations

import json

from queuectl.monitor import facts, snapshot
from queuectl.monitor.rows import Finish
from queuectl.monitor.status import collect
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT
from tests.unit.monitor.test_page import snapshot_of


def test_same_facts_at_another_time_are_no_news() -> None:
    """Only what is shown counts, not when it was looked at."""
    assert snapshot.is_same(snapshot_of(), snapshot_of(taken_at=NOON_AT + 5))
    assert not snapshot.is_same(snapshot_of(), snapshot_of(ready=2))


def test_pace_is_of_the_jobs_that_are_known() -> None:
    """Eleven jobs in ten seconds are one a second; quantiles are durations that were measured."""
    speed = snapshot.pace([Finish(NOON_AT + number, float(number), number != 3) for number in range(11)])
    assert (speed.jobs, speed.failed, speed.span_s, speed.per_s) == (11, 1, 10.0, 1.0)
    assert (speed.median_s, speed.p95_s, speed.longest_s) == (5.0, 10.0, 10.0)
    assert snapshot.pace([]) == (0, 0, 0.0, None, None, None, None)
    assert snapshot.pace([Finish(NOON_AT, None, True)]) == (1, 0, 0.0, None, None, None, None)


def test_document_has_the_keys_of_the_status_command(spool: SpoolDir) -> None:
    """What `queuectl status --json` calls something is what status.json calls it."""
    document = facts.document(snapshot_of(), advice=("queuectl dlq list", "dead jobs"))
    assert document["version"] == facts.VERSION
    told = facts.facts(collect(spool, now_at=NOON_AT), advice=("", ""))
    assert set(told) <= set(document) and set(told["waiting"]) == set(document["waiting"])
    assert document["written_at"] == "2027-01-15T08:00:00.000Z"
    assert document["failures"][0]["output"] == ("plain", "plain")
    json.dumps(document)
