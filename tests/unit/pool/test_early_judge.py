"""early_judge: drops are looked at before their turn, and that takes little of the time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from queuectl.jobs.triage import Triage
from queuectl.jobs.verdict import Busy, Declined, Many, Open, Rejected, Skipped
from queuectl.model.run_queue import RunQueue
from queuectl.pool.early_judge import AGAIN_S, AT_ONCE, SAVED_AT_MOST_S, SHARE, SLICE_S, EarlyJudge
from tests.helpers import FakeClock


class _Told:
    """A pool's judging, with a claim of its own that takes time."""

    def __init__(self, clock: FakeClock, *, count: int, each_s: float) -> None:
        self.queue = RunQueue()
        self.queue.add([f"a{number:05}.json" for number in range(count)], clock.now())
        self.clock = clock
        self.each_s = each_s
        self.verdict: Callable[[str], Declined | None] = lambda name: Rejected(name, "")
        self.judged: list[str] = []
        self.passed: list[str] = []
        self.judge_early = EarlyJudge(
            self,  # type: ignore[arg-type]
            self.queue,
            lambda name, _verdict: self.passed.append(name),
            clock=clock,
        )

    def judge(self, name: str) -> Declined | None:
        self.judged.append(name)
        self.clock.advance(self.each_s)
        return self.verdict(name)

    stuck = Triage.stuck


def test_first_of_many_drops_waits_for_a_tenth_of_a_second(clock: FakeClock) -> None:
    """With 200,000 drops at the start the first job begins after 0.1 s, and judging goes on beside the runs."""
    told = _Told(clock, count=10_000, each_s=0.0005)
    began_s = clock.monotonic()
    told.judge_early.step(1)
    assert clock.monotonic() - began_s == pytest.approx(SAVED_AT_MOST_S, abs=0.001)
    assert told.judged[0] == "a00000.json"
    told.judge_early.step(1)
    assert len(told.judged) == pytest.approx(SAVED_AT_MOST_S / 0.0005, abs=2)


def test_a_few_drops_are_judged_on_a_busy_machine_too(clock: FakeClock) -> None:
    """Each takes longer than all saved time: 16 are judged while a worker is free, then none until time is saved."""
    told = _Told(clock, count=100, each_s=0.3)
    told.judge_early.step(1)
    assert len(told.judged) == AT_ONCE
    told.judge_early.step(1)
    assert len(told.judged) == AT_ONCE


def test_judging_takes_a_twentieth_of_a_busy_pool_s_time(clock: FakeClock) -> None:
    """Measured over a minute, whatever one file takes; and the pool wakes some ten times a second for it."""
    told = _Told(clock, count=100_000, each_s=0.0003)
    told.judge_early.step(0)
    began_s, before, wakes = clock.monotonic(), len(told.judged), 0
    while clock.monotonic() - began_s < 60:
        next_s = told.judge_early.next_s(0)
        assert next_s is not None
        clock.advance(max(0.0, next_s - clock.monotonic()) + 1e-6)
        told.judge_early.step(0)
        wakes += 1
    took_s = (len(told.judged) - before) * told.each_s
    assert took_s <= 60 * SHARE + SAVED_AT_MOST_S + 0.01
    assert took_s >= 60 * SHARE * 0.8
    assert wakes < 60 / (SLICE_S / SHARE) * 1.5 + 30


def test_single_drop_for_a_free_worker_is_not_looked_at_twice(clock: FakeClock) -> None:
    """Judged only while more names wait than workers are free: the claim is the first look."""
    told = _Told(clock, count=2, each_s=0.001)
    assert told.judge_early.next_s(2) is None
    told.judge_early.step(2)
    assert told.judged == []
    told.judge_early.step(1)
    assert told.judged == told.passed == ["a00000.json"], "the other one is for the free worker"
    told.judge_early.step(0)
    assert told.judged == ["a00000.json", "a00001.json"]


@pytest.mark.parametrize("verdict", [Busy(), Open()], ids=["busy", "open"])
def test_drop_that_somebody_has_just_now_is_judged_a_little_later(clock: FakeClock, verdict: Declined) -> None:
    """It keeps its place meanwhile."""
    told = _Told(clock, count=1, each_s=0.0)
    told.verdict = lambda _name: verdict
    told.judge_early.step(0)
    told.judge_early.step(0)
    assert (len(told.judged), len(told.queue)) == (1, 1)
    assert told.judge_early.next_s(0) == pytest.approx(clock.monotonic() + AGAIN_S)
    clock.advance(AGAIN_S)
    told.judge_early.step(0)
    assert len(told.judged) == 2
    assert told.queue.take() == "a00000.json"
    clock.advance(AGAIN_S)
    told.judge_early.step(0)
    assert len(told.judged) == 2, "a worker has it now"


def test_file_of_many_jobs_is_split_before_all_others(clock: FakeClock) -> None:
    """What is in it may be urgent."""
    told = _Told(clock, count=2, each_s=0.0)
    told.verdict = lambda name: Many() if name == "a00001.json" else None
    told.judge_early.step(0)
    told.queue.add(["z,prio=9.json"], clock.now())
    assert told.queue.take() == "a00001.json"
    assert told.passed == []


def test_file_that_is_misjudged_is_left_to_its_claim(clock: FakeClock) -> None:
    """No file stops the pool (P6)."""
    told = _Told(clock, count=2, each_s=0.0)

    def fails(_name: str) -> Declined | None:
        raise RecursionError

    told.verdict = fails
    told.judge_early.step(0)
    assert len(told.judged) == 2
    assert len(told.queue) == 2


def test_trouble_of_the_machine_is_not_the_file_s(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails pauses the pool; the drop is judged when that is over (P9)."""
    told = _Told(clock, count=1, each_s=0.0)

    def fails(_name: str) -> Declined | None:
        raise OSError(28, "No space left on device")

    told.verdict = fails
    monkeypatch.setattr(_Told, "stuck", lambda _self, _name, _error: None)
    with pytest.raises(OSError):
        told.judge_early.step(0)
    told.verdict = lambda name: Rejected(name, "")
    told.judge_early.step(0)
    assert told.passed == ["a00000.json"]


def test_time_for_drops_that_are_skipped_does_not_count(clock: FakeClock) -> None:
    """A thousand duplicates are skipped at once, in slices, because each saves a claim; what else there is counts."""
    told = _Told(clock, count=1000, each_s=0.001)
    told.verdict = Skipped
    began_s = clock.monotonic()
    while (next_s := told.judge_early.next_s(0)) is not None and next_s <= clock.monotonic():
        before_s = clock.monotonic()
        told.judge_early.step(0)
        assert clock.monotonic() - before_s <= SLICE_S + told.each_s
    assert len(told.judged) == 1000
    assert clock.monotonic() - began_s == pytest.approx(1.0)
