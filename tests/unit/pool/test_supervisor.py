"""The supervisor's own decisions, without a worker: when it lists, and what it does when a clock was wrong."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.jobs.verdict import Later, Settled
from queuectl.model import history, names, record, times
from queuectl.model.lifecycle import DLQ, PENDING, Outcome
from queuectl.model.notice import Notice
from queuectl.model.settings import Settings
from queuectl.monitor.why import explain
from queuectl.pool.supervisor import Event, Options, Supervisor
from queuectl.spool import cancel_requests
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import disk, files
from queuectl.worker.messages import Cancel, Finished
from tests.helpers import NOON_AT, Desk, FakeClock

YEAR_S = 365 * 86400.0
MANY = 5000


class Loop:
    """A supervisor whose loop is turned by hand."""

    def __init__(self, spool: SpoolDir, settings: Settings) -> None:
        self.told: list[Event] = []
        self.clock = FakeClock()
        session = Session(spool, settings, self.clock, random.Random())
        self.made = Supervisor(session, Options(workers=1, cwd=spool.root), self.told.extend)

    def rounds_until_all_run(self) -> int:
        """Turn the loop, a tick each time, until no name waits for its time."""
        for number in range(1, 100 * MANY):
            self.made._recheck_clock()
            if self.made._queue.waiting == 0:
                return number
            self.clock.advance(0.2)
        raise AssertionError(f"{self.made._queue.waiting} names still wait")

    def close(self) -> None:
        self.made._watch.close()
        self.made._stripes.close()
        self.made._wakeup.close()


@pytest.fixture
def loop(spool: SpoolDir, settings: Settings) -> Iterator[Loop]:
    """A supervisor that is not running."""
    made = Loop(spool, settings)
    yield made
    made.close()


def store_retries(spool: SpoolDir, count: int, *, at: float, delay_s: float = 8.0) -> None:
    """Retries as a pool stores them whose clock says `at`."""
    due_at = at + delay_s
    failed = history.event(
        "failed", at, attempt=1, exit_code=1, to=PENDING, due_at=times.to_text(due_at), delay_s=delay_s
    )
    events = [
        history.event("enqueued", at, by="enqueue"),
        history.event("started", at, attempt=1, lease="w.0"),
        failed,
    ]
    for number in range(count):
        spec = {"id": f"job{number}", "command": "true", "max_retries": 3, "backoff_base": 2.0, "backoff_max": 60.0}
        path = spool.path(PENDING, f"job{number},due={times.to_name(due_at)}.json")
        disk.create(path, record.frame(spec, events), sync=False)


def test_all_retries_of_a_clock_that_was_ahead_are_found(spool: SpoolDir, loop: Loop) -> None:
    """P5: whatever waits by a clock that was a year ahead runs after its own delay, however many they are."""
    store_retries(spool, MANY, at=NOON_AT + YEAR_S)
    loop.made._scan()
    assert loop.made._queue.waiting == MANY
    loop.rounds_until_all_run()
    assert len(loop.made._queue) == MANY


def test_the_look_at_them_is_made_in_steps(spool: SpoolDir, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: a tick reads some of the records only, so the loop goes on with everything else."""
    store_retries(spool, 50, at=NOON_AT + YEAR_S)
    real = SpoolDir.read

    def slow(self: SpoolDir, state: str, name: str) -> object:
        """A disk that takes 10 ms for each."""
        loop.clock.advance(0.01)
        return real(self, state, name)

    monkeypatch.setattr(SpoolDir, "read", slow)
    loop.made._scan()
    assert loop.rounds_until_all_run() >= 10


def test_a_clock_that_is_set_back_later_is_seen_too(spool: SpoolDir, loop: Loop) -> None:
    """P5: every jump back, and every hour, brings another look at what waits."""
    store_retries(spool, 3, at=NOON_AT + YEAR_S)
    loop.clock.now_at += YEAR_S
    loop.made._clock_offset_s += YEAR_S
    loop.made._scan()
    loop.made._recheck_clock()
    assert loop.made._queue.waiting == 3  # they are due in 8 s
    loop.clock.now_at -= YEAR_S
    loop.made._recheck_clock()
    assert loop.made._queue.waiting == 0


def test_jobs_that_another_machine_stored_ahead_are_found_at_once(spool: SpoolDir, loop: Loop) -> None:
    """P5: the clock of another host was ahead and ours never was: its retries run all the same."""
    loop.made._scan()
    loop.made._recheck_clock()
    store_retries(spool, 3, at=NOON_AT + YEAR_S)
    loop.made._scan()
    loop.made._recheck_clock()
    assert loop.made._queue.waiting == 0


def test_a_wish_to_list_again_is_no_reason_to_read_what_waits(
    spool: SpoolDir, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing that is wanted at once is no clock that was set back: no record of a job that waits is read."""
    store_retries(spool, 3, at=NOON_AT)
    loop.made._scan()
    loop.made._recheck_clock()
    monkeypatch.setattr(SpoolDir, "read", None)
    loop.made._scan_soon()
    loop.made._recheck_clock()
    assert loop.made._next_scan_s < loop.clock.monotonic()


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
    loop: Loop, desk: Desk, keys: dict[str, object], waits: bool
) -> None:
    """The record is the truth and the name a hint: a job named `due=9999...` does not wait for its name."""
    made = desk.enqueue(id="job", **keys)
    os.rename(desk.spool.path("pending", made), desk.spool.path("pending", "job,due=99990101T000000Z.json"))
    loop.made._scan()
    loop.made._next_recheck_s = math.inf  # what is looked at when a pool starts does not count here
    loop.made._queue.add(["job,due=99990101T000000Z.json"], loop.clock.now())
    loop.made._recheck_clock()
    assert (loop.made._queue.waiting == 1) is waits
    assert loop.made._queue.next_unverified() is None


def test_a_drop_waits_for_the_time_in_its_name(loop: Loop, desk: Desk) -> None:
    """There is no record yet that could say another time: whoever named the file so wants it to wait."""
    name = desk.drop("job,due=99990101T000000Z.json", {"command": "true"})
    loop.made._next_recheck_s = math.inf
    loop.made._queue.add([name], loop.clock.now())
    loop.made._recheck_clock()
    assert loop.made._queue.take() is None and loop.made._queue.waiting == 1


def test_a_retry_that_is_far_away_costs_no_look(loop: Loop, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a claim has just found to be due later is not read again."""
    name = desk.enqueue(id="job", delay=7200)
    loop.made._dispatcher.passed(None, "job.json", Later(name))
    monkeypatch.setattr(files, "read", lambda *_: pytest.fail("it was read"))
    loop.made._next_recheck_s = math.inf
    loop.made._recheck_clock()
    assert loop.made._queue.waiting == 1


def test_a_request_to_cancel_that_cannot_be_read_is_reported_once(
    loop: Loop, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: it is no trouble of the machine, and other requests are seen to."""
    sent: list[tuple[object, ...]] = []
    for job_id in ("a", "b"):
        cancel_requests.put(desk.spool, cancel_requests.Request(job_id, 1, "test", ""))
        loop.made._workers[0].running[f"{job_id}.json"] = job_id
    monkeypatch.setattr(loop.made._workers[0], "send", sent.append)
    find = cancel_requests.find

    def refuse(spool: SpoolDir, job_id: str, attempt: int) -> cancel_requests.Request | None:
        if job_id == "a":
            raise PermissionError(13, "Permission denied", os.path.join(spool.cancel_dir, "a.1"))
        return find(spool, job_id, attempt)

    monkeypatch.setattr(cancel_requests, "find", refuse)
    for _ in range(3):
        loop.made._cancel_runs()
    loop.made._tell_round()
    (told,) = [event for event in loop.told if isinstance(event, Notice)]
    assert told.kind == "stuck" and "a.1" in told.text
    assert [(type(order), order[0]) for order in sent] == [(Cancel, "b")]


def test_a_batch_whose_stripe_cannot_be_opened_pauses_no_pool(loop: Loop, desk: Desk) -> None:
    """P9: a split that was cut short waits for its stripe, and the listing goes on."""
    Path(desk.spool.taken_dir, "lines-1.jsonl").write_text('{"command": "true"}', encoding="utf-8")
    os.mkdir(desk.spool.stripe_path(names.stripe_of("lines-1")))
    desk.drop("job.json", {"command": "true"})
    loop.made._scan()
    assert loop.made._queue.take() == "job.json" and not loop.made._breaker.is_open


@pytest.mark.parametrize(("kind", "fired"), [("failed", ["dead"]), ("cancelled", [])])
def test_a_cancelled_run_is_no_reason_for_on_dead(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, kind: str, fired: list[str]
) -> None:
    """`on_dead` is for jobs that failed: a job that somebody cancelled is not dead."""
    started: list[str] = []
    monkeypatch.setattr(loop.made._hooks, "fire", lambda what, *_: started.append(what))
    settled = Settled(DLQ, "job1.json", None, None, "")
    report = Finished("job1.json", "job1", 1, Outcome(kind, 1), settled, 0, "true")
    loop.made._take_finished(loop.made._workers[0], report)
    assert started == fired
