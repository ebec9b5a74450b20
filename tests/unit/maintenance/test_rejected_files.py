"""rejected_files: rejected files come back once they are valid jobs."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from queuectl.jobs import reject
from queuectl.maintenance.rejected_files import RejectedFiles
from queuectl.model.lifecycle import PENDING, REJECTED
from queuectl.model.settings import Settings, defaults
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from tests.helpers import Desk, FakeClock, listing, write_drop

JOB = json.dumps({"command": "true"})


@pytest.fixture
def rejected(spool: SpoolDir, settings: Settings, clock: FakeClock, rng: random.Random) -> RejectedFiles:
    """The watch over rejected/."""
    return RejectedFiles(Session(spool, settings, clock, rng))


def _session(spool: SpoolDir, clock: FakeClock | None = None) -> Session:
    return Session(spool, defaults(), clock or FakeClock(), random.Random(1))


def _reject(spool: SpoolDir, name: str, content: bytes = b"{bad", clock: FakeClock | None = None) -> str:
    path = write_drop(spool, name, content)
    return reject.reject(_session(spool, clock), Located(PENDING, name, str(path)), name, "it is bad", "mend it")


def test_rejected_file_that_heals_goes_back(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """A file whose writer goes on, or that a person corrects in place, is taken back by itself (P6)."""
    _reject(spool, "x.json")
    assert rejected.readmit() == []
    write_drop(spool, "x.json", JOB, REJECTED)
    assert rejected.readmit() == ["x.json"]
    assert listing(spool) == {"pending": ["x.json"]}


def test_rejected_file_that_healed_before_anybody_looked_goes_back(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """Its reason tells which version was refused, so a new supervisor sees the change at first sight (P6)."""
    _reject(spool, "x.json")
    _reject(spool, "y.json", JOB.encode())
    write_drop(spool, "x.json", JOB, REJECTED)
    assert rejected.readmit() == ["x.json"]
    assert listing(spool)["rejected"] == ["y.json", "y.json.reason.txt"]


def test_file_without_a_reason_is_no_change(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """What a person put into rejected/, or whose reason is gone, stays until it changes."""
    write_drop(spool, "x.json", JOB, REJECTED)
    write_drop(spool, "y.json", JOB, REJECTED)
    write_drop(spool, "y.json.reason.txt", "mine", REJECTED)
    assert rejected.readmit() == []
    write_drop(spool, "x.json", JOB + " ", REJECTED)
    assert rejected.readmit() == ["x.json"]


def test_rejected_file_that_changes_and_stays_bad_stays(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """A change alone is no cure."""
    _reject(spool, "x.json")
    rejected.readmit()
    for content in ("{worse and longer", '{"comand": "true"}', "[5]", "[]", '{"command": "true", "id": "a/b"}'):
        write_drop(spool, "x.json", content, REJECTED)
        assert rejected.readmit() == [], content
    assert listing(spool) == {"rejected": ["x.json", "x.json.reason.txt"]}


def test_rejected_file_that_did_not_change_is_not_looked_at(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """A refused duplicate is valid JSON: it must not bounce between two folders."""
    _reject(spool, "x.json", JOB.encode())
    assert rejected.readmit() == []
    assert rejected.readmit() == []


@pytest.mark.parametrize("content", ['[{"command": "a"}, {"command": "b"}]', '{"command": "a"}\n{"command": "b"}\n'])
def test_rejected_batch_that_heals_goes_back(spool: SpoolDir, rejected: RejectedFiles, content: str) -> None:
    """A file of many jobs comes back when all of it is good."""
    name = "x.json" if content.startswith("[") else "x.jsonl"
    _reject(spool, name)
    rejected.readmit()
    write_drop(spool, name, content, REJECTED)
    assert rejected.readmit() == [name]


def test_rejected_duplicate_comes_back_only_with_a_new_id(desk: Desk, rejected: RejectedFiles) -> None:
    """A file whose id is still taken stays where it is."""
    desk.enqueue(id="job1")
    _reject(desk.spool, "x.json")
    rejected.readmit()
    write_drop(desk.spool, "x.json", {"command": "true", "id": "job1"}, REJECTED)
    assert rejected.readmit() == []
    write_drop(desk.spool, "x.json", {"command": "true", "id": "job2"}, REJECTED)
    assert rejected.readmit() == ["x.json"]


def test_healed_file_waits_while_its_name_is_taken(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """Coming back overwrites nothing (P7)."""
    _reject(spool, "x.json")
    rejected.readmit()
    write_drop(spool, "x.json", JOB, REJECTED)
    write_drop(spool, "x.json", "another", PENDING)
    assert rejected.readmit() == []
    assert Path(spool.path(PENDING, "x.json")).read_text() == "another"
    os.unlink(spool.path(PENDING, "x.json"))
    assert rejected.readmit() == ["x.json"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX: links, FIFOs, modes, limits, moves while open")
def test_strange_files_in_rejected_are_left_alone(spool: SpoolDir, rejected: RejectedFiles, tmp_path: Path) -> None:
    """Links, folders and FIFOs there are nobody's cure (P11)."""
    target = tmp_path / "target"
    folder = Path(spool.folder(REJECTED))
    (folder / "link.json").symlink_to(target)
    os.mkfifo(folder / "fifo.json")
    (folder / "folder.json").mkdir()
    before = sorted(os.listdir(folder))
    rejected.readmit()
    target.write_text(JOB)
    (folder / "link.json").unlink()
    (folder / "link.json").symlink_to(target)
    (folder / "folder.json" / "x").write_text(JOB)
    assert rejected.readmit() == []
    assert sorted(os.listdir(folder)) == before
