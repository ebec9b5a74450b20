"""Names on their way to workers and back."""

from __future__ import annotations

import pytest

from queuectl.jobs import batch
from queuectl.jobs.verdict import (
    Alive,
    Busy,
    Gone,
    Open,
    Paused,
    Returned,
    Split,
    SplitStuck,
    Splitting,
    Stuck,
    Unreadable,
    Unrecorded,
)
from queuectl.model import names
from queuectl.model.run_queue import RunQueue
from queuectl.pool.arrivals import Arrivals
from queuectl.pool.dispatcher import AHEAD_AT_MOST, LONG_S, SHARE_AFTER_S, TOLD_AT_MOST, Dispatch
from queuectl.pool.worker_process import Slot
from queuectl.spool.folder import SpoolDir
from tests.helpers import FakeClock


def test_a_name_at_two_workers_counts_until_both_have_answered(spool: SpoolDir, clock: FakeClock) -> None:
    """With `max_jobs` 1 no other name goes out while the first one may still run at its first worker."""
    slots = [Slot(0), Slot(1)]
    for slot in slots:
        slot.ready = True
    queue = RunQueue()
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatch = Dispatch(slots, queue, arrivals, clock=clock, max_jobs=1, notify=lambda _: None)
    dispatch.add(["a.json", "b.json"])
    dispatch.feed(careful=False)
    first, second = sorted(slots, key=lambda slot: not slot.outstanding)
    assert list(first.outstanding) == ["a.json"]
    clock.advance(SHARE_AFTER_S * 2)
    dispatch.feed(careful=False)
    assert list(second.outstanding) == ["a.json"]
    dispatch.passed(second, "a.json", Gone())
    dispatch.feed(careful=False)
    assert not second.outstanding
    dispatch.settled(first, "a.json", counts=False)
    dispatch.feed(careful=False)
    assert sum(len(slot.outstanding) for slot in slots) == 1


def test_what_became_of_a_name_at_two_workers_is_not_lost(spool: SpoolDir, clock: FakeClock) -> None:
    """A slow worker splits the file that an idle one was given too: that it was split is reported, and only once."""
    slots = [Slot(0), Slot(1)]
    for slot in slots:
        slot.ready = True
    told: list[str] = []
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatch = Dispatch(
        slots, RunQueue(), arrivals, clock=clock, max_jobs=None, notify=lambda notice: told.append(notice.text)
    )
    dispatch.add(["many.json"])
    dispatch.feed(careful=False)
    first, second = sorted(slots, key=lambda slot: not slot.outstanding)
    clock.advance(SHARE_AFTER_S * 2)
    dispatch.feed(careful=False)
    assert list(second.outstanding) == ["many.json"]
    dispatch.passed(first, "many.json", Split("many.json", 3))
    dispatch.passed(second, "many.json", Gone())
    assert len(told) == 1 and "was split into 3 jobs" in told[0]


def _one_worker(spool: SpoolDir, clock: FakeClock) -> tuple[Slot, Dispatch]:
    slot = Slot(0)
    slot.ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    return slot, Dispatch([slot], RunQueue(), arrivals, clock=clock, max_jobs=None, notify=lambda _: None)


def test_a_name_that_was_lost_is_found_by_the_next_listing(spool: SpoolDir, clock: FakeClock) -> None:
    """P5: where nothing is on its way, what is listed is new, whatever the memory says."""
    slot, queue = Slot(0), RunQueue()
    slot.ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatch = Dispatch([slot], queue, arrivals, clock=clock, max_jobs=None, notify=lambda _: None)
    later = names.waiting_name("later", clock.now() + 60, 0)
    assert queue.update([], ["lost.json", later], clock.now()) == 2
    assert queue.take() == "lost.json"  # and nobody is given it
    dispatch.trust_listing()
    assert queue.update([], ["lost.json", later], clock.now()) == 1
    dispatch.feed(careful=False)
    dispatch.trust_listing()
    assert queue.update([], ["lost.json", later], clock.now()) == 0, "its worker has it"
    dispatch.passed(slot, "lost.json", Busy())
    dispatch.trust_listing()
    assert queue.update([], ["lost.json", later], clock.now()) == 0, "it is tried again by itself"
    assert queue.waiting == 1


def test_short_jobs_are_suggested_many_at_a_time(spool: SpoolDir, clock: FakeClock) -> None:
    """Jobs of a millisecond: some 30 ms of work lie ready, so that the pipe is not waited for between them."""
    slot, dispatch = _one_worker(spool, clock)
    dispatch.add([f"job{number:03d}.json" for number in range(100)])
    given, messages = [], 0
    for number in range(80):
        before = len(slot.outstanding)
        dispatch.feed(careful=False)
        given.append(len(slot.outstanding))
        messages += given[-1] > before
        dispatch.settled(slot, f"job{number:03d}.json", counts=True, took_s=0.001)
    assert max(given) == 1 + AHEAD_AT_MOST
    assert min(given) > 0
    assert messages < 20


def test_nothing_lies_ready_behind_long_jobs(spool: SpoolDir, clock: FakeClock) -> None:
    """A job of high priority that comes now is the next one: none of the others was given away before."""
    slot, dispatch = _one_worker(spool, clock)
    dispatch.add([f"job{number}.json" for number in range(9)])
    dispatch.feed(careful=False)
    for name in list(slot.outstanding):
        dispatch.settled(slot, name, counts=True, took_s=60.0)
    dispatch.feed(careful=False)
    assert len(slot.outstanding) == 1
    dispatch.add(["urgent,prio=9.json"])
    (running,) = slot.outstanding
    dispatch.settled(slot, running, counts=True, took_s=60.0)
    dispatch.feed(careful=False)
    assert list(slot.outstanding) == ["urgent,prio=9.json"]


@pytest.mark.parametrize(("took_s", "names"), [(0.002, 32), (0.009, 9), (0.03, 3), (0.045, 1), (0.07, 1)])
def test_what_lies_ready_is_work_of_less_than_a_tenth_of_a_second(
    spool: SpoolDir, clock: FakeClock, took_s: float, names: int
) -> None:
    """Nothing is given to lie behind a job that is long enough to have it taken back again."""
    slot, dispatch = _one_worker(spool, clock)
    dispatch.add([f"job{number:03d}.json" for number in range(200)])
    most = 0
    for _ in range(100):
        dispatch.feed(careful=False)
        dispatch.settled(slot, next(iter(slot.outstanding)), counts=True, took_s=took_s)
    for _ in range(20):
        dispatch.feed(careful=False)
        most = max(most, len(slot.outstanding))
        dispatch.settled(slot, next(iter(slot.outstanding)), counts=True, took_s=took_s)
    assert most == names


def test_careful_suggests_one_at_a_time(spool: SpoolDir, clock: FakeClock) -> None:
    """While the machine is in trouble one job is tried at a time."""
    slot, dispatch = _one_worker(spool, clock)
    dispatch.add([f"job{number}.json" for number in range(9)])
    dispatch.feed(careful=True)
    assert len(slot.outstanding) == 1


def test_names_behind_a_long_job_are_queued_again(spool: SpoolDir, clock: FakeClock) -> None:
    """With more waiting than workers, too: what was given to a worker before its long job began is not held up."""
    slots = [Slot(0), Slot(1)]
    for slot in slots:
        slot.ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatch = Dispatch(slots, RunQueue(), arrivals, clock=clock, max_jobs=None, notify=lambda _: None)
    dispatch.add([f"job{number:03d}.json" for number in range(200)])
    for _ in range(40):
        dispatch.feed(careful=False)
        for slot in slots:
            dispatch.settled(slot, next(iter(slot.outstanding)), counts=True, took_s=0.001)
    dispatch.feed(careful=False)
    long = slots[0]
    name, *behind = long.outstanding
    long.running[name], long.running_since_s = "long", clock.monotonic()
    clock.advance(LONG_S * 2)
    other = slots[1]
    while other.outstanding:
        dispatch.settled(other, next(iter(other.outstanding)), counts=True, took_s=0.001)
    dispatch.feed(careful=False)
    assert list(long.outstanding) == [name]
    assert list(other.outstanding)[: len(behind)] == behind
    assert not long.willing


def test_names_of_a_worker_that_is_gone_keep_their_order(spool: SpoolDir, clock: FakeClock) -> None:
    """They are older than all that waits."""
    slot, dispatch = _one_worker(spool, clock)
    dispatch.add([f"job{number}.json" for number in range(9)])
    for name in ("job0.json", "job1.json", "job2.json"):
        slot.outstanding[name] = clock.monotonic()
    queue = dispatch._queue
    taken = [queue.take() for _ in range(3)]
    assert taken == ["job0.json", "job1.json", "job2.json"]
    dispatch.lose(slot)
    assert [queue.take() for _ in range(4)] == ["job0.json", "job1.json", "job2.json", "job3.json"]


def test_a_name_whose_writer_is_at_it_comes_again_soon(spool: SpoolDir, clock: FakeClock) -> None:
    """A writer that closes at once costs 2 ms, and one that does not is asked after every 50 ms."""
    slot, dispatch = _one_worker(spool, clock)
    dispatch.add(["a.json"])
    waits_ms = []
    for _ in range(8):
        dispatch.feed(careful=False)
        dispatch.passed(slot, "a.json", Open())
        again_s = dispatch.next_s()
        assert again_s is not None
        assert not dispatch.empty
        waits_ms.append(round((again_s - clock.monotonic()) * 1000))
        clock.advance(again_s - clock.monotonic())
    assert waits_ms == [2, 4, 8, 16, 32, 50, 50, 50]
    dispatch.feed(careful=False)
    assert list(slot.outstanding) == ["a.json"]


def test_a_job_whose_last_run_lives_on_is_asked_for_more_seldom_and_told_of_once(
    spool: SpoolDir, clock: FakeClock
) -> None:
    """P3: it waits in ever longer steps, 2 s at most, and the others run meanwhile, with one worker too."""
    slot = Slot(0)
    slot.ready = True
    told: list[str] = []
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatch = Dispatch(
        [slot],
        RunQueue(),
        arrivals,
        clock=clock,
        max_jobs=None,
        notify=lambda notice: told.append(f"{notice.kind}: {notice.text}"),
    )
    dispatch.add(["a.json"])
    waits_ms = []
    for number in range(8):
        dispatch.feed(careful=True)
        assert list(slot.outstanding) == ["a.json"]
        dispatch.passed(slot, "a.json", Alive("process 7 still runs"))
        dispatch.add([f"b{number}.json"])
        dispatch.feed(careful=True)
        assert list(slot.outstanding) == [f"b{number}.json"]
        dispatch.settled(slot, f"b{number}.json", counts=True, took_s=0.001)
        again_s = dispatch.next_s()
        assert again_s is not None
        waits_ms.append(round((again_s - clock.monotonic()) * 1000))
        clock.advance(again_s - clock.monotonic())
    assert waits_ms == [100, 200, 400, 800, 1600, 2000, 2000, 2000]
    assert told == ["alive: a.json waits: process 7 still runs"]


def _telling(spool: SpoolDir, clock: FakeClock) -> tuple[Slot, Dispatch, list[str]]:
    told: list[str] = []
    slot = Slot(0)
    slot.ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    made = Dispatch(
        [slot], RunQueue(), arrivals, clock=clock, max_jobs=1, notify=lambda notice: told.append(notice.text)
    )
    return slot, made, told


def test_what_was_reported_is_remembered_for_a_bounded_number_of_files(spool: SpoolDir, clock: FakeClock) -> None:
    """However many files are in trouble, so many are named, one line says that there are more, and no more is kept."""
    slot, dispatch, told = _telling(spool, clock)
    for _ in range(2):
        for number in range(TOLD_AT_MOST + 50):
            dispatch.passed(slot, f"{number}.json", Unreadable(None, "it cannot be read"))
    assert len(told) == TOLD_AT_MOST + 1
    assert len(dispatch._told) == TOLD_AT_MOST
    for number in range(TOLD_AT_MOST + 50):
        dispatch.passed(slot, f"{number}.json", Gone())
    clock.advance(61)
    dispatch.passed(slot, "another.json", Unreadable(None, "it cannot be read"))
    assert "another.json" in told[-1] and len(dispatch._told) == 1


def test_a_lock_in_trouble_is_reported_once_for_all_its_jobs(spool: SpoolDir, clock: FakeClock) -> None:
    """P9: a thousand jobs of one stripe are one line, with the cure."""
    slot, dispatch, told = _telling(spool, clock)
    for number in range(1000):
        dispatch.passed(slot, f"{number}.json", Stuck(None, "/spool/40.lock", "40.lock: denied", "chown it"))
    (line,) = told
    assert "40.lock: denied" in line and line.endswith("to cure it: chown it")


def test_a_run_that_cannot_be_settled_counts_and_leaves_its_worker_free(spool: SpoolDir, clock: FakeClock) -> None:
    """P4: with `max_jobs` 1 nothing else starts, and a pool does not drain, until its outcome is on record."""
    slot, dispatch, _ = _telling(spool, clock)
    dispatch.add(["a.json", "b.json"])
    dispatch.feed(careful=False)
    slot.running["a.json"] = "a"
    dispatch.passed(slot, "a.json", Unrecorded("/spool/a.json", "cannot record"))
    assert not slot.outstanding and not slot.running and not dispatch.empty
    dispatch.feed(careful=False)
    assert not slot.outstanding
    dispatch.settled(slot, "a.json", counts=True)
    dispatch.feed(careful=False)
    assert not slot.outstanding  # it was the one job


# ----------------------------------------------------------------------------------------------- files of many jobs

KEY = batch.key_of("x-1.jsonl")


def _many(spool: SpoolDir, clock: FakeClock, told: list[str], workers: int = 2) -> tuple[list[Slot], Dispatch]:
    slots = [Slot(number) for number in range(workers)]
    for slot in slots:
        slot.ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatch = Dispatch(
        slots, RunQueue(), arrivals, clock=clock, max_jobs=None, notify=lambda notice: told.append(notice.text)
    )
    return slots, dispatch


def _at_it(slots: list[Slot]) -> list[Slot]:
    return [slot for slot in slots if KEY in slot.outstanding]


def test_one_worker_at_a_time_makes_a_step(spool: SpoolDir, clock: FakeClock) -> None:
    """P6: a step is given to one worker, is not shared with an idle one, and the others get jobs meanwhile."""
    slots, dispatch = _many(spool, clock, [])
    dispatch.go_on_splitting(["x-1.jsonl"])
    dispatch.add(["a.json", "b.json"])
    dispatch.feed(careful=False)
    (first,) = _at_it(slots)
    clock.advance(SHARE_AFTER_S * 5)
    dispatch.go_on_splitting(["x-1.jsonl"])
    dispatch.feed(careful=False)
    assert _at_it(slots) == [first]
    assert list(slots[1 - first.number].outstanding) == ["a.json"]


def test_jobs_that_wait_get_as_much_time_as_a_step_took(spool: SpoolDir, clock: FakeClock) -> None:
    """P6: a large file does not keep the only worker from the jobs that wait; where none waits it goes on at once."""
    (slot,), dispatch = _many(spool, clock, [], workers=1)
    dispatch.go_on_splitting(["x-1.jsonl"])
    dispatch.add(["a.json"])
    dispatch.feed(careful=True)
    assert list(slot.outstanding) == [KEY]
    clock.advance(0.3)
    dispatch.passed(slot, KEY, Splitting(KEY, 500, ("x-1-0001.json",)))
    dispatch.feed(careful=True)
    assert list(slot.outstanding) == ["a.json"]
    assert dispatch.next_s() is not None
    dispatch.settled(slot, "a.json", counts=True)
    dispatch.feed(careful=True)
    dispatch.settled(slot, "x-1-0001.json", counts=True)
    clock.advance(0.31)
    dispatch.feed(careful=True)
    assert list(slot.outstanding) == [KEY]
    dispatch.passed(slot, KEY, Splitting(KEY, 500))
    dispatch.feed(careful=True)
    assert list(slot.outstanding) == [KEY]


@pytest.mark.parametrize("how", ["lost", "paused", "returned", "behind a long job"])
def test_step_that_was_not_made_is_given_again(spool: SpoolDir, clock: FakeClock, how: str) -> None:
    """P5: a worker that dies, hands the step back, or runs a long job first holds up no split."""
    slots, dispatch = _many(spool, clock, [])
    dispatch.go_on_splitting(["x-1.jsonl"])
    dispatch.feed(careful=False)
    (first,) = _at_it(slots)
    if how == "lost":
        dispatch.lose(first)
        slots[1 - first.number].ready = True
    elif how == "behind a long job":
        first.running["long.json"] = "long"
        first.running_since_s = clock.monotonic()
        clock.advance(LONG_S)
    else:
        dispatch.passed(first, KEY, Paused() if how == "paused" else Returned())
    assert not dispatch.empty
    dispatch.feed(careful=False)
    assert len(_at_it(slots)) == 1
    assert how not in ("lost", "behind a long job") or _at_it(slots) != [first]


def test_split_that_is_over_tells_what_came_of_it(spool: SpoolDir, clock: FakeClock) -> None:
    """P6: the pool's line tells how many jobs and how many refused lines there are."""
    told: list[str] = []
    (slot, _), dispatch = _many(spool, clock, told)
    dispatch.add(["x.json"])
    dispatch.feed(careful=False)
    text = "2 lines were refused: see rejected/"
    dispatch.passed(slot, "x.json", Split("x.json", 1, ("x-1-0001.json",), text))
    assert told == ["x.json was split into 1 job; 2 lines were refused: see rejected/"]
    dispatch.feed(careful=False)
    assert [name for each in (slot, _) for name in each.outstanding] == ["x-1-0001.json"]


def test_split_that_cannot_go_on_is_told_once_and_keeps_nobody_waiting(spool: SpoolDir, clock: FakeClock) -> None:
    """P6: a file in taken/ that cannot be read is tried again now and then, and a pool that drains does not wait."""
    told: list[str] = []
    slots, dispatch = _many(spool, clock, told)
    for _ in range(3):
        dispatch.go_on_splitting(["x-1.jsonl"])
        dispatch.feed(careful=False)
        (slot,) = _at_it(slots)
        dispatch.passed(slot, KEY, SplitStuck(KEY, "it cannot be read"))
        assert dispatch.empty
        dispatch.feed(careful=False)
        assert not _at_it(slots)
        clock.advance(10)
    assert told == [f"{KEY}: it cannot be read; it is tried again"]
    dispatch.feed(careful=False)
    dispatch.passed(_at_it(slots)[0], KEY, Gone())
    clock.advance(10)
    dispatch.feed(careful=False)
    assert not _at_it(slots)
