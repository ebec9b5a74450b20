"""triage: drops are judged, named, repaired and rejected before and without a claim."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs.judge import WRITER_S
from queuectl.jobs.verdict import (
    Arriving,
    Busy,
    Claimed,
    Foreign,
    Gone,
    Later,
    Many,
    Open,
    Rejected,
    Repaired,
)
from queuectl.maintenance.rejected_files import RejectedFiles
from queuectl.model import history, job, names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, Outcome
from queuectl.system import files
from tests.helpers import Desk, listing, names_in, only, write_drop

JOB: dict[str, Any] = {"command": "echo hello"}
WINDOWS = sys.platform == "win32"


def test_unfinished_file_is_waited_for_and_then_rejected_unchanged(desk: Desk) -> None:
    """What does not parse stays in pending/ until it was quiet; then it is kept with its reason (P6)."""
    content = b'{"command": "echo hel'
    name = desk.drop("x.json", content)
    declined = desk.decline(name)
    assert isinstance(declined, Arriving)
    assert declined.sig is not None
    assert listing(desk.spool) == {"pending": [name]}
    rejected = desk.triage.reject_quiet(name, declined)
    assert isinstance(rejected, Rejected)
    assert listing(desk.spool) == {"rejected": ["x.json", "x.json.reason.txt"]}
    assert Path(desk.spool.path(REJECTED, "x.json")).read_bytes() == content
    assert declined.why in Path(desk.spool.reason_path("x.json")).read_text()


def test_unfinished_file_that_changed_is_not_rejected(desk: Desk) -> None:
    """A version that nobody has judged is never refused (P6)."""
    name = desk.drop("x.json", '{"command": ')
    declined = desk.decline(name)
    assert declined.sig is not None
    desk.drop("x.json", '{"command": "true')
    assert isinstance(desk.triage.reject_quiet(name, declined), Arriving)
    desk.drop("x.json", JOB)
    assert isinstance(desk.claim(name), Claimed)


def test_rejected_file_that_becomes_whole_runs(desk: Desk) -> None:
    """A writer that was slower than our patience loses nothing (P6)."""
    watch = RejectedFiles(desk.session)
    with open(desk.spool.path(PENDING, "x.json"), "w") as slow:
        slow.write('{"command": ')
        slow.flush()
        declined = desk.decline("x.json")
        assert declined.sig is not None
        verdict = desk.triage.reject_quiet("x.json", Arriving(declined.sig, ""))
        # Windows moves no file that its writer has open: there it is left where it is, to be judged when it changes.
        assert isinstance(verdict, Arriving if WINDOWS else Rejected)
        watch.readmit()
        slow.write('"true"}')
    assert watch.readmit() == ([] if WINDOWS else ["x.json"])
    assert desk.start("x.json").record.command == "true"
    assert "rejected" not in listing(desk.spool)


def test_job_larger_than_the_limit_is_refused_once_it_is_quiet(desk: Desk) -> None:
    """A file over the limit is not read as a job, however well it parses (P6)."""
    name = desk.drop("x.json", {**JOB, "customer": "x" * job.JOB_MAX_BYTES})
    declined = desk.decline(name)
    assert isinstance(declined, Arriving)
    assert str(job.JOB_MAX_BYTES) in declined.why


def test_torn_record_in_pending_is_mended_and_runs(desk: Desk) -> None:
    """A record of ours that lost its end is not refused but repaired, once it is quiet (P1, P6)."""
    name = desk.enqueue(id="a")
    path = Path(desk.spool.path(PENDING, name))
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0\0\0")
    declined = desk.decline(name)
    assert isinstance(declined, Arriving)
    assert declined.sig is not None
    assert isinstance(desk.triage.reject_quiet(name, declined), Repaired)
    assert path.read_bytes() == whole
    assert isinstance(desk.claim(name), Claimed)


def test_torn_record_with_a_name_of_ours_is_mended_too(desk: Desk) -> None:
    """The same for ids that queuectl made."""
    name = desk.enqueue()
    path = Path(desk.spool.path(PENDING, name))
    path.write_bytes(path.read_bytes()[:-4])
    declined = desk.decline(name)
    assert isinstance(declined, Arriving)
    assert declined.sig is not None
    assert isinstance(desk.triage.reject_quiet(name, declined), Repaired)
    assert isinstance(desk.claim(name), Claimed)


def test_rejecting_by_another_worker_meanwhile_is_gone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that disappears between the look and the rejection is nobody's trouble."""
    name = desk.drop("x.json", "5")
    real = files.sig_of

    def vanished(path: str) -> files.FileSig | None:
        if path.endswith("x.json"):
            os.unlink(path)
        return real(path)

    monkeypatch.setattr(files, "sig_of", vanished)
    assert isinstance(desk.decline(name), Gone)
    assert listing(desk.spool) == {}


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
    desk.clock.now_at = os.stat(desk.spool.path(PENDING, name)).st_ctime + WRITER_S - 0.01
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
