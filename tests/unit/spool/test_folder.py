"""folder: the spool is opened and completed, its files are read, written and moved."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import sys
from pathlib import Path

import pytest

from queuectl.errors import DamagedRecordError, NotASpoolError, SpoolUnavailableError
from queuectl.model import settings
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, STATES
from queuectl.spool import create, settings_file
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from tests.helpers import Desk, make_spool, write_drop


def test_new_spool_has_the_tree_of_the_format(tmp_path: Path) -> None:
    """`init` makes every folder, the settings and the README."""
    made = make_spool(tmp_path / "deep" / "spool")
    for name in ("pending", "running", "done", "dlq", "rejected", "logs", ".queuectl/tmp", ".queuectl/locks"):
        assert (tmp_path / "deep" / "spool" / name).is_dir(), name
    assert settings_file.load(made) == settings.defaults()
    assert os.path.getsize(made.readme_path) > 500
    for name in ("README.txt", "shell.json", "retry.json"):
        assert (tmp_path / "deep" / "spool" / "examples" / name).is_file(), name
    assert json.loads(Path(made.schema_path).read_text())["title"] == "queuectl job"
    for state in (*STATES, REJECTED):
        assert os.listdir(made.folder(state)) == ["README.txt"]
        assert (made.job_names(state), made.foreign_names(state)) == ([], [])
    assert os.listdir(made.tmp_dir) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_new_spool_is_writable_by_nobody_else_whatever_the_umask(tmp_path: Path) -> None:
    """A spool made under umask 0 is not refused by the next worker (P10)."""
    old = os.umask(0)
    try:
        made = make_spool(tmp_path / "spool")
    finally:
        os.umask(old)
    for folder, _, files in os.walk(made.root):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            assert not stat.S_IMODE(os.stat(path).st_mode) & 0o022, path


def test_making_a_spool_again_changes_nothing(tmp_path: Path) -> None:
    """`init` on a spool keeps what is there (P7)."""
    made = make_spool(tmp_path / "spool")
    Path(made.settings_path).write_text("max_retries = 7\n")
    Path(made.readme_path).write_text("mine")
    Path(made.path(DLQ, "README.txt")).write_text("mine too")
    os.remove(made.path(DONE, "README.txt"))
    shutil.rmtree(made.examples_dir)
    assert not create.create(made)
    assert settings_file.load(made).max_retries == 7
    assert Path(made.readme_path).read_text() == "mine"
    assert Path(made.path(DLQ, "README.txt")).read_text() == "mine too"
    assert Path(made.path(DONE, "README.txt")).read_text().startswith("Jobs that are over")
    assert not os.path.exists(made.examples_dir)


def test_a_clone_reads_as_empty_until_somebody_writes(tmp_path: Path) -> None:
    """A repository keeps no empty folders: they read as empty, and are made for the first write (P1)."""
    (tmp_path / "queuectl.toml").write_text("")
    opened = SpoolDir.open(tmp_path)
    assert opened.waiting_names() == opened.job_names(DONE) == []
    assert opened.ids() == set() and opened.find("x") is None
    assert os.listdir(tmp_path) == ["queuectl.toml"]
    opened.write_temporary("x", b"", sync=False)
    assert (tmp_path / "pending").is_dir()
    assert (tmp_path / ".queuectl" / "leases").is_dir()
    assert not opened.lacks_folders


def test_a_folder_that_goes_away_later_is_an_error(spool: SpoolDir) -> None:
    """Only what was missing from the start reads as empty: a pool must not take a lost disk for an empty queue (P9)."""
    opened = SpoolDir.open(spool.root)
    shutil.rmtree(opened.folder("pending"))
    with pytest.raises(FileNotFoundError):
        opened.waiting_names()


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_open_of_what_is_no_spool_makes_nothing(tmp_path: Path, kind: str) -> None:
    """A wrong path gets an answer, not a new spool."""
    path = tmp_path / "x"
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("")
    with pytest.raises(NotASpoolError) as caught:
        SpoolDir.open(path)
    assert str(path) in caught.value.hint
    assert kind != "empty" or os.listdir(path) == []


def test_file_in_the_place_of_a_folder_is_reported(tmp_path: Path) -> None:
    """A spool that cannot be completed says why."""
    (tmp_path / "queuectl.toml").write_text("")
    (tmp_path / "pending").write_text("")
    with pytest.raises(SpoolUnavailableError):
        SpoolDir.open(tmp_path).complete()


def test_read_gives_record_and_bytes(desk: Desk) -> None:
    """A record is read as it stands."""
    name = desk.enqueue(id="job1")
    stored = desk.spool.read(PENDING, name)
    assert stored.record.id == "job1"
    assert stored.sig.size == len(stored.data)


@pytest.mark.parametrize("content", ["", "{}", '{"command": "true"}'])
def test_read_of_what_is_no_record_is_one_error(spool: SpoolDir, content: str) -> None:
    """A drop or a damaged file is told apart from a record."""
    write_drop(spool, "x.json", content)
    with pytest.raises(DamagedRecordError):
        spool.read(PENDING, "x.json")


def test_move_keeps_both_when_the_name_is_taken(spool: SpoolDir, rng: random.Random) -> None:
    """Two jobs with one id are both kept, under different names (P7)."""
    write_drop(spool, "job1.json", "one", RUNNING)
    write_drop(spool, "job1.json", "two", DONE)
    name = spool.move(Located(RUNNING, "job1.json", spool.path(RUNNING, "job1.json")), DONE, "job1.json")
    assert name != "job1.json"
    assert name.startswith("job1-") and name.endswith(".json")
    assert Path(spool.path(DONE, name)).read_text() == "one"
    assert Path(spool.path(DONE, "job1.json")).read_text() == "two"


def test_move_makes_the_folder_again_that_somebody_has_deleted(spool: SpoolDir, rng: random.Random) -> None:
    """P2: a job is not lost for that; a source that is gone stays an error, and makes no folder."""
    path = write_drop(spool, "a.json", "{}")
    os.remove(spool.folder("done") + "/README.txt")
    os.rmdir(spool.folder("done"))
    assert spool.move(Located("pending", "a.json", str(path)), "done", "a.json") == "a.json"
    assert (spool.restored, spool.job_names("done")) == (["done"], ["a.json"])
    with pytest.raises(FileNotFoundError):
        spool.move(Located("pending", "a.json", str(path)), "dlq", "a.json")


def test_temporary_files_have_names_of_their_own(spool: SpoolDir) -> None:
    """Two writers with the same luck do not meet in tmp/."""
    one = spool.write_temporary("x", b"one", sync=False)
    two = spool.write_temporary("x", b"two", sync=False)
    assert one != two
    assert Path(one).read_bytes() == b"one"
