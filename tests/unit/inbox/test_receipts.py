"""receipts: what an inbox gets when its jobs have ended."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from queuectl.inbox.folder import SUMMARY, Folder
from queuectl.model.lifecycle import Outcome
from queuectl.spool.folder import SpoolDir
from tests.unit.inbox.post import Post


def test_a_folder_with_the_name_of_a_receipt_holds_up_no_other(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: that receipt is left out, which is reported once; the others are written and the intake goes on."""
    post = Post(spool, tmp_path / "inbox", max_rejected=0)
    for name in ("x", "y"):
        post.send(f"{name}.json", {"command": "false", "max_retries": 0})
    post.poller.poll()
    for name in ("x", "y"):
        post.desk.settlements.settle(post.desk.start(f"{name},by=anna.json"), Outcome("failed", exit_code=1))
    (post.folder / "x.json.failed.txt").mkdir()
    (post.folder / SUMMARY).mkdir()
    post.send("bad.json", [])
    post.poller.notices.clear()
    for _ in range(3):
        post.poller.step()
    assert post.poller.state.trouble == ""
    assert (post.folder / "y.json.failed.txt").is_file() and (post.folder / "x.json.failed.txt").is_dir()
    assert [text for _, _, text in post.poller.notices if "x.json.failed.txt" in text] == [
        "the receipt x.json.failed.txt cannot be written and is skipped: a folder has this name"
    ]


def test_a_receipt_that_cannot_be_written_now_is_owed_and_holds_up_no_other(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6, P9: others are written first; then that one is tried again."""
    post = Post(spool, tmp_path / "inbox")
    for name in ("x", "y"):
        post.send(f"{name}.json", {"command": "false", "max_retries": 0})
    post.poller.poll()
    for name in ("x", "y"):
        post.desk.settlements.settle(post.desk.start(f"{name},by=anna.json"), Outcome("failed", exit_code=1))
    real = Folder.put_text

    def refusing(box: Folder, name: str, text: str) -> None:
        if name.startswith(held):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        real(box, name, text)

    held = ("x", "y")
    monkeypatch.setattr(Folder, "put_text", refusing)
    post.poller.step()
    assert "Permission denied" in post.poller.state.trouble
    held = ("x",)
    post.poller.step()
    assert post.names() == ["y.json.failed.txt"]
    held = ("-",)
    post.poller.step()
    assert post.names() == ["x.json.failed.txt", "y.json.failed.txt"] and post.poller.state.trouble == ""


def test_max_waiting_counts_jobs(spool: SpoolDir, tmp_path: Path) -> None:
    """A second file of a job's id in pending/, which somebody copied there, is no second job of the inbox."""
    post = Post(spool, tmp_path / "inbox", max_waiting=2)
    post.send("one.json", {"command": "true"})
    post.poller.poll()
    waiting = Path(spool.path("pending", "one,by=anna.json"))
    for copy in ("one.json", "one,prio=1.json", "ONE,by=anna,hold.json"):
        waiting.with_name(copy).write_bytes(waiting.read_bytes())
    post.send("two.json", {"command": "true"})
    assert post.poller.poll() == ["two,by=anna.json"]
    post.send("three.json", {"command": "true"})
    assert post.poller.poll() == []
