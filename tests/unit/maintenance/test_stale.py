"""stale: which jobs have waited too long, found by names and a few records."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from queuectl.maintenance.stale import AT_MOST, Stale, candidates
from queuectl.model import names
from queuectl.model.lifecycle import Outcome
from queuectl.model.settings import defaults
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT, Desk

HOUR_S = 3600.0


class Told(list[str]):
    """The names that were told."""


@pytest.fixture
def told() -> Told:
    """What was told in a test."""
    return Told()


def make(desk: Desk, told: Told) -> Stale:
    """An hour is too long; the first look is due at once."""
    settings = defaults()._replace(on_stale=("true",))
    made = Stale(desk.session._replace(settings=settings), on_stale=told.append)
    desk.clock.advance(30)
    return made


def look(stale: Stale, desk: Desk, *, paused: bool = False) -> None:
    """A look at what waits now, and the time until the next."""
    stale.check(desk.spool.waiting_names(), paused=paused)
    desk.clock.advance(30)


def test_names_of_fresh_and_later_jobs_are_passed_over(spool: SpoolDir) -> None:
    """A generated id and a due time tell how long a job can have waited; other names do not."""
    rng = random.Random(0)
    old, new = (names.generate_id(NOON_AT - seconds, rng) for seconds in (2 * HOUR_S, 60))
    due, over = (names.waiting_name("a", NOON_AT + seconds, 0) for seconds in (-60, -2 * HOUR_S))
    listed = [f"{old}.json", f"{new}.json", due, over, "mine.json", "0.json", "zzz.json", f"{old},hold.json"]
    found = candidates(listed, before_at=NOON_AT - HOUR_S, now_at=NOON_AT)
    assert found == [f"{old}.json", over, "mine.json", "0.json", "zzz.json"]


def test_each_wait_is_told_once(desk: Desk, told: Told) -> None:
    """From when it could run: a retry begins anew, and is told once more."""
    stale = make(desk, told)
    name = desk.enqueue(id="job", backoff_base=0)
    desk.clock.advance(HOUR_S - 60)
    look(stale, desk)
    assert told == []
    desk.clock.advance(60)
    look(stale, desk)
    look(stale, desk)
    assert told == ["job.json"]
    desk.run(name, Outcome("failed", 1))
    look(stale, desk)
    assert told == ["job.json"]
    desk.clock.advance(HOUR_S)
    look(stale, desk)
    assert len(told) == 2


def test_a_pause_does_not_count(desk: Desk, told: Told) -> None:
    """After it the time begins afresh."""
    stale = make(desk, told)
    desk.enqueue(id="job")
    desk.clock.advance(2 * HOUR_S)
    look(stale, desk, paused=True)
    look(stale, desk)
    assert told == []
    desk.clock.advance(HOUR_S)
    look(stale, desk)
    assert told == ["job.json"]


def test_of_very_many_a_few_are_told_the_oldest_first(desk: Desk, told: Told) -> None:
    """Twenty an hour, however many wait; with generated ids those that have waited longest."""
    stale = make(desk, told)
    made = []
    for _ in range(150):
        desk.clock.advance(0.001)
        made.append(desk.enqueue())
    desk.clock.advance(2 * HOUR_S)
    for _ in range(3):
        look(stale, desk)
    assert told == made[:AT_MOST]
    desk.clock.advance(HOUR_S)
    look(stale, desk)
    assert len(told) == len(set(told)) == 2 * AT_MOST


def test_one_pool_tells_and_without_the_hook_none_looks(desk: Desk, told: Told) -> None:
    """Another one goes on where the first has ended; without the setting there is not even the lock's file."""
    off = Stale(desk.session._replace(settings=defaults()), on_stale=told.append)
    one, other = make(desk, told), make(desk, told)
    desk.enqueue(id="job")
    desk.clock.advance(2 * HOUR_S)
    off.check(desk.spool.waiting_names(), paused=False)
    assert not Path(desk.spool.stale_lock_path).exists()
    look(one, desk)
    look(other, desk)
    assert told == ["job.json"]
    one.close_inherited()
    look(other, desk)
    assert len(told) == 2
    other.close_inherited()
