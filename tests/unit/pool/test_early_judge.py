"""early_judge: drops are looked at before their turn, and that takes little of the time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import pytest

from queuectl.jobs.triage import Triage
from queuectl.jobs.verdict import Arriving, Busy, Declined, Foreign, Gone, Later, Many, Open, Rejected
from queuectl.model import history, names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.model.run_queue import RunQueue
from queuectl.pool.early_judge import AGAIN_S, SAVED_AT_MOST_S, SHARE, SLICE_S, EarlyJudge
from tests.helpers import Desk, FakeClock, listing, names_in, only, write_drop

JOB = {"command": "true"}


# --------------------------------------------------------------------------------------------------- one judgement


def _judged(desk: Desk, name: str) -> str:
    """The name that a file gets."""
    verdict = desk.triage.judge(name)
    assert isinstance(verdict, Later), verdict
    assert names_in(desk.spool, PENDING) == [verdict.name]
    return verdict.name


def test_drop_gets_its_full_name_and_nothing_else(desk: Desk) -> None:
    """One rename: priority, owner and arrival by the file's time show in the name; the file is the same (P2, P7)."""
    desk.clock.now_at = time.time() + 60
    name = desk.drop("my job.json", {**JOB, "priority": 9, "owner": "anna"})
    before = os.stat(desk.spool.path(PENDING, name))
    made = _judged(desk, name)
    after = os.stat(desk.spool.path(PENDING, made))
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    parts = names.parse(made)
    assert parts is not None
    assert (parts.stem, parts.priority, parts.owner, parts.due_at) == ("my job", 9, "anna", None)
    assert parts.arrived == names.stamp(before.st_mtime if os.name == "nt" else before.st_ctime)
    settled = desk.run(made, Outcome("succeeded", 0))
    assert settled.name == "my-job.json"
    assert desk.document(DONE, "my-job.json")["history"][0]["file"] == "my job.json"


def test_time_of_a_file_is_no_later_than_the_look(desk: Desk) -> None:
    """The clock of a file server may be ahead: nothing arrives in the future."""
    desk.clock.now_at = 1_000_000_000.0
    parts = names.parse(_judged(desk, desk.drop("a.json", JOB)))
    assert parts is not None and parts.arrived == "20010909-014640-000000"


def test_drop_for_later_waits_under_its_due_time(desk: Desk) -> None:
    """`run_at` shows in the name at once, and the file runs at that time."""
    name = _judged(desk, desk.drop("a.json", {**JOB, "run_at": "2027-01-15T08:01:00Z"}))
    assert name == "a,due=20270115T080100Z.json"
    assert isinstance(desk.decline(name), Later)
    desk.clock.now_at += 60
    desk.start(desk.spool.waiting_names()[0])
    assert "file" not in desk.document(RUNNING, "a.json")["history"][0]


def test_delay_begins_when_a_drop_is_judged(desk: Desk) -> None:
    """Such a drop is taken in: its wait does not begin again when it is claimed."""
    name = _judged(desk, desk.drop("a.json", {**JOB, "delay": "5m", "priority": 2}))
    assert name == "a,due=20270115T080500Z,prio=2.json"
    assert desk.events(PENDING, name) == ["enqueued"]
    desk.clock.now_at += 300
    desk.start(name)
    assert desk.events(RUNNING, "a.json") == ["enqueued", "started"]


def test_a_judgement_starts_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a job whose time comes while it is taken in goes back to wait for a worker (P4)."""
    name = desk.drop("a.json", {**JOB, "delay": 5})
    monkeypatch.setattr(history, "is_due", lambda *_args: True)
    assert _judged(desk, name) == "a.json"
    assert desk.events(PENDING, "a.json") == ["enqueued"]


def test_delayed_drop_whose_id_runs_is_left_for_later(desk: Desk) -> None:
    """Nothing is replaced in running/ (P7)."""
    desk.start(desk.enqueue(id="a"))
    verdict = desk.triage.judge(desk.drop("a.json", {**JOB, "delay": 5}))
    assert isinstance(verdict, Busy)
    assert listing(desk.spool) == {"pending": ["a.json"], "running": ["a.json"]}


@pytest.mark.parametrize("content", [{"comand": "x"}, [], '{"command": "a", "command": "b"}'])
def test_drop_that_is_no_job_is_refused_before_its_turn(desk: Desk, content: object) -> None:
    """It goes to rejected/, beside its reason (P6)."""
    verdict = desk.triage.judge(desk.drop("a.json", content))
    assert isinstance(verdict, Rejected)
    assert listing(desk.spool) == {"rejected": ["a.json", "a.json.reason.txt"]}


def test_file_that_is_not_whole_keeps_its_name(desk: Desk) -> None:
    """What arrives, what is a folder, and many jobs in one file are not renamed (P6, P11)."""
    write_drop(desk.spool, "half.json", '{"comm')
    write_drop(desk.spool, "many.json", [JOB, JOB])
    os.mkdir(desk.spool.path(PENDING, "folder.json"))
    before = listing(desk.spool)
    verdicts = [desk.triage.judge(name) for name in ("half.json", "many.json", "folder.json", "gone.json")]
    assert [type(verdict) for verdict in verdicts] == [Arriving, Many, Foreign, Gone]
    assert listing(desk.spool) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who writes")
def test_file_that_is_open_for_writing_keeps_its_name(desk: Desk) -> None:
    """Its writer finds it under the name it gave it."""
    name = desk.drop("a.json", JOB)
    desk.clock.now_at = time.time()
    with open(desk.spool.path(PENDING, name), "ab"):
        verdict = desk.triage.judge(name)
    assert isinstance(verdict, Open)
    assert names_in(desk.spool, PENDING) == [name]


@pytest.mark.parametrize("name", ["a,hold.json", "a.jsonl", f"{'x' * 240}.json"])
def test_names_that_stay(desk: Desk, name: str) -> None:
    """A held file, a file of lines, and one whose name has no room for more are left to their turn."""
    desk.drop(name, JOB)
    assert desk.triage.judge(name) is None
    assert names_in(desk.spool, PENDING) == [name]


def test_no_file_is_replaced_by_a_judgement(desk: Desk) -> None:
    """Where the full name is taken the drop keeps the one it has (P7)."""
    desk.clock.now_at = 1_000_000_000.0
    write_drop(desk.spool, "a,in=20010909T014640.000000Z.json", {"command": "mine"})
    assert desk.triage.judge(desk.drop("a.json", JOB)) is None
    assert desk.document(PENDING, "a,in=20010909T014640.000000Z.json") == {"command": "mine"}
    assert desk.document(PENDING, "a.json") == JOB


def test_job_that_was_put_back_by_hand_has_the_place_it_had(desk: Desk) -> None:
    """A record without the flag gets it by its history: when it was enqueued, or when its retry was due."""
    desk.enqueue(id="a", priority=4, max_retries=1)
    desk.clock.now_at += 1000
    assert _judged(desk, only(desk.spool, PENDING)) == "a,in=20270115T080000.000000Z,prio=4.json"
    settled = desk.run(only(desk.spool, PENDING), Outcome("failed", 1))
    assert settled.due_at is not None
    os.rename(desk.spool.path(PENDING, settled.name), desk.spool.path(PENDING, "a.json"))
    assert _judged(desk, "a.json") == settled.name
    desk.clock.now_at += 1000
    os.rename(desk.spool.path(PENDING, settled.name), desk.spool.path(PENDING, "a.json"))
    name = _judged(desk, "a.json")
    assert name == f"a,in={names.stamp(settled.due_at)[:8]}T{names.stamp(settled.due_at)[9:15]}.000000Z,prio=4.json"
    desk.run(name, Outcome("failed", 1))
    os.rename(desk.spool.path(DLQ, "a.json"), desk.spool.path(PENDING, "a.json"))
    assert _judged(desk, "a.json") == "a,in=20270115T080000.000000Z,prio=4.json"


def test_file_dropped_again_under_its_old_name_is_another_job(desk: Desk) -> None:
    """A judged drop is not found by its producer any more; what is written under the old name runs as well (P7)."""
    first = _judged(desk, desk.drop("a.json", {"command": "one"}))
    desk.drop("a.json", {"command": "two"})
    claimed = desk.start(first)
    assert isinstance(desk.decline("a.json"), Busy)
    desk.settlements.settle(claimed, Outcome("succeeded", 0))
    desk.run("a.json", Outcome("succeeded", 0))
    done = [desk.document(DONE, name) for name in names_in(desk.spool, DONE)]
    assert sorted(item["command"] for item in done) == ["one", "two"]


# ------------------------------------------------------------------------------------------------------ many of them


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
