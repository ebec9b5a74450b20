"""settle: how a run ended, and what became of a job whose worker died."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs.verdict import Claimed, Declined, Later, Rejected
from queuectl.model import history, names, record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, Outcome
from queuectl.system import disk, files
from tests.helpers import NOON_AT, Desk, full_disk, listing, only, rejected_name, write_drop

JOB: dict[str, Any] = {"command": "echo hello"}
OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 1, "", 0.01)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX: links, FIFOs, modes, limits, moves while open")


# ------------------------------------------------------------------------------------------------------------- settle


def test_success_goes_to_done_with_its_outcome_on_record(desk: Desk) -> None:
    """A job that exits 0 lies in done/ and says how it went (P2, P4)."""
    settled = desk.run(desk.enqueue(id="job1"), Outcome("succeeded", 0, "", 1.23456))
    assert settled == (DONE, "job1.json", None, None, "", False)
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
        assert names.parse(name) == ("job1", pytest.approx(settled.due_at, abs=1e-6), 0, "", "")
        assert isinstance(desk.decline(name), Later)
    assert waits == [2, 4, 8]
    desk.clock.advance(100)
    settled = desk.run(name, FAILED)
    assert (settled.to, settled.name, settled.reason) == (DLQ, "job1.json", "4 runs, retries used up")
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
        (FAILED._replace(kind="cancelled"), DLQ, "a.json"),
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


# ------------------------------------------------------------------------------------------------------------- rescue


def _in_running(desk: Desk, name: str) -> str:
    """As a claimer that died just after the move leaves it."""
    parts = names.parse(name)
    assert parts is not None
    target = f"{names.clean_id(parts.stem)}.json"
    disk.move(desk.spool.path(PENDING, name), desk.spool.path(RUNNING, target))
    return target


def test_rescue_leaves_a_live_run_alone(desk: Desk, other_desk: Desk) -> None:
    """Slow is not dead: while the lease is held nothing happens, however late it is (P5)."""
    desk.start(desk.enqueue(id="a"))
    desk.clock.advance(1e6)
    assert other_desk.orphans.rescue("a.json") is None
    assert listing(desk.spool) == {"running": ["a.json"]}


@posix_only
def test_rescue_leaves_a_run_alone_whose_worker_died_and_whose_command_lives(desk: Desk, other_desk: Desk) -> None:
    """The command holds the lease, so a second run never overlaps it (P3)."""
    desk.start(desk.enqueue(id="a"))
    with subprocess.Popen(["sleep", "60"], pass_fds=[desk.lease.fd]) as command:
        desk.die()
        assert other_desk.orphans.rescue("a.json") is None
        command.kill()
        command.wait()
    assert other_desk.orphans.rescue("a.json") is not None


def test_rescue_leaves_a_claim_in_progress_alone(desk: Desk, other_desk: Desk) -> None:
    """A file in running/ whose stripe is held is being claimed just now (P3)."""
    name = _in_running(desk, desk.enqueue(id="a"))
    assert desk.stripes.of("a").try_acquire()
    assert other_desk.orphans.rescue(name) is None
    desk.stripes.of("a").release()
    assert listing(desk.spool) == {"running": ["a.json"]}


def test_rescue_counts_an_abandoned_run_and_retries_at_once(desk: Desk, other_desk: Desk) -> None:
    """A run whose lease is free is over: on record, counted, due now (P4, P5)."""
    desk.start(desk.enqueue(id="a", max_retries=1))
    desk.die()
    settled = other_desk.orphans.rescue("a.json")
    assert settled is not None
    assert (settled.to, settled.name, settled.due_at) == (PENDING, "a.json", None)
    last = desk.record(PENDING, "a.json").history[-1]
    assert (last.event, last.attempt, last.to) == ("abandoned", 1, "pending")
    other_desk.start("a.json")
    other_desk.die()
    settled = desk.orphans.rescue("a.json")
    assert settled is not None
    assert settled.to == DLQ
    assert "abandoned" in desk.record(DLQ, "a.json").history[-1].reason


def test_rescue_keeps_the_last_words_of_a_dead_run(desk: Desk, other_desk: Desk) -> None:
    """What the command printed before its worker died is its log."""
    desk.start(desk.enqueue(id="a"))
    Path(desk.spool.output_path("w1.0")).write_text("last words")
    desk.die()
    other_desk.orphans.rescue("a.json")
    assert Path(desk.spool.log_path("a", 1)).read_text() == "last words"


@pytest.mark.parametrize("name", ["a.json", "a,prio=3.json", "a,due=20270115T080100Z.json"])
def test_rescue_puts_back_a_record_that_was_not_started(desk: Desk, name: str) -> None:
    """A claimer that died before the start leaves no trace: not counted, its name as before (P4, P5)."""
    keys: dict[str, Any] = {"priority": 3} if "prio" in name else {"delay": 60} if "due" in name else {}
    desk.enqueue(id="a", **keys)
    settled = desk.orphans.rescue(_in_running(desk, name))
    assert settled is not None
    assert (settled.to, settled.name) == (PENDING, name)
    assert desk.events(PENDING, name) == ["enqueued"]


@pytest.mark.parametrize("content", [JOB, {**JOB, "id": "other"}, "{half", "", b"\xff\xfe", "[5]"])
def test_rescue_puts_back_a_drop_that_was_not_taken_in(desk: Desk, content: object) -> None:
    """A drop that was moved and not yet read goes back unchanged, whatever is in it (P6)."""
    before = Path(write_drop(desk.spool, "a.json", content)).read_bytes()
    settled = desk.orphans.rescue(_in_running(desk, "a.json"))
    assert settled is not None
    assert listing(desk.spool) == {"pending": ["a.json"]}
    assert Path(desk.spool.path(PENDING, "a.json")).read_bytes() == before


@pytest.mark.parametrize("key", ["command", "max_retries", "history"])
def test_rescue_puts_back_a_framed_file_that_is_no_record(desk: Desk, key: str) -> None:
    """A file with our framing and wrong types does not lie in running/ for ever (P6)."""
    data = desk.producer.prepare({**JOB, "id": "a"}, by="x").data
    old, new = {
        "command": (b'"echo hello"', b"5"),
        "max_retries": (b'"max_retries": 3', b'"max_retries": -3'),
        "history": (b'"event": "enqueued"', b'"event": 5'),
    }[key]
    desk.drop("a.json", data.replace(old, new))
    assert desk.orphans.rescue(_in_running(desk, "a.json")) is not None
    assert isinstance(desk.decline("a.json"), Rejected)


@pytest.mark.parametrize(
    ("outcome", "state", "name"),
    [
        (OK, DONE, "a.json"),
        (FAILED, PENDING, "a,due=20270115T080002Z.json"),
        (Outcome("cancelled"), DLQ, "a.json"),
        (Outcome("released"), PENDING, "a.json"),
    ],
)
def test_rescue_only_makes_the_move_of_an_outcome_on_record(
    desk: Desk, other_desk: Desk, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, state: str, name: str
) -> None:
    """A finished run is never run again: only its move is made, where its outcome says (P4, P5)."""
    claimed = desk.start(desk.enqueue(id="a"))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "move", full_disk)
        with pytest.raises(OSError):
            desk.settlements.settle(claimed, outcome)
    assert other_desk.orphans.rescue("a.json") is None, "its worker lives and will try again"
    before = desk.events(RUNNING, "a.json")
    desk.die()
    settled = other_desk.orphans.rescue("a.json")
    assert settled is not None
    assert (settled.to, settled.name) == (state, name)
    assert listing(desk.spool) == {state: [name]}
    assert desk.events(state, name) == before


@pytest.mark.parametrize("to", ["", "nowhere", "../..", "running", "done"])
@pytest.mark.parametrize("kind", ["succeeded", "failed", "released", "cancelled"])
def test_rescue_survives_an_outcome_that_leads_nowhere(desk: Desk, kind: str, to: str) -> None:
    """A history that somebody wrote leads to a state of the table, never to an error or another folder (P2, P6)."""
    spec = {"id": "a", "command": "true", "max_retries": 3, "backoff_base": 2, "backoff_max": 9}
    events = [history.event("started", NOON_AT, attempt=1, lease="w9.0"), history.event(kind, NOON_AT, to=to)]
    desk.drop("a.json", record.frame(spec, events), RUNNING)
    settled = desk.orphans.rescue("a.json")
    assert settled is not None
    assert settled.to == {"succeeded": DONE, "failed": PENDING, "released": PENDING, "cancelled": DLQ}[kind]
    assert len(listing(desk.spool)) == 1


@pytest.mark.parametrize("cut", [1, 5, 6, 7, 30, 60])
def test_rescue_mends_a_torn_record(desk: Desk, other_desk: Desk, cut: int) -> None:
    """A tail that a power cut tore is cut back to the last whole event, and the job goes on (P4)."""
    desk.start(desk.enqueue(id="a"))
    path = Path(desk.spool.path(RUNNING, "a.json"))
    path.write_bytes(path.read_bytes()[:-cut])
    desk.die()
    settled = other_desk.orphans.rescue("a.json")
    assert settled is not None
    assert settled.to == PENDING
    expected = ["enqueued", "started", "abandoned"] if cut < 7 else ["enqueued"]
    assert desk.events(PENDING, settled.name) == expected
    assert os.listdir(desk.spool.tmp_dir) == []


@pytest.mark.parametrize("half", [True, False])
def test_rescue_that_read_too_early_leaves_the_job_to_its_next_look(
    desk: Desk, other_desk: Desk, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    """What was read before the owner's last write is no ground to repair, or to call the run abandoned (P2, P3)."""
    claimed = desk.start(desk.enqueue(id="a"))
    path = desk.spool.path(RUNNING, "a.json")
    read = other_desk.spool.read_document
    early = read(path)
    looks = []

    def read_beside_the_owner(path: str, **options: Any) -> files.Content:
        looks.append(path)
        if len(looks) > 1:
            return read(path, **options)
        desk.settlements.settle(claimed, FAILED)
        desk.lease.abandon()
        return early._replace(data=early.data[:-5]) if half else early

    monkeypatch.setattr(other_desk.spool, "read_document", read_beside_the_owner)
    assert other_desk.orphans.rescue("a.json") is None
    assert list(listing(desk.spool)) == [PENDING]
    assert desk.events(PENDING, only(desk.spool, PENDING)) == ["enqueued", "started", "failed"]


@pytest.mark.parametrize("held", [True, False])
def test_rescue_of_a_job_between_its_two_names(desk: Desk, other_desk: Desk, held: bool) -> None:
    """A claimer that died between taking a drop in and giving it its id's name leaves no job stuck (P3, P5)."""
    claimed = desk.start(desk.drop("x.json", {**JOB, "id": "job1"}))
    disk.move(desk.spool.path(RUNNING, "job1.json"), desk.spool.path(RUNNING, "x.json"))
    if held:
        assert other_desk.orphans.rescue("x.json") is None
        return
    desk.die()
    assert other_desk.orphans.rescue("x.json") is not None
    assert "running" not in listing(desk.spool)
    name = only(desk.spool, PENDING)
    declined = other_desk.claim(name)
    if isinstance(declined, Declined):
        assert isinstance(declined, Later)
        declined = other_desk.claim(declined.name)
    assert isinstance(declined, Claimed)
    assert (declined.job_id, declined.attempt) == ("job1", claimed.attempt + 1)
    assert listing(desk.spool) == {"running": ["job1.json"]}


def test_rescue_of_what_is_gone_is_nothing(desk: Desk) -> None:
    """A job that ended between the listing and the look is none of ours."""
    assert desk.orphans.rescue("a.json") is None
