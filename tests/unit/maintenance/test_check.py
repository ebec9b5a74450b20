"""check: every fault is found, what a program can repair is repaired, and nothing is lost or touched that is alive."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl.api import Spool
from queuectl.maintenance import check, examination
from queuectl.maintenance.check import Checked
from queuectl.maintenance.findings import CLEAN, INFO, PERSON, PROBLEM, REPAIRABLE, REPAIRED, verdict
from queuectl.maintenance.sweeper import sweep_pools
from queuectl.model import history, names, record, settings
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, STATES, Outcome
from queuectl.spool import counts, pools
from queuectl.spool.counts import Counts, Row
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import BOARD, PAGE
from queuectl.spool.lease import Lease
from queuectl.spool.pools import Pool
from queuectl.system import disk, files, locks
from tests.helpers import Desk, full_disk, listing, make_spool, write_drop

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 1, "", 0.01)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX: links, FIFOs, modes, limits, moves while open")
HOURS_S = 2 * 3600


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is busy is given up soon, and what may be half written is looked at again soon."""
    monkeypatch.setattr(examination, "_PATIENCE_S", 0.4)
    monkeypatch.setattr(examination, "_PAUSE_S", 0.005)
    monkeypatch.setattr(examination, "_LOOK_AGAIN_S", 0.02)


def look(desk: Desk, *, repair: bool = False, names_only: bool = False) -> Checked:
    """One check of the desk's spool."""
    return check.run(desk.spool, repair=repair, names_only=names_only, clock=desk.clock)


def told(found: Checked, severity: str = PROBLEM) -> list[tuple[str, str]]:
    """Codes and paths of what was found."""
    return sorted((each.code, each.path) for each in found.findings if each.severity == severity)


def contents(spool: SpoolDir) -> dict[str, bytes]:
    """The bytes of every file of the spool but its locks."""
    return {
        os.path.relpath(path, spool.root).replace(os.sep, "/"): path.read_bytes()
        for path in Path(spool.root).rglob("*")
        if path.is_file() and not path.is_symlink() and path.suffix != ".lock"
    }


def mended(desk: Desk, problems: list[tuple[str, str]], *, ends: str = REPAIRED) -> Checked:
    """Check, repair, check: the faults are found, nothing changes before the repair, and they are gone after it.

    No byte of any file is lost: each file's bytes are the bytes of some file, or such a file's up to its last event.
    """
    before = contents(desk.spool)
    found = look(desk)
    assert told(found) == problems
    assert contents(desk.spool) == before
    assert verdict(found.findings) == (PERSON if ends == PERSON else REPAIRABLE)
    repaired = look(desk, repair=True)
    assert verdict(repaired.findings) == ends, repaired
    assert set(problems) <= set(told(repaired))
    after = list(contents(desk.spool).values())
    for path, data in before.items():
        head = data.removesuffix(record.CLOSING)
        assert any(held == data or held.startswith(head) for held in after), f"{path} is lost: {data!r}"
    again = look(desk, repair=True)
    assert told(again) == []
    assert verdict(again.findings) == CLEAN
    return repaired


def age(path: str | Path, seconds: float = HOURS_S) -> None:
    """Make a file look as if it had not changed for some time."""
    info = os.stat(path)
    os.utime(path, (info.st_atime - seconds, info.st_mtime - seconds))


def done(desk: Desk, job_id: str = "job1", outcome: Outcome = OK, **keys: Any) -> Path:
    """A job that has run once."""
    settled = desk.run(desk.enqueue(id=job_id, **keys), outcome)
    return Path(desk.spool.path(settled.to, settled.name))


def dead(desk: Desk, job_id: str = "job1") -> Path:
    """A job that has failed for good."""
    return done(desk, job_id, FAILED, max_retries=0)


# ---------------------------------------------------------------------------------------------------------- all is well


def test_a_new_spool_is_clean(desk: Desk) -> None:
    """A spool that was just made has no finding."""
    assert look(desk).findings == []
    assert look(desk, repair=True).findings == []


def test_every_way_of_a_job_is_clean(desk: Desk) -> None:
    """Jobs in all states, by all ways through the state table, are as they should be."""
    done(desk)
    dead(desk, "job2")
    done(desk, "job3", FAILED)
    desk.start(desk.enqueue(id="job4"))
    for number, keys in enumerate(({}, {"priority": 5}, {"delay": 60}, {"delay": 60, "priority": -3})):
        desk.enqueue({"id": f"job5{number}", **keys})
    desk.drop("report.json", {"command": "true"})
    desk.drop("many.jsonl", '{"command": "true"}\n')
    desk.drop("arriving.json", '{"command": "tr')
    desk.drop("broken.json", {"cmd": 1})
    desk.claim("broken.json")
    found = look(desk, repair=True)
    assert found.findings == []
    assert found.counts == {"running": 1, "pending": 7, "done": 1, "dlq": 1}
    assert look(desk, names_only=True).findings == []


def test_what_a_person_moves_is_well(desk: Desk) -> None:
    """The folder is the state: a dead or finished job that was dragged back to pending/ is no fault (P2)."""
    path = dead(desk)
    os.rename(path, desk.spool.path(PENDING, path.name))
    path = done(desk, "job2")
    os.rename(path, desk.spool.path(PENDING, path.name))
    assert look(desk, repair=True).findings == []


# ----------------------------------------------------------------------------------------------------------- torn tails


def torn_versions(data: bytes) -> dict[str, bytes]:
    """A record as a power cut may leave it while its last event was written, for every byte of that write."""
    start = data.rindex(b",\n  {")
    old = data[:start] + record.CLOSING
    made = {}
    for cut in range(start + 2, len(data)):
        made[f"cut-{cut}"] = data[:cut] if cut >= len(old) else data[:cut] + old[cut:]
        made[f"nul-{cut}"] = data[:cut] + b"\0" * (len(data) - cut)
    made["tail"] = data + b"\0" * 512
    made["short"] = data[: start + 3]
    return made


def test_record_torn_after_one_byte_loses_no_event(desk: Desk) -> None:
    """A write that ended after its first byte, the comma, cost no event (P4)."""
    path = done(desk)
    data = path.read_bytes()
    start = data.rindex(b",\n  {")
    path.write_bytes(data[:start] + b"," + record.CLOSING[1:])
    look(desk, repair=True)
    assert desk.events(DONE, "job1.json") == ["enqueued", "started"]


@pytest.mark.parametrize("state", [DONE, DLQ])
def test_torn_records_are_cut_back_and_kept(desk: Desk, state: str) -> None:
    """A record that is torn at any byte of its last event is whole again, and as it was it is in rejected/ (P4, P6)."""
    path = done(desk, "job-------") if state == DONE else dead(desk, "job-------")
    data = path.read_bytes()
    path.unlink()
    problems = []
    for name, torn in torn_versions(data).items():
        job_id = f"{name:-<10.10}"
        write_drop(desk.spool, f"{job_id}.json", torn.replace(b"job-------", job_id.encode(), 1), state)
        problems.append(("torn", f"{state}/{job_id}.json"))
    mended(desk, sorted(problems))
    events = [event.event for event in record.decode(data).history]
    for _, torn_path in problems:
        name = torn_path.partition("/")[2]
        assert desk.events(state, name) in (events, events[:-1])
        assert desk.record(state, name).command == "true"
        reason = Path(desk.spool.reason_path(name.replace(".json", ".torn.json"))).read_text()
        assert torn_path in reason


def test_torn_waiting_record_is_repaired_once_it_is_quiet(desk: Desk) -> None:
    """A torn record in pending/ may still be arriving: it is let be until it has been quiet for settle_s."""
    path = Path(desk.spool.path(PENDING, desk.enqueue(id="job1")))
    path.write_bytes(path.read_bytes()[:-20])
    assert look(desk, repair=True).findings == []
    age(path, desk.settings.settle_s + 5)
    mended(desk, [("torn", "pending/job1.json")])
    assert desk.record(PENDING, "job1.json").id == "job1"


def test_torn_run_is_repaired_and_goes_on(desk: Desk) -> None:
    """A run whose worker died while it recorded the end is cut back, kept, and counted as abandoned (P4, P5)."""
    desk.start(desk.enqueue(id="job1"))
    path = Path(desk.spool.path(RUNNING, "job1.json"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-6] + b',\n  {"at": "2027-01-1')
    desk.die()
    repaired = mended(desk, [("torn", "running/job1.json")])
    assert [each.code for each in repaired.findings if each.severity == PROBLEM] == ["torn", "orphan"]
    assert desk.events(PENDING, "job1.json") == ["enqueued", "started", "abandoned"]
    assert (Path(desk.spool.folder(REJECTED)) / "job1.torn.json").read_bytes().startswith(whole[:-6])


def test_damage_with_events_behind_it_takes_a_person(desk: Desk) -> None:
    """Where whole events stand behind the damage they are out of the record, so somebody has to look at the copy."""
    path = dead(desk)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"event": "started"', b'"event": "star\0\0\0"'))
    mended(desk, [("torn", "dlq/job1.json")], ends=PERSON)
    assert desk.events(DLQ, "job1.json") == ["enqueued"]


# ------------------------------------------------------------------------------------------------------- no records


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data + b"\n",
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: json.dumps(dict(reversed(json.loads(data).items())), indent=4).encode(),
    ],
    ids=["crlf", "bom", "newline", "one-line", "order"],
)
def test_edited_record_is_laid_out_anew(desk: Desk, edit: Callable[[bytes], bytes]) -> None:
    """A record that an editor saved in another layout can be retried again; its keys and its history stay."""
    path = dead(desk)
    old = json.loads(path.read_bytes())
    path.write_bytes(edit(path.read_bytes()))
    mended(desk, [("edited", "dlq/job1.json")])
    assert desk.document(DLQ, "job1.json") == old
    assert record.is_framed(path.read_bytes())


def test_edit_that_is_wrong_is_left_to_the_editor(desk: Desk) -> None:
    """A record that a person made invalid is told and not touched."""
    path = dead(desk)
    path.write_bytes(path.read_bytes().replace(b'"max_retries": 0', b'"max_retries": "none"'))
    found = look(desk, repair=True)
    assert told(found) == [("invalid", "dlq/job1.json")]
    assert verdict(found.findings) == PERSON
    assert "max_retries" in found.findings[0].text
    assert look(desk, repair=True).findings == found.findings


@pytest.mark.parametrize("data", [b"", b"\0" * 700, b"\xff\xfe\xfd", b'{\n "format": 1,\n "id": "job1",\n "comm'])
def test_destroyed_record_is_kept_in_rejected(desk: Desk, data: bytes) -> None:
    """What nothing can be saved of is kept beside a reason, and a person is told once (P6)."""
    dead(desk).write_bytes(data)
    mended(desk, [("damaged", "dlq/job1.json")], ends=PERSON)
    assert (Path(desk.spool.folder(REJECTED)) / "job1.json").read_bytes() == data
    assert "nothing in it can be saved" in Path(desk.spool.reason_path("job1.json")).read_text()


def test_what_is_not_ours_is_listed_and_left(desk: Desk) -> None:
    """Foreign files, also such that look like jobs, and records of a later format are left alone (P11)."""
    for state in (RUNNING, DONE, DLQ, PENDING):
        os.mkdir(desk.spool.path(state, "folder.json"))
        write_drop(desk.spool, "notes.txt", b"mine", state)
    for name, data in {
        "list.json": b"[1, 2]",
        "plain.json": b'{"command": "true"}',
        "later.json": b'{"format": 3, "id": "later", "history": [{"at": "x", "event": "y"}]}',
        "many.jsonl": b'{"command": "true"}\n',
    }.items():
        write_drop(desk.spool, name, data, DONE)
    before = contents(desk.spool)
    found = look(desk, repair=True)
    assert told(found) == []
    foreign = [f"{state}/{name}" for state in STATES for name in ("folder.json", "notes.txt")]
    foreign += ["done/list.json", "done/many.jsonl", "done/plain.json"]
    assert told(found, INFO) == [*sorted(("foreign", path) for path in foreign), ("later", "done/later.json")]
    assert contents(desk.spool) == before


@posix_only
def test_unreadable_record_takes_a_person(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that cannot be read is told, with why."""
    path = str(dead(desk))
    real = files.read

    def refuse(target: str, max_bytes: int, **options: Any) -> files.Content:
        if target == path:
            raise PermissionError(13, "Permission denied", target)
        return real(target, max_bytes, **options)

    monkeypatch.setattr(files, "read", refuse)
    found = look(desk, repair=True)
    assert told(found) == [("unreadable", "dlq/job1.json")]
    assert "Permission denied" in found.findings[0].text
    assert verdict(found.findings) == PERSON


# ----------------------------------------------------------------------------------------------------- names and places


@pytest.mark.parametrize("make", [done, dead])
def test_wrong_name_is_made_the_record_s(desk: Desk, make: Callable[[Desk], Path]) -> None:
    """In done/ and dlq/ a file is named as its record's id says, so that it can be found by it."""
    path = make(desk)
    wrong = path.with_name("other.json")
    path.rename(wrong)
    mended(desk, [("name", f"{wrong.parent.name}/other.json")])
    assert path.exists()


def test_waiting_file_of_another_name_is_named_by_its_record(desk: Desk) -> None:
    """A record dropped under another name is no fault, since a claim goes by the record; it is renamed all the same."""
    path = Path(desk.spool.path(PENDING, desk.enqueue(id="job1", priority=3)))
    path.rename(path.with_name("copy.json"))
    found = look(desk)
    assert told(found) == []
    assert told(found, INFO) == [("drop", "pending/copy.json")]
    look(desk, repair=True)
    assert listing(desk.spool) == {"pending": ["job1,prio=3.json"]}
    assert look(desk).findings == []


@pytest.mark.parametrize(
    "wrong",
    ["job1.json", "job1,prio=4.json", "job1,due=20380101T000000Z,prio=4.json", "job1,due=20270115T080100Z.json"],
)
def test_flags_that_are_not_the_record_s_are_put_right(desk: Desk, wrong: str) -> None:
    """A waiting file's name says when its job is due and how urgent it is, or the job would wait for nothing (P8)."""
    name = desk.enqueue(id="job1", delay=60, priority=5)
    os.rename(desk.spool.path(PENDING, name), desk.spool.path(PENDING, wrong))
    mended(desk, [("flags", f"pending/{wrong}")])
    assert listing(desk.spool) == {"pending": [name]}


def test_owner_that_only_the_name_gives_is_put_right(desk: Desk) -> None:
    """No job runs in the turn of somebody whose it is not; one without its owner in the name is no fault."""
    name = desk.enqueue(id="job1", owner="anna")
    os.rename(desk.spool.path(PENDING, name), desk.spool.path(PENDING, "job1,by=bob.json"))
    mended(desk, [("flags", "pending/job1,by=bob.json")])
    assert listing(desk.spool) == {"pending": [name]}
    os.rename(desk.spool.path(PENDING, name), desk.spool.path(PENDING, "job1.json"))
    assert look(desk).findings == []


def test_job_that_waits_for_a_clock_that_was_set_back_is_let_go(desk: Desk) -> None:
    """A job never waits for longer than its own delay, whatever its name says."""
    name = desk.enqueue(id="job1", delay=60)
    desk.clock.now_at -= 86400
    mended(desk, [("flags", f"pending/{name}")])
    assert listing(desk.spool) == {"pending": ["job1.json"]}


def test_outcome_and_folder_that_differ(desk: Desk) -> None:
    """A finished job in dlq/, or a dead one in done/, goes where its outcome leads (P4)."""
    path = done(desk)
    path.rename(desk.spool.path(DLQ, path.name))
    path = dead(desk, "job2")
    path.rename(desk.spool.path(DONE, path.name))
    mended(desk, [("misplaced", "dlq/job1.json"), ("misplaced", "done/job2.json")])
    assert listing(desk.spool) == {"done": ["job1.json"], "dlq": ["job2.json"]}


def test_record_that_lost_its_end_stays_where_it_is(desk: Desk) -> None:
    """A power cut may take the outcome and not the move: the folder counts, and nothing is run again (P2)."""
    path = done(desk)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b",\n  {")] + record.CLOSING)
    found = look(desk, repair=True)
    assert verdict(found.findings) == CLEAN
    assert told(found, INFO) == [("parked", "done/job1.json")]
    assert listing(desk.spool) == {"done": ["job1.json"]}


def test_requeue_that_was_cut_short_is_told(desk: Desk) -> None:
    """A crash between the two steps of a requeue leaves the job dead; the note says how to do it again."""
    path = dead(desk)
    data = path.read_bytes()
    tail = record.append(len(data), [history.event("requeued", desk.clock.now(), by="dlq retry")])
    path.write_bytes(tail.on(data))
    found = look(desk, repair=True)
    assert told(found, INFO) == [("parked", "dlq/job1.json")]
    assert "queuectl retry job1" in found.findings[0].text
    assert verdict(found.findings) == CLEAN


# ------------------------------------------------------------------------------------------------------ left by workers


def test_what_dead_workers_left_in_running_goes_on(desk: Desk) -> None:
    """With no pool there, a check does what rescue does: put back, move, count as abandoned (P5)."""
    desk.start(desk.enqueue(id="job1"))
    desk.start(desk.enqueue(id="job2"))
    path = Path(desk.spool.path(RUNNING, "job2.json"))
    data = path.read_bytes()
    event = history.event("succeeded", desk.clock.now(), attempt=1, exit_code=0, to=DONE)
    tail = record.append(len(data), [event])
    path.write_bytes(tail.on(data))
    name = desk.enqueue(id="job3")
    os.rename(desk.spool.path(PENDING, name), desk.spool.path(RUNNING, name))
    write_drop(desk.spool, "job4.json", {"command": "true"}, RUNNING)
    desk.lease.close()  # a held lease might be that of the drop
    mended(desk, [("orphan", f"running/job{number}.json") for number in (1, 2, 3, 4)])
    assert listing(desk.spool) == {"done": ["job2.json"], "pending": ["job1.json", "job3.json", "job4.json"]}
    assert desk.events(PENDING, "job1.json") == ["enqueued", "started", "abandoned"]
    desk.lease = Lease(desk.spool, "w3")


def test_running_job_is_not_touched(desk: Desk) -> None:
    """A job whose lease is held is alive, also where its record was edited or is being written (P3, P5)."""
    desk.start(desk.enqueue(id="job1"))
    desk.start(desk.enqueue(id="job2"))
    desk.start(desk.enqueue(id="job3"))
    Path(desk.spool.path(RUNNING, "job2.json")).write_bytes(b'{"id": "job2", "command": "edited"}')
    path = Path(desk.spool.path(RUNNING, "job3.json"))
    path.write_bytes(path.read_bytes()[:-6] + b',\n  {"at": "2027-')
    desk.start(desk.enqueue(id="job4"))
    write_drop(desk.spool, "job4.json", Path(desk.spool.path(RUNNING, "job4.json")).read_bytes(), DONE)
    before = contents(desk.spool)
    found = look(desk, repair=True)
    assert (found.findings, found.skipped) == ([], ["job2", "job3", "job4"])
    assert contents(desk.spool) == before


def test_job_whose_stripe_is_taken_is_not_touched(desk: Desk) -> None:
    """Whoever holds an id's stripe is at work on it; it is named as not judged (P3)."""
    path = done(desk)
    path.rename(path.with_name("other.json"))
    stripe = desk.stripes.of("job1")
    assert stripe.try_acquire()
    found = look(desk, repair=True)
    stripe.release()
    assert (found.findings, found.skipped) == ([], ["job1"])
    assert listing(desk.spool) == {"done": ["other.json"]}


def test_file_that_moves_meanwhile_is_no_finding(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is seen in one place and then in another was in flight and not in two places (P2)."""
    done(desk)
    real = SpoolDir.job_names

    def late(self: SpoolDir, state: str) -> list[str]:
        return [*real(self, state), *(["job1.json"] if state == RUNNING else [])]

    monkeypatch.setattr(SpoolDir, "job_names", late)
    found = look(desk, repair=True)
    assert (found.findings, found.skipped) == ([], [])


def test_run_that_is_settled_under_the_look_is_no_finding(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker settles without a stripe: what was read and has moved since is looked at again, and is well (P2)."""
    claimed = desk.start(desk.enqueue(id="job1"))
    desk.settlements.settle(claimed, OK)
    data = Path(desk.spool.path(DONE, "job1.json")).read_bytes()
    os.rename(desk.spool.path(DONE, "job1.json"), desk.spool.path(RUNNING, "job1.json"))  # on record, and not moved yet
    desk.die()
    reads = []
    real = files.read

    def read(target: str, max_bytes: int, **options: Any) -> files.Content:
        content = real(target, max_bytes, **options)
        reads.append(target)
        if len(reads) == 2:
            os.rename(target, desk.spool.path(DONE, "job1.json"))
        return content

    monkeypatch.setattr(files, "read", read)
    found = look(desk, repair=True)
    assert (told(found), found.skipped) == ([], [])
    assert Path(desk.spool.path(DONE, "job1.json")).read_bytes() == data


def test_repair_that_the_disk_refuses_is_told_and_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk a torn record stays as it is, and the finding says why it was not repaired (P9)."""
    path = dead(desk)
    path.write_bytes(path.read_bytes()[:-20])
    before = contents(desk.spool)
    monkeypatch.setattr(disk, "create", full_disk)
    found = look(desk, repair=True)
    assert [(each.code, each.repaired, each.needs_person) for each in found.findings] == [("torn", False, True)]
    assert "No space left" in found.findings[0].text
    assert contents(desk.spool) == before


# ----------------------------------------------------------------------------------------------------------- two of one


def test_copy_of_a_job_is_set_aside(desk: Desk) -> None:
    """Of two copies the one with more history stays, the other is kept in rejected/ (P2, P7)."""
    name = desk.enqueue(id="job1")
    first = Path(desk.spool.path(PENDING, name)).read_bytes()
    desk.run(name, OK)
    write_drop(desk.spool, "job1.json", first)
    write_drop(desk.spool, "job1.json", Path(desk.spool.path(DONE, "job1.json")).read_bytes(), DLQ)
    mended(desk, [("duplicate", "dlq/job1.json"), ("duplicate", "pending/job1.json")])
    assert desk.events(DONE, "job1.json")[-1] == "succeeded"
    found = listing(desk.spool)
    assert list(found) == ["done", "rejected"]
    assert len(found["rejected"]) == 4


@pytest.mark.parametrize("outcome", [OK, FAILED])
def test_a_copy_that_is_to_run_again_is_no_fault(desk: Desk, outcome: Outcome) -> None:
    """A job that has ended may be copied to pending/: no problem before the copy runs, and two jobs after it (P7)."""
    path = done(desk, "job1", outcome, max_retries=0)
    write_drop(desk.spool, "job1.json", path.read_bytes())
    before = contents(desk.spool)
    assert told(look(desk, repair=True), INFO) == [("copy", "pending/job1.json")]
    assert verdict(look(desk, repair=True).findings) == CLEAN
    assert contents(desk.spool) == before
    desk.run("job1.json", OK)
    assert look(desk, repair=True).findings == []


def test_later_copy_under_a_longer_name_takes_its_name_back(desk: Desk) -> None:
    """Of a finished job and its own later record the later one stays, under its own name (P7)."""
    path = done(desk)
    first = path.read_bytes()
    Spool(desk.spool.root).requeue("job1")
    desk.run("job1.json", OK)
    path.rename(path.with_name("job1-7k3f.json"))
    path.write_bytes(first)
    mended(desk, [("duplicate", "done/job1.json"), ("name", "done/job1-7k3f.json")])
    assert desk.events(DONE, "job1.json").count("succeeded") == 2


def test_two_jobs_of_one_id_are_both_kept(desk: Desk) -> None:
    """Of two different jobs with one id the second goes on under another, and says so; both keep everything (P7)."""
    path = done(desk, command="echo first")
    other = path.read_bytes().replace(b"echo first", b"echo other")
    write_drop(desk.spool, "job1.json", other, DLQ)
    write_drop(desk.spool, "job1.json", other.replace(b"other", b"third"))
    before = contents(desk.spool)
    found = look(desk)
    assert told(found) == [("duplicate", "dlq/job1.json")]
    assert told(found, INFO) == [("copy", "pending/job1.json")]
    assert contents(desk.spool) == before
    assert verdict(look(desk, repair=True).findings) == REPAIRED
    again = look(desk, repair=True)
    assert verdict(again.findings) == CLEAN
    desk.run("job1.json", OK)
    kept = [desk.record(state, name) for state, listed in listing(desk.spool).items() for name in listed]
    assert sorted(str(item.command) for item in kept) == ["echo first", "echo other", "echo third"]
    assert len({item.id for item in kept}) == 3
    for item in kept:
        assert [event.event for event in item.history][:3] == ["enqueued", "started", "succeeded"]
        assert item.id == "job1" or any("'job1' is in use" in event.text for event in item.history)


def test_new_id_is_nobody_s(desk: Desk) -> None:
    """The id that a second job is given is one that the spool holds nowhere (P7)."""
    path = done(desk, command="echo first")
    other = path.read_bytes().replace(b"echo first", b"echo other")
    write_drop(desk.spool, "job1-x.json", other, DONE)
    done(desk, "job1-x", FAILED, max_retries=0)
    assert verdict(look(desk, repair=True).findings) == REPAIRED
    assert verdict(look(desk, repair=True).findings) == CLEAN
    assert {name for names_ in listing(desk.spool).values() for name in names_} >= {"job1.json", "job1-x.json"}
    assert len(listing(desk.spool)["done"]) == 2


@posix_only
def test_second_name_of_one_file_is_unlinked(desk: Desk) -> None:
    """Two names of one inode are one file: one name goes, no byte with it (P2)."""
    path = done(desk)
    os.link(path, desk.spool.path(PENDING, "job1.json"))
    mended(desk, [("duplicate", "pending/job1.json")])
    assert listing(desk.spool) == {"done": ["job1.json"]}


@posix_only
def test_ids_that_differ_in_case_are_told(desk: Desk) -> None:
    """Where the file system tells cases apart they are two jobs; the note says that elsewhere they are one."""
    done(desk)
    done(desk, "JOB1")
    found = look(desk, repair=True)
    assert [code for code, _ in told(found, INFO)] == ["case"]
    assert verdict(found.findings) == CLEAN


# --------------------------------------------------------------------------------------------------------------- tmp/


def leave(desk: Desk, job_id: str, data: bytes, *, old: bool = True) -> Path:
    """A file in tmp/ as a dead producer leaves it."""
    path = Path(desk.spool.write_temporary(job_id, data, sync=False))
    if old:
        age(path)
    return path


def test_young_writes_are_somebody_s(desk: Desk) -> None:
    """What was written within the hour may be being published: it is not even told."""
    leave(desk, "job1", b"{", old=False)
    leave(desk, "job2", desk.producer.prepare({"command": "true"}, by="enqueue").data, old=False)
    before = contents(desk.spool)
    assert look(desk, repair=True).findings == []
    assert contents(desk.spool) == before


def test_job_that_was_never_accepted_is_kept(desk: Desk) -> None:
    """A whole job in tmp/ that the spool has nowhere was never acknowledged, and is kept in rejected/ (P1)."""
    data = desk.producer.prepare({"id": "job1", "command": "true"}, by="enqueue").data
    leave(desk, "job1", data)
    found = look(desk, repair=True)
    assert [code for code, _ in told(found, INFO)] == ["unfinished"]
    assert verdict(found.findings) == CLEAN
    assert Path(desk.spool.path(REJECTED, "job1.json")).read_bytes() == data
    assert os.listdir(desk.spool.tmp_dir) == []
    assert look(desk, repair=True).findings == []


def test_unfinished_writes_are_told_and_deleted_by_a_repair_only(desk: Desk) -> None:
    """Half a job, an empty file and a copy of a job that is there were never acknowledged (P1)."""
    path = Path(desk.spool.path(PENDING, desk.enqueue(id="job1")))
    left = [leave(desk, "job1", path.read_bytes()), leave(desk, "job2", b'{\n "format"'), leave(desk, "settings", b"")]
    assert [code for code, _ in told(look(desk), INFO)] == ["unfinished"] * 3
    assert all(each.exists() for each in left)
    look(desk, repair=True)
    assert os.listdir(desk.spool.tmp_dir) == []
    assert listing(desk.spool) == {"pending": ["job1.json"]}


@posix_only
def test_half_publication_is_finished(desk: Desk) -> None:
    """A producer that died between link and unlink left the job twice named: the name in tmp/ goes (P1)."""
    path = desk.spool.path(PENDING, desk.enqueue(id="job1"))
    temporary = desk.spool.tmp_path("job1.4711-abcdefgh")
    os.link(path, temporary)
    assert look(desk).findings == []
    age(path)
    assert "second name of pending/job1.json" in look(desk).findings[0].text
    assert os.path.exists(temporary)
    assert [each.repaired for each in check.quick(desk.session)] == [True]
    assert not os.path.exists(temporary)
    assert look(desk).findings == []


def test_old_write_of_a_stopped_claimer_is_left(desk: Desk) -> None:
    """A worker that was stopped with a stripe in its hand goes on some day: what it wrote stays (P3)."""
    path = leave(desk, "job1", b"{")
    stripe = desk.stripes.of("job1")
    assert stripe.try_acquire()
    assert look(desk, repair=True).findings == []
    stripe.release()
    assert path.exists()


def test_output_of_a_dead_worker_becomes_a_log(desk: Desk) -> None:
    """What a job printed is kept: as its log where a record tells whose it is (P6)."""
    desk.start(desk.enqueue(id="job1"))
    lease = desk.lease.name
    Path(desk.spool.output_path(lease)).write_bytes(b"printed")
    os.rename(desk.spool.path(RUNNING, "job1.json"), desk.spool.path(PENDING, "job1.json"))  # dragged out by hand
    assert look(desk, repair=True).findings == []
    desk.die()
    Path(desk.spool.output_path("gone.0")).write_bytes(b"whose?")
    Path(desk.spool.output_path("gone.1")).write_bytes(b"")
    found = look(desk, repair=True)
    outputs = {os.path.basename(each.path): each.repaired for each in found.findings if each.code == "output"}
    assert outputs == {f"{lease}.out": True, "gone.0.out": False, "gone.1.out": True}
    assert Path(desk.spool.log_path("job1", 1)).read_bytes() == b"printed"
    assert os.listdir(desk.spool.tmp_dir) == ["gone.0.out"]


def test_output_of_an_orphan_is_kept_by_its_rescue(desk: Desk) -> None:
    """A run that is rescued by a check keeps what it printed (P5)."""
    desk.start(desk.enqueue(id="job1"))
    Path(desk.spool.output_path(desk.lease.name)).write_bytes(b"printed")
    desk.die()
    mended(desk, [("orphan", "running/job1.json")])
    assert Path(desk.spool.log_path("job1", 1)).read_bytes() == b"printed"


# ---------------------------------------------------------------------------------------------------------- machinery


def test_leases_and_pools_that_are_gone_are_taken_away(desk: Desk) -> None:
    """Files of dead workers and pools are told, and deleted by a repair; live ones stay (P5)."""
    for path in (
        desk.spool.lease_path("gone.0"),
        f"{desk.spool.pool_dir}/gone.json",
        f"{desk.spool.pool_dir}/gone.stop",
        f"{desk.spool.pool_dir}/gone.lock",
    ):
        Path(path).write_bytes(b"{}")
    Path(f"{desk.spool.pool_dir}/ended.stopped").write_bytes(b"{}")
    found = look(desk, repair=True)
    assert [code for code, _ in told(found, INFO)] == ["lease", "pool", "pool", "pool"]
    assert os.listdir(desk.spool.pool_dir) == ["ended.stopped"]
    assert os.path.exists(desk.spool.lease_path(desk.lease.name))
    age(f"{desk.spool.pool_dir}/ended.stopped")
    assert [code for code, _ in told(look(desk, repair=True), INFO)] == ["pool"]
    assert os.listdir(desk.spool.pool_dir) == []


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_what_is_no_file_among_the_pools_stops_nobody(desk: Desk) -> None:
    """P11: folders and dead links with the names of pools' files are noted and left; pools work beside them."""
    folder = Path(desk.spool.pool_dir)
    for kind in ("lock", "json", "stop", "stopped"):
        (folder / f"folder.{kind}").mkdir()
        (folder / f"link.{kind}").symlink_to("nothing")
    assert sweep_pools(desk.spool) == 0
    pool = Pool(desk.session, count=1, cwd="/")
    pool.enter()
    assert [info.pool for info in pools.live(desk.spool)] == [pool.name]
    pool.leave(pools.StopSummary([], 0), clean=True)
    for kind in ("lock", "json", "stop", "stopped"):
        age(f"{folder}/folder.{kind}")
    assert {code for code, _ in told(look(desk, repair=True), INFO)} == {"foreign"}
    assert (folder / "folder.lock").is_dir()


def test_sign_of_an_unclean_end_stays_for_the_next_pool(desk: Desk) -> None:
    """A dead pool's record makes the next pool look for torn records: only a check of all of them takes it away."""
    path = Path(f"{desk.spool.pool_dir}/gone.json")
    path.write_bytes(b"{}")
    assert told(look(desk, repair=True, names_only=True), INFO) == [("pool", ".queuectl/pools/gone.json")]
    assert path.exists()
    look(desk, repair=True)
    assert not path.exists()


def test_lease_that_a_running_record_names_stays(desk: Desk) -> None:
    """A lease is a proof: it is not taken away while a record names it (P5)."""
    desk.start(desk.enqueue(id="job1"))
    lease = desk.lease.name
    desk.die()
    stripe = desk.stripes.of("job1")
    assert stripe.try_acquire()  # somebody is at it, so it stays in running/
    assert look(desk, repair=True).findings == []
    stripe.release()
    assert os.path.exists(desk.spool.lease_path(lease))


def test_live_pool_is_left_to_its_own_work(desk: Desk) -> None:
    """Beside a live pool its files, its leases and its unfinished batches are no findings (P5)."""
    pool = Pool(desk.session, count=1, cwd="/")
    pool.enter()
    pools.request_stop(desk.spool, pool.name, now=False)
    Path(desk.spool.lease_path("gone.0")).write_bytes(b"")
    write_drop(desk.spool, "../.queuectl/taken/batch-1.json", [{"command": "true"}])
    try:
        assert look(desk, repair=True).findings == []
    finally:
        pool.leave(pools.StopSummary([], 0), clean=True)


def test_orphan_is_a_live_pool_s_to_rescue_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a live pool a dead worker's job is let be for the second that its rescue may take, and then told (P5)."""
    pool = Pool(desk.session, count=1, cwd="/")
    pool.enter()
    desk.start(desk.enqueue(id="job1", max_retries=0))
    desk.die()
    assert told(look(desk)) == [("orphan", "running/job1.json")]
    monkeypatch.setattr(examination.time, "sleep", lambda _: desk.orphans.rescue("job1.json"))
    assert look(desk, repair=True).findings == []
    assert listing(desk.spool) == {"dlq": ["job1.json"]}
    pool.leave(pools.StopSummary([], 0), clean=True)


def test_batch_that_was_cut_short_is_finished(desk: Desk) -> None:
    """A file of many jobs whose split ended in the middle is split to its end (P1)."""
    write_drop(desk.spool, "../.queuectl/taken/batch-1.json", [{"command": "true"}, {"command": "false"}])
    mended_findings = look(desk, repair=True).findings
    assert [(each.code, each.repaired) for each in mended_findings] == [("batch", True)]
    assert listing(desk.spool) == {"pending": ["batch-1-0001.json", "batch-1-0002.json"]}
    assert look(desk).findings == []


def test_rejected_files_and_reasons(desk: Desk) -> None:
    """A rejected file without a text gets one; a text without its file is only told (P6)."""
    write_drop(desk.spool, "lonely.json", b"{", REJECTED)
    write_drop(desk.spool, "moved.json.reason.txt", b"why", REJECTED)
    repaired = mended(desk, [("unexplained", "rejected/lonely.json")])
    assert ("reason", "rejected/moved.json.reason.txt") in told(repaired, INFO)
    assert "somebody put the file here" in Path(desk.spool.reason_path("lonely.json")).read_text()


def test_logs_without_a_job_are_kept(desk: Desk) -> None:
    """Logs are told in one finding and never deleted; a pool's own log is none of a job."""
    done(desk)
    for name in ("job1.1.log", "gone.1.log", "gone.2.log", "pool-20270115-080000-1.log"):
        write_drop(desk.spool, name, b"x", "logs")
    found = look(desk, repair=True)
    assert told(found, INFO) == [("log", "logs")]
    assert "2 logs and results of jobs" in found.findings[0].text
    assert len(os.listdir(desk.spool.folder("logs"))) == 4


def test_clocks_that_were_wrong_are_told(desk: Desk) -> None:
    """Events of the future and events that go back by more than an hour are noted, all in one finding a folder."""
    done(desk, "job1")
    done(desk, "job2")
    desk.clock.now_at -= 7200
    found = look(desk)
    assert told(found, INFO) == [("clock", "done")]
    assert "2 records" in found.findings[0].text
    name = desk.enqueue(id="job3")
    desk.clock.now_at -= 86400
    desk.run(name, OK)
    desk.clock.now_at += 864000
    assert "long before" in look(desk).findings[0].text
    assert verdict(look(desk).findings) == CLEAN


# ---------------------------------------------------------------------------------------------------------- the folder


def test_missing_folders_are_made_by_a_repair(desk: Desk) -> None:
    """A clone keeps no empty folders: whoever only looks makes none."""
    shutil.rmtree(desk.spool.folder(DLQ))
    os.rmdir(desk.spool.taken_dir)
    for repair in (False, True):
        found = look(desk, repair=repair)
        assert told(found, INFO) == [("folder", ".queuectl/taken"), ("folder", "dlq")]
        assert os.path.isdir(desk.spool.folder(DLQ)) == repair
    assert look(desk).findings == []


def test_settings_that_are_wrong_take_a_person(desk: Desk) -> None:
    """A mistake in queuectl.toml is told with its key, and the rest of the spool is checked all the same."""
    Path(desk.spool.settings_path).write_text("max_retries = -1\n")
    path = done(desk)
    path.rename(path.with_name("other.json"))
    found = look(desk)
    assert told(found) == [("name", "done/other.json"), ("settings", settings.SETTINGS_NAME)]
    assert "max_retries" in found.findings[0].text
    assert verdict(found.findings) == PERSON


@posix_only
def test_spool_that_others_can_write_to_takes_a_person(desk: Desk) -> None:
    """Who may write may run: the finding says what closes it, and nothing is changed by itself (P10)."""
    os.chmod(desk.spool.folder(PENDING), 0o777)
    found = look(desk, repair=True)
    assert told(found) == [("trust", PENDING)]
    assert "chmod" in found.findings[0].text
    assert os.stat(desk.spool.folder(PENDING)).st_mode & 0o777 == 0o777


def test_stripe_that_cannot_be_locked_takes_a_person(desk: Desk) -> None:
    """A folder in the place of one of the 64 lock files stops one 64th of the ids, and is told (P3)."""
    path = desk.spool.stripe_path(names.stripe_of("job1"))
    os.mkdir(path)
    found = look(desk, repair=True)
    assert [code for code, _ in told(found)] == ["stripe"]
    assert [each.code for each in check.quick(desk.session)] == ["stripe"]


@posix_only
def test_folder_on_another_file_system_takes_a_person(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs move by rename, so all folders are on one file system."""
    real = os.stat

    def elsewhere(path: Any, **options: Any) -> Any:
        info = real(path, **options)
        if str(path) == desk.spool.folder(DLQ):
            return os.stat_result((*info[:2], info.st_dev + 1, *info[3:10]))
        return info

    monkeypatch.setattr(os, "stat", elsewhere)
    assert told(look(desk)) == [("file-system", DLQ)]


# ------------------------------------------------------------------------------------------------------- cheap forms


def test_names_only_opens_no_finished_job(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With names alone a clash is found, and of all finished jobs only those that clash are opened."""
    done(desk, "job1")
    done(desk, "job2")
    path = done(desk, "job3")
    write_drop(desk.spool, "job3.json", path.read_bytes(), DLQ)
    opened: list[str] = []
    real = files.read

    def read(target: str, max_bytes: int, **options: Any) -> files.Content:
        opened.append(os.path.relpath(target, desk.spool.root).replace(os.sep, "/"))
        return real(target, max_bytes, **options)

    monkeypatch.setattr(files, "read", read)
    assert told(look(desk, names_only=True)) == [("duplicate", "dlq/job3.json")]
    assert {name for name in opened if name.endswith(".json")} == {"dlq/job3.json", "done/job3.json"}


def test_quick_looks_at_no_job_and_repairs_nothing_that_is_not_twice_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that starts says in one line a kind what a check would, and only looks into tmp/."""
    done(desk, "job1").write_bytes(b"torn")
    for number in range(3):
        leave(desk, f"job{number}", b"half")
    before = contents(desk.spool)
    monkeypatch.setattr(SpoolDir, "job_names", lambda *_: pytest.fail("a folder of jobs was listed"))
    (found,) = check.quick(desk.session)
    assert (found.severity, found.code, found.repaired) == (INFO, "unfinished", False)
    assert "(and 2 more like it)" in found.text
    assert contents(desk.spool) == before


# ----------------------------------------------------------------------------------------------------- all at once


def test_many_faults_at_once_end_clean_and_lose_nothing(desk: Desk) -> None:
    """A repair may bring the next fault to light; one call sees to all of it, and a second one finds nothing."""
    path = dead(desk, "job1")
    path.write_bytes(path.read_bytes()[:-30])
    path.rename(path.with_name("wrong.json"))
    first = Path(desk.spool.path(PENDING, desk.enqueue(id="job2")))
    data = first.read_bytes()
    desk.run("job2.json", OK)
    write_drop(desk.spool, "job2.json", data[:-3], DLQ)
    desk.start(desk.enqueue(id="job3"))
    write_drop(desk.spool, "job3.json", Path(desk.spool.path(RUNNING, "job3.json")).read_bytes(), DONE)
    desk.die()
    before = contents(desk.spool)
    assert verdict(look(desk, repair=True).findings) == REPAIRED
    after = list(contents(desk.spool).values())
    for name, held in before.items():
        assert any(kept.startswith(held.removesuffix(record.CLOSING)) for kept in after), name
    again = look(desk, repair=True)
    assert verdict(again.findings) == CLEAN, again
    assert desk.record(DLQ, "job1.json").id == "job1"
    assert desk.events(DONE, "job2.json")[-1] == "succeeded"


@posix_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="ends a forked check")
def test_a_check_that_is_killed_between_any_two_steps_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its first, second ... change of the disk, a repair leaves all bytes there and can be repeated (P6).

    All but those of an id that another job has, which a warning in the history tells.
    """
    monkeypatch.setattr(examination, "_LOOK_AGAIN_S", 0.0)
    for step in range(1, 200):
        desk = Desk(make_spool(tmp_path / str(step)))
        make_faults(desk)
        before = contents(desk.spool)
        ended = killed_at(desk, step)
        after = [without_id(data) for data in contents(desk.spool).values()]
        for name, held in before.items():
            head = without_id(held.removesuffix(record.CLOSING))
            assert any(kept.startswith(head) for kept in after), (step, name)
        if not ended:
            assert verdict(look(desk, repair=True).findings) in (CLEAN, REPAIRED, PERSON)
        again = look(desk, repair=True)
        assert verdict(again.findings) == CLEAN, (step, again)
        commands = [str(desk.record(state, name).command) for state in STATES for name in desk.spool.job_names(state)]
        assert sorted(commands) == ["echo 1", "echo 2", "echo 3", "echo 4", "echo 5"], step
        desk.close()
        if ended:
            assert step > 15
            return
    pytest.fail("the repair did not end")


def without_id(data: bytes) -> bytes:
    """A record's bytes but for its id."""
    return re.sub(rb'^(\{\n "format": 1,\n "id": ")[^"]*', rb"\1", data)


def make_faults(desk: Desk) -> None:
    """Five jobs, each of them damaged or doubled, and a record of which nothing is left."""
    path = done(desk, "job1", FAILED, max_retries=0, command="echo 1")
    path.write_bytes(path.read_bytes()[:-30])
    path.rename(path.with_name("wrong.json"))
    path = done(desk, "job2", command="echo 2")
    write_drop(desk.spool, "job2.json", path.read_bytes(), DLQ)
    write_drop(desk.spool, "job2.json", path.read_bytes().replace(b"echo 2", b"echo 3"))
    path = done(desk, "job4", command="echo 4")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    desk.start(desk.enqueue(id="job5", command="echo 5"))
    write_drop(desk.spool, "job6.json", b"\0" * 100, DLQ)
    desk.die()


def killed_at(desk: Desk, step: int) -> bool:
    """Run a repair in a process that ends at its `step`-th change of the disk; True where it ended before."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                left[0] -= 1
                if left[0] <= 0:
                    os._exit(9)
                return real(*args, **options)

            return call

        try:
            for name in ("create", "append", "move", "replace", "unlink", "publish"):
                setattr(disk, name, counted(getattr(disk, name)))
            look(desk, repair=True)
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9)
    return code == 0


def test_locks_are_given_back(desk: Desk) -> None:
    """After a check every stripe can be taken."""
    dead(desk).write_bytes(b"")
    look(desk, repair=True)
    for number in range(names.STRIPE_COUNT):
        lock = locks.FileLock(desk.spool.stripe_path(number))
        assert lock.try_acquire()
        lock.close()


def test_dashboard_is_known_and_a_folder_in_its_place_is_told(desk: Desk) -> None:
    """The files in the root are no jobs and not foreign (P11); a folder in the place of one is noted."""
    for name in BOARD:
        Path(desk.spool.root, name).write_text("{}")
    assert look(desk).findings == []
    os.unlink(os.path.join(desk.spool.root, PAGE))
    os.mkdir(os.path.join(desk.spool.root, PAGE))
    assert told(look(desk, repair=True), INFO) == [("foreign", PAGE)]
    assert os.path.isdir(os.path.join(desk.spool.root, PAGE))


def test_counts_are_known_and_other_content_in_their_place_is_noted(desk: Desk) -> None:
    """What pools count is no fault; torn counts and a folder in their place are noted, and nothing is deleted (P11)."""
    path = Path(desk.spool.counts_path)
    counts.write(desk.spool, Counts(minutes=(Row(60, 1),)))
    assert look(desk).findings == []
    path.write_bytes(path.read_bytes()[:-4])
    assert told(look(desk, repair=True), INFO) == [("counts", ".queuectl/counts")]
    path.unlink()
    path.mkdir()
    assert told(look(desk, repair=True), INFO) == [("foreign", ".queuectl/counts")]
    assert path.is_dir()
