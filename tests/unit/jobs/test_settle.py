"""settle: how a run ended, and what became of a job whose worker died."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from msgspec import structs

from queuectl.jobs.verdict import Later, Settled
from queuectl.model import names, record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, Outcome
from queuectl.system import disk
from tests.helpers import NOON_AT, Desk, full_disk, listing, rejected_name, write_drop

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 1, "", 0.01)


def test_success_goes_to_done_with_its_outcome_on_record(desk: Desk) -> None:
    """A job that exits 0 lies in done/ and says how it went (P2, P4)."""
    settled = desk.run(desk.enqueue(id="job1"), Outcome("succeeded", 0, "", 1.23456))
    assert settled == Settled(DONE, "job1.json", None, None, "")
    assert listing(desk.spool) == {"done": ["job1.json"]}
    last = desk.record(DONE, "job1.json").history[-1]
    assert (last.event, last.attempt, last.exit_code, last.duration_s, last.to) == ("succeeded", 1, 0, 1.235, "done")
    document = desk.document(DONE, "job1.json")
    assert "state" not in document and "attempts" not in document


def test_failures_wait_exactly_the_power_of_the_base_and_then_die(desk: Desk) -> None:
    """2, 4 and 8 seconds between four runs, then dlq/, with all of it on record (P4)."""
    name, waits = desk.enqueue(id="job1"), []
    for attempt in (1, 2, 3):
        desk.clock.advance(100.0003)
        now_at = desk.clock.now()
        settled = desk.run(name, FAILED)
        assert settled.to == PENDING
        assert settled.due_at is not None
        waits.append(settled.delay_s)
        assert 0 <= settled.due_at - (now_at + 2**attempt) < 0.001
        name = settled.name
        assert names.parse(name) == ("job1", pytest.approx(settled.due_at, abs=1e-6), 0, "", "", "", "", "", "")
        assert isinstance(desk.decline(name), Later)
    assert waits == [2, 4, 8]
    desk.clock.advance(100)
    settled = desk.run(name, FAILED)
    assert (settled.to, settled.name, settled.reason) == (DLQ, "job1.json", "4 attempts, retries used up")
    assert desk.events(DLQ, "job1.json") == ["enqueued", *["started", "failed"] * 4]
    assert [event.attempt for event in desk.record(DLQ, "job1.json").history if event.event == "failed"] == [1, 2, 3, 4]


def test_looking_too_early_does_not_move_the_due_time(desk: Desk) -> None:
    """A job that is suggested before its time keeps its time and its name."""
    settled = desk.run(desk.enqueue(id="job1"), FAILED)
    declined = desk.decline(settled.name)
    assert declined == Later(settled.name, settled.due_at)


def test_priority_and_owner_stay_in_the_name_of_a_retry(desk: Desk) -> None:
    """A retry of an urgent job is urgent too, and has its owner's turn."""
    name = desk.enqueue(id="a", priority=5, owner="anna")
    assert desk.run(name, FAILED).name == "a,due=20270115T080002Z,prio=5,by=anna.json"


def test_exit_code_that_is_not_to_be_retried_is_dead(desk: Desk) -> None:
    """A job may say which failures are final."""
    settled = desk.run(desk.enqueue(id="a", no_retry_exit_codes=[7]), Outcome("failed", 7))
    assert settled.to == DLQ
    assert "7" in desk.record(DLQ, "a.json").history[-1].reason


def test_released_job_is_back_at_once_uncounted(desk: Desk) -> None:
    """The worker's trouble costs no run, even the last one (P9)."""
    settled = desk.run(desk.enqueue(id="a", max_retries=0), Outcome("released", reason="shutting down"))
    assert (settled.to, settled.name, settled.due_at) == (PENDING, "a.json", None)
    claimed = desk.start("a.json")
    assert (claimed.attempt, claimed.failures) == (2, 0)
    assert desk.settlements.settle(claimed, OK).to == DONE


def test_cancelled_job_is_dead_with_its_reason(desk: Desk) -> None:
    """What a person cancels lies in dlq/."""
    assert desk.run(desk.enqueue(id="a"), Outcome("cancelled", 143)).reason == "cancelled"


@pytest.mark.parametrize(
    ("outcome", "state", "name"),
    [
        (OK, DONE, "a.json"),
        (structs.replace(FAILED, kind="cancelled"), DLQ, "a.json"),
        (Outcome("released"), PENDING, "a.json"),
        (FAILED, PENDING, "a,due=20270115T080002Z.json"),
    ],
)
def test_settling_onto_a_name_that_is_taken_keeps_both(desk: Desk, outcome: Outcome, state: str, name: str) -> None:
    """A job never overwrites what lies where it goes (P7)."""
    claimed = desk.start(desk.enqueue(id="a"))
    write_drop(desk.spool, name, "somebody's", state)
    settled = desk.settlements.settle(claimed, outcome)
    assert settled.name != name
    assert sorted(listing(desk.spool)[state]) == sorted([name, settled.name])
    assert Path(desk.spool.path(state, name)).read_text() == "somebody's"
    assert desk.record(state, settled.name).id == "a"


def test_retry_that_could_not_have_its_name_still_waits_and_runs(desk: Desk) -> None:
    """A waiting job under a name with a token keeps its due time and is not looked at without end (P7)."""
    claimed = desk.start(desk.enqueue(id="a"))
    write_drop(desk.spool, "a,due=20270115T080002Z.json", "somebody's")
    settled = desk.settlements.settle(claimed, FAILED)
    declined = desk.decline(settled.name)
    assert isinstance(declined, Later)
    parts = names.parse(declined.name)
    assert parts is not None
    assert parts.due_at == NOON_AT + 2
    desk.clock.advance(2)
    assert desk.start(declined.name).attempt == 2


def test_record_that_was_edited_while_it_ran_keeps_its_outcome(desk: Desk) -> None:
    """Our framing with a changed key: the outcome is added to what the person wrote (P4)."""
    claimed = desk.start(desk.enqueue(id="a", tags=["x"]))
    path = Path(desk.spool.path(RUNNING, "a.json"))
    path.write_bytes(path.read_bytes().replace(b'["x"]', b'["x", "edited"]'))
    desk.settlements.settle(claimed, OK)
    assert desk.events(DONE, "a.json") == ["enqueued", "started", "succeeded"]
    assert desk.record(DONE, "a.json").tags == ["x", "edited"]


def test_record_whose_history_was_emptied_while_it_ran_stays_whole(desk: Desk) -> None:
    """An edit that takes the history away does not make a broken record of the outcome (P4)."""
    claimed = desk.start(desk.enqueue(id="a"))
    path = Path(desk.spool.path(RUNNING, "a.json"))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b'"history": [') + len(b'"history": [')] + record.CLOSING)
    assert record.is_framed(path.read_bytes())
    desk.settlements.settle(claimed, OK)
    assert desk.events(DONE, "a.json")[-1] == "succeeded"


@pytest.mark.parametrize("content", [b"", b'{"command": "new"}', b"garbage \xff", b"x" * 5000])
def test_record_that_was_overwritten_while_it_ran_is_kept_beside_its_outcome(desk: Desk, content: bytes) -> None:
    """The run and its outcome are what we know; the other text is kept in rejected/ (P4, P6, P7)."""
    claimed = desk.start(desk.enqueue(id="a"))
    Path(desk.spool.path(RUNNING, "a.json")).write_bytes(content)
    assert desk.settlements.settle(claimed, OK).to == DONE
    assert desk.events(DONE, "a.json") == ["enqueued", "started", "succeeded"]
    assert Path(desk.spool.path(REJECTED, rejected_name(desk.spool))).read_bytes() == content
    assert os.listdir(desk.spool.tmp_dir) == []


@pytest.mark.parametrize("call", ["create", "move", "publish", "replace"])
def test_job_that_was_overwritten_is_never_gone_from_running(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Trouble in mid-repair of an overwritten record loses neither the job nor its outcome (P1, P4)."""
    claimed = desk.start(desk.enqueue(id="a"))
    Path(desk.spool.path(RUNNING, "a.json")).write_text("{}")

    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, call, full)
        try:
            desk.settlements.settle(claimed, OK)
        except OSError:
            assert listing(desk.spool).get("running") == ["a.json"]
    if "done" not in listing(desk.spool):
        desk.settlements.settle(claimed, OK)
    assert desk.events(DONE, "a.json")[-1] == "succeeded"


@pytest.mark.parametrize("outcome", [OK, FAILED, Outcome("released")])
def test_settling_a_job_whose_file_vanished_says_so(desk: Desk, outcome: Outcome) -> None:
    """A file that a person deleted or moved while it ran is not made again."""
    claimed = desk.start(desk.enqueue(id="a"))
    os.unlink(desk.spool.path(RUNNING, "a.json"))
    with pytest.raises(FileNotFoundError):
        desk.settlements.settle(claimed, outcome)
    assert listing(desk.spool) == {}


def test_outcome_that_cannot_be_recorded_can_be_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while settling moves nothing, and the second try records the outcome once (P4, P9)."""
    claimed = desk.start(desk.enqueue(id="a"))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "append", full_disk)
        with pytest.raises(OSError):
            desk.settlements.settle(claimed, OK)
    assert listing(desk.spool) == {"running": ["a.json"]}
    desk.settlements.settle(claimed, OK)
    assert desk.events(DONE, "a.json") == ["enqueued", "started", "succeeded"]


def test_move_that_failed_can_be_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outcome on record whose move failed is not recorded twice, nor its failures counted twice (P4, P9)."""
    claimed = desk.start(desk.enqueue(id="a"))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "move", full_disk)
        with pytest.raises(OSError):
            desk.settlements.settle(claimed, FAILED)
    settled = desk.settlements.settle(claimed, FAILED)
    assert desk.events(PENDING, settled.name) == ["enqueued", "started", "failed"]
