"""inbox: what the workers found in the inboxes, and what would happen to a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from queuectl.inbox.state import InboxFile, InboxRefusal, InboxState, publish
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands

SETTINGS = """
[[inbox]]
path = "{scans}"
mode = "files"
match = ["*.pdf"]
command = ["tool", "{{file}}", "--title={{stem}}"]
[[inbox]]
path = "{jobs}"
mode = "trusted"
"""


@pytest.fixture
def folders(spool: SpoolDir, tmp_path: Path) -> Path:
    """Two inboxes in the settings: `scans` of files, and `jobs`."""
    for name in ("scans", "jobs"):
        (tmp_path / name).mkdir()
    with open(spool.settings_path, "a") as file:
        file.write(SETTINGS.format(scans=(tmp_path / "scans").as_posix(), jobs=(tmp_path / "jobs").as_posix()))
    return tmp_path


def test_inboxes_are_listed_with_what_was_found_there(queuectl: Commands, spool: SpoolDir, folders: Path) -> None:
    """An inbox that no worker has looked at is a row, too."""
    Path(spool.inbox_dir).mkdir()
    arriving = InboxFile("a.pdf", 3, 1.0, "it must not change for 10s (settle_s)")
    refused = (InboxRefusal("b.pdf", "it has a second name", ""),)
    state = InboxState(owner="scans", path=str(folders / "scans"), mode="files", arriving=1, rows=(arriving,), taken=7)
    publish(spool, state)
    found = queuectl("inbox", "list").out.splitlines()
    assert found[0].split("\t")[:6] == ["scans", "files", "7", "0", "1", "0"]
    assert found[0].split("\t")[7] == "done, failed"
    assert found[1].split("\t")[:2] == ["jobs", "trusted"] and "no worker has looked" in found[1]
    (scans,) = json.loads(queuectl("inbox", "list", "--json").out)["inboxes"]
    assert (scans["owner"], scans["taken"], scans["arriving"]) == ("scans", 7, 1)
    publish(spool, InboxState(owner="scans", path=state.path, mode="files", rejected=1, refused=refused))
    assert "second name" in queuectl("why", "b.pdf").out
    publish(spool, InboxState(owner="scans", path=state.path, mode="files", left_alone=1, foreign=("letter.doc",)))
    assert "left alone" in queuectl("why", "letter.doc").out and "inbox test" in queuectl("why", "letter.doc").out
    publish(spool, InboxState(owner="scans", path=state.path, mode="files", rejected=1, refused=refused))
    told = queuectl("status").out
    assert "b.pdf  refused: it has a second name" in told
    for words in (("inbox", "list"), ("status",)):
        (row,) = (json.loads(queuectl(*words, "--json").out))["inboxes"]
        assert row["refused"] == [{"name": "b.pdf", "why": "it has a second name", "rejected_at": ""}]


def test_wrong_settings_are_an_error(queuectl: Commands, spool: SpoolDir, folders: Path) -> None:
    """The settings name the inboxes: with a mistake in them there is nothing to list or to judge by."""
    (folders / "scans" / "a.pdf").write_text("x")
    with open(spool.settings_path, "a") as file:
        file.write("mode = 5\n")
    for words in (("list",), ("test", str(folders / "scans" / "a.pdf")), ("test", "a.pdf", "--owner", "scans")):
        told = queuectl("inbox", *words, code=5)
        assert told.out == "" and "error: " in told.err and "queuectl.toml" in told.err, words
        assert "no inbox" not in told.err, words


def test_a_file_is_tried_out_without_being_touched(queuectl: Commands, folders: Path) -> None:
    """For each verdict: why, what to do, and the command."""
    scans = folders / "scans"
    for name in ("a.pdf", "a.txt", "b.pdf.part"):
        (scans / name).write_text("x")
    (scans / "d.pdf").mkdir()
    told = queuectl("inbox", "test", str(scans / "a.pdf"))
    assert "accepted" in told.out and "--title=a" in told.out
    assert f"success  {scans / 'done'}" in told.out and f"failure  {scans / 'failed'}" in told.out
    for name, why in {"a.txt": "does not match", "b.pdf.part": "unfinished", "d.pdf": "a folder"}.items():
        told = queuectl("inbox", "test", str(scans / name), code=1)
        assert "left alone" in told.out and why in told.out, name
    assert sorted(os.listdir(scans)) == ["a.pdf", "a.txt", "b.pdf.part", "d.pdf"]
    assert "accepted" in queuectl("inbox", "test", "elsewhere.pdf", "--owner", "scans").out
    assert "no inbox has the folder" in queuectl("inbox", "test", "elsewhere.pdf", code=2).err


def test_subfolders_are_known(queuectl: Commands, spool: SpoolDir, folders: Path) -> None:
    """inbox test, inbox list and why; a file is found by its path in the inbox, and by its name."""
    scans = folders / "scans"
    (scans / "a" / "failed").mkdir(parents=True)
    for name in ("a/b.pdf", "a/failed/b.pdf"):
        (scans / name).write_text("x")
    assert (
        "subfolder (recursive)" in queuectl("inbox", "test", str(scans / "a" / "b.pdf"), "--owner", "scans", code=1).out
    )
    assert "no inbox has the folder" in queuectl("inbox", "test", str(scans / "a" / "b.pdf"), code=2).err
    text = Path(spool.settings_path).read_text()
    Path(spool.settings_path).write_text(
        text.replace("--title=", "--in={{subfolder}}")
        .replace('\nmatch = ["*.pdf"]', '\nmatch = ["*.pdf"]\nrecursive = 1', 1)
        .replace("{{", "{")
        .replace("}}", "}")
    )
    assert "--in=a" in queuectl("inbox", "test", str(scans / "a" / "b.pdf")).out
    assert "the files in it are taken" in queuectl("inbox", "test", str(scans / "a")).out
    for path in ("a/failed/b.pdf", "a/failed"):
        assert "deeper than 1" in queuectl("inbox", "test", str(scans / path), code=1).out
    Path(spool.inbox_dir).mkdir()
    refused = (
        InboxRefusal("a/c.pdf", "it has a second name", ""),
        InboxRefusal("m/", "it is on another file system", ""),
    )
    arriving = InboxFile("a/b.pdf", 3, 1.0, "it must not change for 10s (settle_s)")
    state = InboxState(owner="scans", path=str(scans), mode="files", subfolders=1, next=("a/d.pdf",), waiting=1)
    publish(spool, msgspec.structs.replace(state, rows=(arriving,), arriving=1, refused=refused, rejected=2))
    assert "looks into 1 subfolder" in queuectl("inbox", "list").out
    assert json.loads(queuectl("inbox", "list", "--json").out)["inboxes"][0]["subfolders"] == 1
    for typed in ("a/b.pdf", "b.pdf"):
        assert "still arriving" in queuectl("why", typed).out
    assert "second name" in queuectl("why", "c.pdf").out and "next to be taken" in queuectl("why", "a/d.pdf").out
    assert "no file is taken from it" in queuectl("why", "m").out


def test_a_job_is_tried_out_in_its_inbox(queuectl: Commands, folders: Path) -> None:
    """The judge of the inbox says what it would say to the receiver."""
    jobs = folders / "jobs"
    (jobs / "a.json").write_text('{"command": ["echo", "x"]}')
    (jobs / "b.json").write_text('{"command": 7}')
    (jobs / "c.json").write_text('{"comm')
    assert "echo x" in queuectl("inbox", "test", str(jobs / "a.json")).out
    assert "refused" in queuectl("inbox", "test", str(jobs / "b.json"), code=1).out
    assert "waits" in queuectl("inbox", "test", str(jobs / "c.json"), code=1).out
