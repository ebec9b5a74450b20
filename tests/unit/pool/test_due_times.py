"""due_times: what a pool does about jobs whose names say another time than their records."""

from __future__ import annotations

import json
import math
import os

import pytest

from queuectl.api import Spool
from queuectl.jobs.verdict import Later
from queuectl.monitor.why import explain
from queuectl.spool.folder import SpoolDir
from queuectl.system import files
from tests.helpers import NOON_AT, Desk
from tests.unit.pool.conftest import StillPool, store_retries

YEAR_S = 365 * 86400.0
MANY = 1500


def ticks_until_all_run(pool: StillPool) -> int:
    """Make ticks until no name waits for its time; return how many."""
    for number in range(1, 100 * MANY):
        pool.parts.scanner.due_times.step()
        if pool.parts.core.queue.waiting == 0:
            return number
        pool.clock.advance(0.2)
    raise AssertionError(f"{pool.parts.core.queue.waiting} names still wait")


def test_all_retries_of_a_clock_that_was_ahead_are_found(spool: SpoolDir, pool: StillPool) -> None:
    """P5: whatever waits by a clock that was a year ahead runs after its own delay, however many they are."""
    store_retries(spool, MANY, at=NOON_AT + YEAR_S)
    pool.parts.scanner.scan()
    assert pool.parts.core.queue.waiting == MANY
    ticks_until_all_run(pool)
    assert len(pool.parts.core.queue) == MANY


def test_the_look_at_them_is_made_in_steps(spool: SpoolDir, pool: StillPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: a tick reads some of the records only, so the loop goes on with everything else."""
    store_retries(spool, 50, at=NOON_AT + YEAR_S)
    real = SpoolDir.read

    def slow(self: SpoolDir, state: str, name: str) -> object:
        """A disk that takes 10 ms for each."""
        pool.clock.advance(0.01)
        return real(self, state, name)

    monkeypatch.setattr(SpoolDir, "read", slow)
    pool.parts.scanner.scan()
    assert ticks_until_all_run(pool) >= 10


def test_a_clock_that_is_set_back_later_is_seen_too(spool: SpoolDir, pool: StillPool) -> None:
    """P5: every jump back, and every hour, brings another look at what waits."""
    store_retries(spool, 3, at=NOON_AT + YEAR_S)
    pool.clock.now_at += YEAR_S
    pool.parts.scanner.due_times._clock_offset_s += YEAR_S
    pool.parts.scanner.scan()
    pool.parts.scanner.due_times.step()
    assert pool.parts.core.queue.waiting == 3  # they are due in 8 s
    pool.clock.now_at -= YEAR_S
    pool.parts.scanner.due_times.step()
    assert pool.parts.core.queue.waiting == 0


def test_jobs_that_another_machine_stored_ahead_are_found_at_once(spool: SpoolDir, pool: StillPool) -> None:
    """P5: the clock of another host was ahead and ours never was: its retries run all the same."""
    pool.parts.scanner.scan()
    pool.parts.scanner.due_times.step()
    store_retries(spool, 3, at=NOON_AT + YEAR_S)
    pool.parts.scanner.scan()
    pool.parts.scanner.due_times.step()
    assert pool.parts.core.queue.waiting == 0


def test_why_tells_of_a_clock_that_was_ahead(spool: SpoolDir) -> None:
    """`why` says that the job is due by its own delay while its name still says next year."""
    store_retries(spool, 1, at=NOON_AT + YEAR_S)
    answer = explain(Spool(spool.root).session, "job0", now_at=NOON_AT)
    assert [reason.kind for reason in answer.reasons] == ["no_workers", "clock"]
    assert "the clock was set back" in answer.reasons[1].text
    assert json.dumps(answer.reasons)


@pytest.mark.parametrize(
    ("keys", "waits"),
    [({}, False), ({"delay": 7200}, False), ({"delay": 7_000_000}, False), ({"run_at": "9999-01-01T00:00:00Z"}, True)],
    ids=["due", "in hours", "in months", "as named"],
)
def test_a_name_that_says_a_far_time_is_compared_with_its_record_once(
    pool: StillPool, desk: Desk, keys: dict[str, object], waits: bool
) -> None:
    """The record is the truth and the name a hint: a job named `due=9999...` does not wait for its name."""
    made = desk.enqueue(id="job", **keys)
    os.rename(desk.spool.path("pending", made), desk.spool.path("pending", "job,due=99990101T000000Z.json"))
    pool.parts.scanner.scan()
    pool.parts.scanner.due_times._next_s = math.inf  # what is looked at when a pool starts does not count here
    pool.parts.core.queue.add(["job,due=99990101T000000Z.json"], pool.clock.now())
    pool.parts.scanner.due_times.step()
    assert (pool.parts.core.queue.waiting == 1) is waits
    assert pool.parts.core.queue.next_unverified() is None


def test_a_drop_waits_for_the_time_in_its_name(pool: StillPool, desk: Desk) -> None:
    """There is no record yet that could say another time: whoever named the file so wants it to wait."""
    name = desk.drop("job,due=99990101T000000Z.json", {"command": "true"})
    pool.parts.scanner.due_times._next_s = math.inf
    pool.parts.core.queue.add([name], pool.clock.now())
    pool.parts.scanner.due_times.step()
    assert pool.parts.core.queue.take() is None and pool.parts.core.queue.waiting == 1


def test_a_retry_that_is_far_away_costs_no_look(pool: StillPool, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a claim has just found to be due later is not read again."""
    name = desk.enqueue(id="job", delay=7200)
    pool.parts.core.dispatcher.passed(None, "job.json", Later(name))
    monkeypatch.setattr(files, "read", lambda *_: pytest.fail("it was read"))
    pool.parts.scanner.due_times._next_s = math.inf
    pool.parts.scanner.due_times.step()
    assert pool.parts.core.queue.waiting == 1
