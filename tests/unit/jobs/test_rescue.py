"""rescue: what a dead worker left is finished or put back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs.verdict import Claimed, Declined, Later, Rejected
from queuectl.model import history, names, record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.system import disk, files
from tests.helpers import NOON_AT, Desk, full_disk, listing, only, write_drop

JOB: dict[str, Any] = {"command": "echo hello"}
OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 1, "", 0.01)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX: links, FIFOs, modes, limits, moves while open")


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
