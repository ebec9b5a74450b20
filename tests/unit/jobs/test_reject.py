"""rejects: bad files are kept, unchanged, beside a reason; and come back when they heal."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from queuectl.jobs import reject
from queuectl.jobs.reject import RejectedFiles
from queuectl.model import settings as config
from queuectl.model.lifecycle import PENDING, REJECTED
from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.system import disk
from tests.helpers import Desk, FakeClock, listing, names_in, write_drop

JOB = json.dumps({"command": "true"})


@pytest.fixture
def rejected(spool: SpoolDir, settings: Settings, clock: FakeClock, rng: random.Random) -> RejectedFiles:
    """The watch over rejected/."""
    return RejectedFiles(Session(spool, settings, clock, rng))


def _session(spool: SpoolDir, clock: FakeClock | None = None) -> Session:
    return Session(spool, config.defaults(), clock or FakeClock(), random.Random(1))


def _reject(spool: SpoolDir, name: str, content: bytes = b"{bad", clock: FakeClock | None = None) -> str:
    path = write_drop(spool, name, content)
    return reject.reject(_session(spool, clock), Located(PENDING, name, str(path)), name, "it is bad", "mend it")


def test_rejected_file_keeps_its_bytes_and_gets_a_reason(spool: SpoolDir) -> None:
    """Nothing is lost of a file that cannot become a job (P6)."""
    assert _reject(spool, "x.json", b"{bad\xff\0") == "x.json"
    assert listing(spool) == {"rejected": ["x.json", "x.json.reason.txt"]}
    assert Path(spool.path(REJECTED, "x.json")).read_bytes() == b"{bad\xff\0"
    text = Path(spool.reason_path("x.json")).read_text()
    assert "it is bad" in text
    assert "mend it" in text


def test_two_rejected_files_of_one_name_are_both_kept(spool: SpoolDir) -> None:
    """The second gets another name and a reason of its own (P7)."""
    _reject(spool, "x.json", b"one")
    name = _reject(spool, "x.json", b"two")
    assert name != "x.json"
    assert name.endswith(".json")
    assert Path(spool.path(REJECTED, "x.json")).read_bytes() == b"one"
    assert Path(spool.path(REJECTED, name)).read_bytes() == b"two"
    assert len(names_in(spool, REJECTED)) == 4


def test_file_without_its_reason_is_not_overwritten(spool: SpoolDir) -> None:
    """A person deleted the reason only: the file in rejected/ stays (P7)."""
    _reject(spool, "x.json", b"one")
    os.unlink(spool.reason_path("x.json"))
    name = _reject(spool, "x.json", b"two")
    assert Path(spool.path(REJECTED, "x.json")).read_bytes() == b"one"
    assert sorted(names_in(spool, REJECTED)) == sorted(["x.json", name, f"{name}.reason.txt"])


@pytest.mark.parametrize("name", ["x" * 250 + ".json", "日" * 83 + ".json", "x" * 240 + ".jsonl"])
def test_longest_names_can_be_rejected(spool: SpoolDir, name: str) -> None:
    """A name that leaves no room for the ending of its reason does not stop the worker (P6)."""
    kept = _reject(spool, name)
    assert os.path.splitext(kept)[1] == os.path.splitext(name)[1]
    assert sorted(names_in(spool, REJECTED)) == sorted([kept, f"{kept}.reason.txt"])
    assert _reject(spool, name) != kept


def test_rejecting_what_is_gone_says_so_and_leaves_nothing(spool: SpoolDir) -> None:
    """No reason is written for a file that somebody took away."""
    with pytest.raises(FileNotFoundError):
        reject.reject(_session(spool), Located(PENDING, "x.json", spool.path(PENDING, "x.json")), "x.json", "", "")
    assert listing(spool) == {}


def test_reason_is_taken_back_when_the_move_fails(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble leaves the file in pending/ and no reason without a file (P9)."""

    def full(_source: str, _target: str, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "move", full)
    with pytest.raises(OSError):
        _reject(spool, "x.json")
    assert listing(spool) == {"pending": ["x.json"]}


def test_rejected_file_that_heals_goes_back(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """A file whose writer goes on, or that a person corrects in place, is taken back by itself (P6)."""
    _reject(spool, "x.json")
    assert rejected.look() == []
    write_drop(spool, "x.json", JOB, REJECTED)
    assert rejected.look() == ["x.json"]
    assert listing(spool) == {"pending": ["x.json"]}


def test_rejected_file_that_healed_before_anybody_looked_goes_back(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """Its reason tells which version was refused, so a new supervisor sees the change at first sight (P6)."""
    _reject(spool, "x.json")
    _reject(spool, "y.json", JOB.encode())
    write_drop(spool, "x.json", JOB, REJECTED)
    assert rejected.look() == ["x.json"]
    assert listing(spool)["rejected"] == ["y.json", "y.json.reason.txt"]


def test_file_without_a_reason_is_no_change(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """What a person put into rejected/, or whose reason is gone, stays until it changes."""
    write_drop(spool, "x.json", JOB, REJECTED)
    write_drop(spool, "y.json", JOB, REJECTED)
    write_drop(spool, "y.json.reason.txt", "mine", REJECTED)
    assert rejected.look() == []
    write_drop(spool, "x.json", JOB + " ", REJECTED)
    assert rejected.look() == ["x.json"]


def test_copy_is_kept_beside_a_reason(spool: SpoolDir) -> None:
    """A text that is kept without its file gets a name and a reason of its own each time (P6, P7)."""
    for _ in range(2):
        reject.keep_copy(_session(spool), "x.json", b"edited", "why", "")
    assert len(listing(spool)["rejected"]) == 4
    assert Path(spool.path(REJECTED, "x.json")).read_bytes() == b"edited"


def test_rejected_file_that_changes_and_stays_bad_stays(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """A change alone is no cure."""
    _reject(spool, "x.json")
    rejected.look()
    for content in ("{worse and longer", '{"comand": "true"}', "[5]", "[]", '{"command": "true", "id": "a/b"}'):
        write_drop(spool, "x.json", content, REJECTED)
        assert rejected.look() == [], content
    assert listing(spool) == {"rejected": ["x.json", "x.json.reason.txt"]}


def test_rejected_file_that_did_not_change_is_not_looked_at(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """A refused duplicate is valid JSON: it must not bounce between two folders."""
    _reject(spool, "x.json", JOB.encode())
    assert rejected.look() == []
    assert rejected.look() == []


@pytest.mark.parametrize("content", ['[{"command": "a"}, {"command": "b"}]', '{"command": "a"}\n{"command": "b"}\n'])
def test_rejected_batch_that_heals_goes_back(spool: SpoolDir, rejected: RejectedFiles, content: str) -> None:
    """A file of many jobs comes back when all of it is good."""
    name = "x.json" if content.startswith("[") else "x.jsonl"
    _reject(spool, name)
    rejected.look()
    write_drop(spool, name, content, REJECTED)
    assert rejected.look() == [name]


def test_rejected_duplicate_comes_back_only_with_a_new_id(desk: Desk, rejected: RejectedFiles) -> None:
    """A file whose id is still taken stays where it is."""
    desk.enqueue(id="job1")
    _reject(desk.spool, "x.json")
    rejected.look()
    write_drop(desk.spool, "x.json", {"command": "true", "id": "job1"}, REJECTED)
    assert rejected.look() == []
    write_drop(desk.spool, "x.json", {"command": "true", "id": "job2"}, REJECTED)
    assert rejected.look() == ["x.json"]


def test_healed_file_waits_while_its_name_is_taken(spool: SpoolDir, rejected: RejectedFiles) -> None:
    """Coming back overwrites nothing (P7)."""
    _reject(spool, "x.json")
    rejected.look()
    write_drop(spool, "x.json", JOB, REJECTED)
    write_drop(spool, "x.json", "another", PENDING)
    assert rejected.look() == []
    assert Path(spool.path(PENDING, "x.json")).read_text() == "another"
    os.unlink(spool.path(PENDING, "x.json"))
    assert rejected.look() == ["x.json"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX: links, FIFOs, modes, limits, moves while open")
def test_strange_files_in_rejected_are_left_alone(spool: SpoolDir, rejected: RejectedFiles, tmp_path: Path) -> None:
    """Links, folders and FIFOs there are nobody's cure (P11)."""
    target = tmp_path / "target"
    folder = Path(spool.folder(REJECTED))
    (folder / "link.json").symlink_to(target)
    os.mkfifo(folder / "fifo.json")
    (folder / "folder.json").mkdir()
    before = sorted(os.listdir(folder))
    rejected.look()
    target.write_text(JOB)
    (folder / "link.json").unlink()
    (folder / "link.json").symlink_to(target)
    (folder / "folder.json" / "x").write_text(JOB)
    assert rejected.look() == []
    assert sorted(os.listdir(folder)) == before
