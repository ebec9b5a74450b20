"""layout: where everything is and what it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuectl.model import history, record
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import name_for, record_name
from tests.helpers import NOON_AT, Desk


def test_root_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker changes its folder for each command; its own paths must not."""
    monkeypatch.chdir(tmp_path)
    assert SpoolDir("x").root == str(tmp_path / "x")


def test_name_of_a_waiting_job_follows_its_record(desk: Desk) -> None:
    """The record is the truth, the name a hint."""
    item = record.decode(
        record.frame(
            {"id": "a", "command": "true", "max_retries": 1, "backoff_base": 2, "backoff_max": 9, "priority": 4},
            [history.event("enqueued", NOON_AT, due_at="2027-01-15T08:00:05.000Z", delay_s=5.0)],
        )
    )
    standing = item.standing()
    assert name_for(item, standing, NOON_AT) == "a,due=20270115T080005Z,prio=4.json"
    assert name_for(item, standing, NOON_AT + 5) == "a,prio=4.json"
    assert record_name("a") == "a.json"
