"""Long work shows its progress: a changing line on a terminal, else a line every 10 s."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable

import pytest

from queuectl.cli import exit_codes
from queuectl.maintenance import examination
from queuectl.model.lifecycle import PENDING, Outcome
from tests.cli.commands import Commands
from tests.helpers import Desk, set_monotonic

Hurry = Callable[[float], None]


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> Hurry:
    """Have each look at the clock find some seconds passed."""

    def start(seconds: float) -> None:
        passed = itertools.count()
        set_monotonic(monkeypatch, lambda: next(passed) * seconds)

    return start


def test_enqueue_says_how_many_are_in(queuectl: Commands, hurry: Hurry) -> None:
    """Of 2,500 jobs on standard input: how many are checked, then how many are in; the ids stay alone on stdout."""
    hurry(6)
    result = queuectl("enqueue", "-", stdin='{"command": "true"}\n' * 2500)
    assert len(result.out.split()) == 2500
    told = result.err.splitlines()
    assert "checked 2000 of 2500 jobs" in told and "put in 2000 of 2500 jobs" in told


def test_check_says_how_many_it_has_looked_at(
    queuectl: Commands, desk: Desk, hurry: Hurry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the line is taken away before the findings."""
    for _ in range(3):
        desk.run(desk.enqueue(), Outcome("succeeded", 0, "", 0.1))
    monkeypatch.setattr(examination, "_TELL_EVERY", 2)
    hurry(3)
    queuectl.on_terminal = True
    result = queuectl("check")
    assert result.err.startswith("\rchecked 0 files\rchecked 2 files\r  ")
    assert "  \rchecked 3 jobs: no problems" in result.err


def test_drain_says_what_is_left(queuectl: Commands, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits and what runs; what is held is not waited for."""
    name = desk.enqueue()
    passed = [0.0]

    def pause(seconds: float) -> None:
        passed[0] += seconds
        if passed[0] > 25 and desk.spool.waiting_names():
            desk.run(name, Outcome("succeeded", 0, "", 0.1))

    monkeypatch.setattr(time, "sleep", pause)
    set_monotonic(monkeypatch, lambda: passed[0])
    told = queuectl("drain").err.splitlines()
    assert told.pop(0).startswith("no workers are running")
    assert told == ["1 job waiting, 0 running"] * 2 + ["no job is waiting or running; 1 done, 0 in dlq/"]


def test_drain_does_not_wait_for_what_is_no_job(queuectl: Commands, desk: Desk) -> None:
    """P11: workers ignore a folder with the name of a job, so `drain` does not wait for it."""
    os.mkdir(desk.spool.path(PENDING, "folder.json"))
    assert "no job is waiting" in queuectl("drain", "--timeout", "5").err
    desk.enqueue(id="job")
    assert "the time is up" in queuectl("drain", "--timeout", "0.1", code=exit_codes.WAIT_TIMED_OUT).err
