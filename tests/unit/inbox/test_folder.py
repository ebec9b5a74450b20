"""folder: what is looked at in an inbox, and what is left alone."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl.inbox.folder import Folder
from queuectl.model import names
from queuectl.spool.folder import SpoolDir
from tests.unit.inbox.post import Post


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_links_folders_and_foreign_names_are_left_alone(spool: SpoolDir, tmp_path: Path) -> None:
    """P11: nothing but a regular file is opened, and what is no job's name is told of."""
    post = Post(spool, tmp_path / "inbox")
    (tmp_path / "secret.json").write_text('{"command": "true"}')
    (post.folder / "link.json").symlink_to(tmp_path / "secret.json")
    (post.folder / "folder.json").mkdir()
    os.mkfifo(post.folder / "fifo.json")
    post.send("notes.txt", "x")
    for _ in range(2):
        assert post.poller.poll() == []
    assert post.poller.state.left_alone == 4 and post.poller.state.arriving == 0
    assert len(post.names()) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="a folder there cannot be read only")
def test_an_unfinished_text_that_cannot_be_deleted_stops_no_intake(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: what somebody made under a name that the receiver has used is left alone."""
    post = Post(spool, tmp_path / "inbox")
    post.send("bad.json", [])
    post.poller.poll()
    with post.poller._opened() as box:
        name = f"{box._mark}tmp-{box._tokens.for_texts()}"
    (post.folder / name).mkdir()
    post.send("one.json", {"command": "true"})
    assert post.poller.poll() == ["one,by=anna.json"]
    real = Folder.remove

    def refusing(box: Folder, wanted: str) -> bool:
        if wanted == name:
            raise PermissionError(errno.EPERM, "Operation not permitted", wanted)
        return real(box, wanted)

    monkeypatch.setattr(Folder, "remove", refusing)
    post.send("two.json", {"command": "true"})
    assert post.poller.poll() == ["two,by=anna.json"]
    assert post.poller.state.foreign == (name,)


@pytest.mark.skipif(sys.platform == "win32", reason="the test itself would open the devices there")
def test_names_of_devices_are_passed_over_on_windows(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: whatever such a name ends in, nobody looks at the file, and the others are taken in."""
    post = Post(spool, tmp_path / "inbox")
    bad = ["con.json", "conin$.json.rejected", "nul.json.rejected.txt", "aux.json.failed.txt", "com1.jsonl"]
    for name in (*bad, "good.json"):
        post.send(name, {"command": "true"})
    monkeypatch.setattr(names, "_HAS_DEVICES", True)
    lstat = os.lstat

    def refuse(path: Any, **options: Any) -> os.stat_result:
        assert os.path.basename(path) not in bad, "it was looked at"
        return lstat(path, **options)

    monkeypatch.setattr(os, "lstat", refuse)
    assert post.poller.poll() == ["good,by=anna.json"]
    assert post.names() == sorted(bad)


def test_an_ending_in_capitals_is_taken_in(spool: SpoolDir, tmp_path: Path) -> None:
    """A producer on Windows may write JOB.JSON."""
    post = Post(spool, tmp_path / "inbox")
    post.send("JOB.JSON", {"command": "true"})
    assert post.poller.poll() == ["JOB,by=anna.json"] and post.names() == []
