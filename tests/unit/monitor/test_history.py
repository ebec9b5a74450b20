"""history: what happened lately, from the records that changed last."""

from __future__ import annotations

import os

import pytest

from queuectl.model.lifecycle import Outcome
from queuectl.monitor import history
from queuectl.monitor.history import Recent
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT, Desk, write_drop

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 3, "", 0.01)


def ran(desk: Desk, job_id: str, outcome: Outcome = OK) -> None:
    """A job that is enqueued, starts a second later and ends two seconds after that; its file has that time."""
    name = desk.enqueue(id=job_id, max_retries=0)
    desk.clock.advance(1)
    claimed = desk.start(name)
    desk.clock.advance(2)
    settled = desk.settlements.settle(claimed, outcome)
    os.utime(desk.spool.path(settled.to, settled.name), (desk.clock.now(), desk.clock.now()))


def test_events_of_all_jobs_are_in_the_order_of_time(spool: SpoolDir, desk: Desk) -> None:
    """Over all states, newest last, whatever the files' names are; a drop that nobody looked at has no events."""
    first = desk.enqueue(id="z")
    desk.clock.advance(1)
    ran(desk, "a", FAILED)
    desk.clock.advance(1)
    desk.start(first)
    write_drop(spool, "drop.json", {"command": "true"})
    found = history.collect(spool, since_at=None, limit=100)
    assert [(each.id, each.state, each.event.event) for each in found.events] == [
        ("z", "running", "enqueued"),
        ("a", "dlq", "enqueued"),
        ("a", "dlq", "started"),
        ("a", "dlq", "failed"),
        ("z", "running", "started"),
    ]
    assert not found.left


def test_only_the_last_events_are_shown(spool: SpoolDir, desk: Desk) -> None:
    """`limit` bounds events and the records that are opened; it is said that there are more."""
    for job_id in ("c", "b", "a"):
        ran(desk, job_id)
    found = history.collect(spool, since_at=None, limit=2)
    assert [(each.id, each.event.event) for each in found.events] == [("a", "started"), ("a", "succeeded")]
    assert found.left


def test_since_is_by_the_record_not_by_the_file(spool: SpoolDir, desk: Desk) -> None:
    """An instant in the middle of a job's history cuts there; a file that was touched since is no newer for it."""
    ran(desk, "old")
    os.utime(spool.path("done", "old.json"), (NOON_AT + 9e6, NOON_AT + 9e6))
    desk.clock.advance(100)
    ran(desk, "new")
    found = history.collect(spool, since_at=desk.clock.now() - 2.5, limit=100)
    assert [(each.id, each.event.event) for each in found.events] == [("new", "started"), ("new", "succeeded")]


def test_the_look_ends_where_all_is_old(spool: SpoolDir, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a time given, no more old records are opened than tell that the rest is old too."""
    monkeypatch.setattr(history, "_OLD_IN_A_ROW", 3)
    for number in range(10):
        ran(desk, f"old{number}")
    desk.clock.advance(100)
    since_at = desk.clock.now()
    ran(desk, "new")
    opened: list[str] = []
    read = SpoolDir.read
    monkeypatch.setattr(SpoolDir, "read", lambda self, state, name: opened.append(name) or read(self, state, name))
    assert [item.id for _, item in Recent(spool, since_at=since_at, at_most=100)] == ["new"]
    assert opened == ["new.json", "old9.json", "old8.json", "old7.json"]


def test_of_very_many_files_the_last_names_are_asked(
    spool: SpoolDir, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a bound it goes by name first: generated ids sort by time."""
    monkeypatch.setattr(history, "_STAT_AT_MOST", 2)
    for job_id in ("c", "a", "b"):
        ran(desk, job_id)
    assert [item.id for _, item in Recent(spool, since_at=None, at_most=9)] == ["b", "c"]


def test_damaged_and_foreign_files_are_passed_over(spool: SpoolDir, desk: Desk) -> None:
    """P11: what is no record tells nothing and stops nothing."""
    ran(desk, "a")
    write_drop(spool, "torn.json", '{\n "format": 1,\n "id": "torn', state="done")
    write_drop(spool, "notes.txt", "x", state="done")
    assert [item.id for _, item in Recent(spool, since_at=None, at_most=9)] == ["a"]
