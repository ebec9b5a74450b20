"""flow_leftovers: what check says of gates/, victims/ and unique/."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.maintenance import check
from queuectl.maintenance.findings import CLEAN, INFO, verdict
from queuectl.model.lifecycle import PENDING, Outcome
from queuectl.spool import key_notes, victims
from queuectl.spool.layout import Located, record_name
from queuectl.spool.stripes import Stripes
from queuectl.system import disk
from tests.helpers import Desk

FAILED = Outcome("failed", 1, "", 0.01)


def look(desk: Desk, *, repair: bool = False, names_only: bool = False) -> list[tuple[str, str, bool]]:
    """The notes of a check, which finds no fault: code, path, whether it was repaired."""
    found = check.run(desk.spool, repair=repair, names_only=names_only, clock=desk.clock).findings
    assert verdict(found) == CLEAN and all(each.severity == INFO for each in found)
    return [(each.code, each.path, each.repaired) for each in found]


@pytest.fixture
def unmet(desk: Desk) -> Desk:
    """Job b is dead because a is, and c waits for somebody else."""
    first = desk.enqueue(id="a", max_retries=0)
    desk.enqueue(id="b", after="a")
    desk.enqueue(id="z")
    desk.enqueue(id="c", after="z")
    desk.run(first, FAILED)
    desk.claim("b,after=a.json")
    assert os.path.isfile(desk.spool.victim_path("a", "b"))
    return desk


def test_notes_about_the_dead_are_well(unmet: Desk) -> None:
    """A note says why its job is dead, and a repair keeps it, because it brings the job back (P13)."""
    assert look(unmet) == look(unmet, repair=True) == []
    assert victims.children(unmet.spool, "a") == ["b"]


def test_void_notes_are_told_and_deleted(unmet: Desk) -> None:
    """A note about a job that waits, is gone, or died of somebody else; only where records are read."""
    for parent, child in (("a", "c"), ("a", "nobody"), ("z", "b")):
        victims.note(unmet.spool, parent, child)
    void = [(".queuectl/victims/a", "c"), (".queuectl/victims/a", "nobody"), (".queuectl/victims/z", "b")]
    assert look(unmet, names_only=True) == []
    assert look(unmet) == [("victim", f"{folder}/{child}", False) for folder, child in void]
    assert look(unmet, repair=True) == [("victim", f"{folder}/{child}", True) for folder, child in void]
    assert look(unmet) == []
    assert victims.children(unmet.spool, "a") == ["b"] and victims.parents(unmet.spool) == ["a"]


def test_a_job_that_somebody_works_on_keeps_its_note(unmet: Desk) -> None:
    """Whoever holds the stripe may be about to put the end on record: the note comes first."""
    victims.note(unmet.spool, "z", "c")
    stripes = Stripes(unmet.spool)
    assert stripes.of("c").try_acquire()
    assert look(unmet, repair=True) == []
    stripes.close()
    assert look(unmet, repair=True) == [("victim", ".queuectl/victims/z/c", True)]


def test_an_end_on_record_before_its_move_keeps_its_note(unmet: Desk) -> None:
    """After a crash between the event and the move to dlq/ the note is needed, wherever the file is."""
    spool = unmet.spool
    spool.move(Located("dlq", "b.json", spool.path("dlq", "b.json")), PENDING, record_name("b"))
    found = check.run(spool, repair=True, names_only=False, clock=unmet.clock).findings
    assert "victim" not in {each.code for each in found}
    assert victims.children(spool, "a") == ["b"]


def test_files_of_others_are_listed_and_left(unmet: Desk) -> None:
    """In gates/ and victims/: what belongs to no queue, and what is no note (P11)."""
    spool = unmet.spool
    gates = Path(spool.gate_dir)
    gates.mkdir()
    for name in ("mail", "mail.lock", "Mail.txt", ".DS_Store"):
        (gates / name).write_bytes(b"x")
    (gates / "fax").mkdir()
    (Path(spool.victims_dir) / "notes.txt").write_bytes(b"x")
    (Path(spool.victims_dir) / "a" / "b.txt~").write_bytes(b"x")
    disk.make_folder(str(Path(spool.victims_dir) / "a" / "folder"))
    foreign = [".queuectl/gates/.DS_Store", ".queuectl/gates/Mail.txt", ".queuectl/gates/fax"]
    foreign += [f".queuectl/victims/{name}" for name in ("a/b.txt~", "a/folder", "notes.txt")]
    assert look(unmet, repair=True) == [("foreign", path, False) for path in foreign]
    assert (gates / "fax").is_dir() and (gates / "Mail.txt").exists()


def test_logs_of_starts_are_known(desk: Desk) -> None:
    """The logs of rates belong to their queues; other files beside the logs of keys are reported."""
    for path in (desk.spool.starts_path("api"), desk.spool.starts_path("api", "berlin")):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).touch()
    assert look(desk) == []
    Path(desk.spool.key_starts_dir("api"), "notes.txt").touch()
    assert look(desk) == [("foreign", ".queuectl/gates/api.keys/notes.txt", False)]


def test_void_key_notes_are_deleted_and_others_kept(desk: Desk) -> None:
    """P15: of a job that is gone or has ended, but not one that waits, runs, or holds its key for a time."""
    for job_id in ("waits", "runs", "gone", "ended", "kept"):
        terms = {"unique_for": "1h"} if job_id == "kept" else {}
        desk.enqueue(id=job_id, unique=f"k-{job_id}", **terms)
    desk.start("runs.json")
    desk.run("kept.json", Outcome("succeeded", 0, "", 0.01))
    os.unlink(desk.spool.path(PENDING, "gone.json"))
    note = key_notes.read(desk.spool, "k-ended")
    desk.run("ended.json", Outcome("succeeded", 0, "", 0.01))
    assert note is not None
    key_notes.write(desk.spool, "k-ended", note, sync=False)  # as if its worker had died before it deleted the note
    Path(desk.spool.unique_path("notes.txt")).write_bytes(b"x")
    disk.make_folder(desk.spool.unique_path("folder"))
    foreign = [("foreign", f".queuectl/unique/{name}", False) for name in ("folder", "notes.txt")]
    void = [("key_note", f".queuectl/unique/k-{name}", True) for name in ("ended", "gone")]
    assert sorted(look(desk, repair=True)) == sorted([*foreign, *void])
    assert sorted(key_notes.noted(desk.spool)) == ["folder", "k-kept", "k-runs", "k-waits"]
    assert sorted(look(desk)) == foreign
