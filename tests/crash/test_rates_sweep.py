"""A process is killed at every change that it makes to the disk in the claim of a job whose queue has a rate, and in
the settling and the rescue of one whose queue has a circuit breaker (P12)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl.errors import DamagedRecordError
from queuectl.flows import boards, rates
from queuectl.jobs.verdict import Claimed, Gated
from queuectl.model import times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.model.queues import Queue
from queuectl.model.settings import defaults
from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir
from tests.crash.driver import FAILED, OK, Hands, Operation, Template, run_in_child
from tests.crash.inject import CHANGES, TORN
from tests.helpers import Desk, FakeClock, names_in

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")

RATED = Queue(rate="2/1h", rate_per_key="2/1h")
HALTING = Queue(halt_after=2)


def _desk(spool: SpoolDir, clock: FakeClock, rules: Queue, worker: str = "rated") -> Desk:
    return Desk(spool, worker=worker, clock=clock, settings=defaults()._replace(queues={"api": rules}))


def _points(operation: Operation, template: Template) -> list[tuple[int, str]]:
    """Return every point at which the operation can be killed."""
    ran = run_in_child(operation, template.copy())
    changes = [call for call in ran.calls if call.kind in CHANGES]
    points = [(place, "before") for place in range(1, len(changes) + 1)] + [(len(changes), "after")]
    return points + [(place, how) for place, call in enumerate(changes, 1) if call.kind == "write" for how in TORN]


def _sweep(operation: Operation, folder: Path, judge: Callable[[SpoolDir, bool], None]) -> int:
    """Kill the operation at each of its points, and judge what is left."""
    template = Template(operation, folder)
    root = template.copy()
    assert not run_in_child(operation, root).killed
    judge(SpoolDir(root / "spool"), False)
    points = _points(operation, template)
    for place, how in points:
        root = template.copy()
        assert run_in_child(operation, root, place, how).killed
        try:
            judge(SpoolDir(root / "spool"), True)
        except AssertionError as error:
            raise AssertionError(f"{operation.name}, killed {how} change {place}: {error}") from error
    print(f"{len(points)} points: {operation.name}")
    return len(points)


# -------------------------------------------------------------------------------------------------------------- rates


def _starts_on_record(spool: SpoolDir) -> list[str]:
    found = []
    for state in (PENDING, RUNNING, DONE, DLQ):
        for name in names_in(spool, state):
            if name.endswith(".json") and name.startswith("job"):
                try:
                    item = spool.read(state, name).record
                except DamagedRecordError:
                    continue  # a drop that was not taken in
                found += [event.at for event in item.history if event.event == "started"]
    return found


def _judge_rate(spool: SpoolDir, is_cut: bool) -> None:
    """No start on record is missing in a log, and the rate lets two jobs start in all."""
    again = _desk(spool, FakeClock(_NOW_AT[0]), RATED, "again")
    for name in names_in(spool, RUNNING):
        again.orphans.rescue(name)
    for key in ("", "k"):
        data = (
            Path(spool.starts_path("api", key)).read_bytes() if os.path.exists(spool.starts_path("api", key)) else b""
        )
        whole = data[: len(data) - len(data) % rates.LINE_BYTES].decode().split()
        missing = set(_starts_on_record(spool)) - set(whole)
        assert not missing, f"{missing} are in no log of {key!r}"
        assert is_cut or len(data) % rates.LINE_BYTES == 0
    before = len(_starts_on_record(spool))
    got_in = 0
    for number in range(3):
        found = again.claim(again.enqueue(id=f"job-next{number}", queue="api", key="k"))
        if isinstance(found, Claimed):
            again.settlements.settle(found, OK)
            got_in += 1
        else:
            assert isinstance(found, Gated), found
    assert before + got_in <= 2, f"{before} starts, and {got_in} more"
    assert before + got_in >= 1, "a kill costs one start at most"
    again.close()


_NOW_AT = [1_800_000_000.0]


def _claim_rated(hands: Hands, _begun: Any) -> None:
    desk = _desk(hands.spool, FakeClock(_NOW_AT[0]), RATED)
    names = [name for name in names_in(hands.spool, PENDING) if name.startswith("job")]
    found = desk.claim(names[0])
    assert isinstance(found, Claimed), found


def _waits(hands: Hands) -> None:
    hands.enqueue(id="job", queue="api", key="k", max_retries=0)


def _dropped(hands: Hands) -> None:
    hands.drop("job.json", {"command": "true", "queue": "api", "key": "k", "max_retries": 0})


def _log_is_long(hands: Hands) -> None:
    """The next start makes the logs longer than twice the rate: only their ends are kept."""
    _waits(hands)
    old = times.to_text(_NOW_AT[0] - 7200) + "\n"
    for key in ("", "k"):
        path = Path(hands.spool.starts_path("api", key))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(old * (4 if key else 1000))


def _log_is_ahead(hands: Hands) -> None:
    """One start is ahead of the clock, in both logs, and one is old."""
    _waits(hands)
    lines = times.to_text(_NOW_AT[0] - 7200) + "\n" + times.to_text(_NOW_AT[0] + 7200) + "\n"
    for key in ("", "k"):
        path = Path(hands.spool.starts_path("api", key))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines)


@pytest.mark.parametrize("prepare", [_waits, _dropped, _log_is_long], ids=["record", "drop", "long log"])
def test_a_kill_amid_a_rated_claim_lets_no_job_more_start(folder: Path, prepare: Callable[[Hands], None]) -> None:
    """Each start on record is in the logs, wherever the claim was killed; a kill costs one start at most (P12)."""
    operation = Operation("rated claim", prepare, lambda _hands: None, _claim_rated, {})
    assert _sweep(operation, folder, _judge_rate) > 8


def test_a_kill_amid_a_look_after_the_clock_was_set_back(folder: Path) -> None:
    """The log is the old one or the new one: one more job starts in this window, and no second (P12)."""

    def judge(spool: SpoolDir, _is_cut: bool) -> None:
        again = _desk(spool, FakeClock(_NOW_AT[0]), RATED, "again")
        for name in names_in(spool, RUNNING):
            again.orphans.rescue(name)
        before = len(_starts_on_record(spool))
        got_in = 0
        for number in range(3):
            name = again.enqueue(id=f"job-next{number}", queue="api", key="k")
            if isinstance(found := again.claim(name), Claimed):
                again.settlements.settle(found, OK)
                got_in += 1
        assert before + got_in <= 1, f"{before} starts, and {got_in} more, beside the one that was ahead"
        again.close()

    operation = Operation("set back", _log_is_ahead, lambda _hands: None, _claim_rated, {})
    assert _sweep(operation, folder, judge) > 8


# ----------------------------------------------------------------------------------------------------------- breakers


def _failed_once(hands: Hands) -> None:
    """One run has failed, one job waits, with a limit of two."""
    desk = _desk(hands.spool, hands.clock, HALTING, "first")
    desk.run(desk.enqueue(id="job-first", queue="api", max_retries=0), FAILED)
    desk.enqueue(id="job", queue="api", max_retries=0)
    desk.close()


def _started(hands: Hands) -> tuple[Desk, Claimed]:
    desk = _desk(hands.spool, hands.clock, HALTING)
    return desk, desk.start("job,q=api.json")


def _fail(_hands: Hands, begun: tuple[Desk, Claimed]) -> None:
    desk, claimed = begun
    desk.settlements.settle(claimed, FAILED)


def _judge_breaker(spool: SpoolDir, _is_cut: bool) -> None:
    """The queue is halted now, or lets one job run at a time, or has one failure less; a pause is whole."""
    again, other = (_desk(spool, FakeClock(), HALTING, worker) for worker in ("again", "other"))
    for name in names_in(spool, RUNNING):
        again.orphans.rescue(name)
    outcomes = boards.outcomes(spool, "api")
    assert outcomes in ("f", "ff")
    assert boards.alive(spool, boards.read(spool, "api")) == []
    if pause.is_paused(spool, "api"):
        text = Path(spool.queue_paused_path("api")).read_text()
        assert text.startswith("2 runs failed in a row; the last one was job: ")
        assert text.endswith("\n\nby halt_after\n")
        assert pause.resume(spool, "api")
        assert outcomes == "ff"
    if outcomes == "ff":
        trial = again.start(again.enqueue(id="job-next0", queue="api", max_retries=0))
        assert isinstance(other.claim(other.enqueue(id="job-next1", queue="api")), Gated), "two run at once"
        again.settlements.settle(trial, FAILED)
    else:  # the worker died between the move and the head
        assert [name for name in names_in(spool, DLQ) if name == "job.json"]
        again.run(again.enqueue(id="job-next2", queue="api", max_retries=0), FAILED)
    assert pause.halted_by(spool, "api") == "halt_after"
    for desk in (again, other):
        desk.close()


def test_a_kill_amid_the_failure_that_halts(folder: Path) -> None:
    """Wherever the worker dies, the next failure at the latest halts the queue, and no two jobs try it (P12)."""
    operation = Operation("halting settle", _failed_once, _started, _fail, {})
    assert _sweep(operation, folder, _judge_breaker) > 6


def _dead_run(hands: Hands) -> None:
    _failed_once(hands)
    desk, _ = _started(hands)
    desk.die()


def _rescue(hands: Hands, _begun: Any) -> None:
    desk = _desk(hands.spool, hands.clock, HALTING, "rescuer")
    desk.orphans.rescue("job.json")


def test_a_kill_amid_the_rescue_that_halts(folder: Path) -> None:
    """The same for a run whose worker died, and whose rescuer dies too (P12)."""
    operation = Operation("halting rescue", _dead_run, lambda _hands: None, _rescue, {})
    assert _sweep(operation, folder, _judge_breaker) > 6


def _succeed(_hands: Hands, begun: tuple[Desk, Claimed]) -> None:
    desk, claimed = begun
    desk.settlements.settle(claimed, OK)


def _failed_twice(hands: Hands) -> None:
    _failed_once(hands)
    desk = _desk(hands.spool, hands.clock, HALTING, "second")
    desk.run(desk.enqueue(id="job-second", queue="api", max_retries=0), FAILED)
    pause.resume(hands.spool, "api")
    desk.close()


def test_a_kill_amid_the_success_that_opens(folder: Path) -> None:
    """The queue is open, or another job tries it: it is never stuck."""

    def judge(spool: SpoolDir, _is_cut: bool) -> None:
        again, other = (_desk(spool, FakeClock(), HALTING, worker) for worker in ("again", "other"))
        for name in names_in(spool, RUNNING):
            again.orphans.rescue(name)
        pause.resume(spool, "api")  # of a run that was cut off, which is a failure
        outcomes = boards.outcomes(spool, "api")
        assert outcomes in ("s", "ff", "fff")
        trial = again.start(again.enqueue(id="job-next0", queue="api"))
        second = other.claim(other.enqueue(id="job-next1", queue="api"))
        assert isinstance(second, Claimed if outcomes == "s" else Gated)
        again.settlements.settle(trial, OK)
        assert boards.outcomes(spool, "api") in ("s", "ss")
        for desk in (again, other):
            desk.close()

    operation = Operation("opening settle", _failed_twice, _started, _succeed, {})
    assert _sweep(operation, folder, judge) > 5
