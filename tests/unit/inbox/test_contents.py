"""contents: an inbox with unique = "content" runs the same bytes once, and reads large files a part at a time."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queuectl.inbox import contents, trial
from queuectl.model.lifecycle import DONE, Outcome
from queuectl.spool.folder import SpoolDir
from queuectl.system import files
from tests.helpers import names_in
from tests.unit.inbox.file_post import FilePost

OK, BAD = Outcome("succeeded", 0), Outcome("failed", 1, is_final=True)


@pytest.fixture
def post(spool: SpoolDir, tmp_path: Path) -> FilePost:
    """An inbox that runs no content twice."""
    return FilePost(spool, tmp_path / "inbox", unique="content", on_success="done")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bytes are much, and two are read at a time."""
    monkeypatch.setattr(contents, "SMALL_BYTES", 3)
    monkeypatch.setattr(contents, "_A_SLICE_BYTES", 2)
    monkeypatch.setattr(contents, "_PIECE_BYTES", 1)


def put(post: FilePost, name: str, content: str) -> list[str]:
    """Rename a file into the inbox, and poll."""
    post.send(name, content, renamed=True)
    return post.poller.step()


def read_all(post: FilePost) -> int:
    """Read what is being read, as the process does between two polls; return in how many slices."""
    slices = 0
    while post.poller.has_work:
        post.poller.work()
        slices += 1
    return slices


@pytest.mark.parametrize("state", ["waits", "runs", "is done"])
def test_the_same_content_is_run_once_and_the_second_file_is_told(post: FilePost, state: str) -> None:
    """P15, P1: whatever its name is; its job is skipped, and a text names the other job and its file."""
    (first,) = put(post, "a.pdf", "same")
    claimed = post.desk.start(first) if state != "waits" else None
    if claimed is not None and state == "is done":
        post.desk.settlements.settle(claimed, OK)
    put(post, "b.pdf", "same")
    put(post, "c.pdf", "other")
    here = {"waits": "working/*/a.pdf", "runs": "working/*/a.pdf", "is done": "done/a.pdf"}[state]
    assert post.tree() == sorted([here, "failed/b.pdf", "failed/b.pdf.failed.txt", "working/*/c.pdf"])
    (skipped,) = [name for name in names_in(post.spool, DONE) if name.startswith("anna-b")]
    event = post.desk.record(DONE, skipped).history[-1]
    first_id = first.partition(",")[0].removesuffix(".json")
    assert (event.event, event.duplicate_of) == ("skipped", first_id)
    text = (post.folder / "failed" / "b.pdf.failed.txt").read_text()
    assert "b.pdf was not run" in text and first_id in text and "a.pdf" in text and "purge" in text
    assert any(f"b.pdf is not run: job {first_id}" in each for each in post.texts)


def test_a_content_whose_job_failed_or_whose_record_is_gone_is_run_again(post: FilePost) -> None:
    """P15: a file that is put back from failed/ is a retry; purge frees a content."""
    put(post, "a.pdf", "same")
    post.run(BAD)
    post.poller.step()
    os.rename(post.folder / "failed" / "a.pdf", post.folder / "a.pdf")
    post.poller.renamed.add("a.pdf")
    assert len(post.poller.step()) == 1 and post.tree() == ["working/*/a.pdf"]
    post.run(OK)
    put(post, "b.pdf", "same")
    assert post.tree() == ["done/a.pdf", "failed/b.pdf", "failed/b.pdf.failed.txt"]
    for name in names_in(post.spool, DONE):
        os.unlink(post.spool.path(DONE, name))
    put(post, "c.pdf", "same")
    assert names_in(post.spool, "pending")


def test_other_inboxes_have_their_own_contents(post: FilePost, tmp_path: Path) -> None:
    """The same document in two inboxes is two jobs: their commands differ."""
    other = FilePost(post.spool, tmp_path / "other", unique="content", owner="berta")
    assert len(put(post, "a.pdf", "same")) == len(put(other, "a.pdf", "same")) == 1
    assert len(names_in(post.spool, "pending")) == 2


def test_a_kept_file_with_a_content_that_was_run_stays_in_its_place(spool: SpoolDir, tmp_path: Path) -> None:
    """P1: touching a file there, or a copy of it, is no reason to take it away from its owner."""
    post = FilePost(spool, tmp_path / "inbox", unique="content", on_success="keep")
    put(post, "a.pdf", "same")
    post.run(OK)
    post.poller.step()
    os.utime(post.folder / "a.pdf", (1, 1))
    for _ in range(3):  # it settles, is taken, and is back
        post.poller.step()
        post.desk.clock.advance(11)
    put(post, "b.pdf", "same")
    for _ in range(2):
        assert post.poller.step() == [] and post.tree() == ["a.pdf", "b.pdf"]
    assert len([name for name in names_in(spool, DONE) if name.startswith("anna-")]) == 3
    assert any("b.pdf is not run" in each for each in post.texts)


@pytest.mark.usefixtures("large")
def test_a_large_file_is_read_in_slices_while_others_are_taken(post: FilePost) -> None:
    """P6: it is in working/ meanwhile, has a row, and the pool does not count as drained."""
    assert put(post, "big.pdf", "0123456789") == []
    assert post.tree() == ["working/*/big.pdf"] and post.poller.has_work and not post.poller.is_drained
    (row,) = post.poller.state.rows
    assert (row.name, row.size) == ("big.pdf", 10) and "is being read" in row.why
    assert not post.poller.work()
    assert len(put(post, "a.pdf", "a")) == 1
    assert read_all(post) == 5 and post.poller.state.rows
    assert len(post.poller.step()) == 1 and not post.poller.state.rows
    put(post, "again.pdf", "0123456789")
    read_all(post)
    post.poller.step()
    assert "failed/again.pdf" in post.tree()


@pytest.mark.usefixtures("large")
def test_four_large_files_are_read_at_once_in_turns(post: FilePost) -> None:
    """So few handles, and so few files in working/ without a job; the next ones wait in the inbox."""
    for number in range(6):
        post.send(f"{number}.pdf", f"content {number}", renamed=True)
    post.poller.step()
    assert post.tree() == ["4.pdf", "5.pdf", *(f"working/*/{number}.pdf" for number in range(4))]
    assert post.poller.state.waiting == 6
    assert sum(post.poller.work() for _ in range(16)) == 0, "each has had four slices of its five"
    assert sum(post.poller.work() for _ in range(4)) == 4
    assert len(post.poller.step()) == 4 and len([name for name in post.tree() if name.startswith("working/")]) == 6


def test_small_files_are_read_up_to_a_bound_in_each_poll(post: FilePost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor and the ends of jobs get their turn."""
    monkeypatch.setattr(contents, "_A_POLL_BYTES", 10)
    for number in range(3):
        post.send(f"{number}.pdf", f"{number}2345", renamed=True)
    assert len(post.poller.step()) == 2 and post.poller.state.waiting == 1
    assert len(post.poller.step()) == 1


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("change", ["grows", "is written over", "is exchanged"])
def test_a_file_that_changes_while_it_is_read_goes_back(post: FilePost, change: str) -> None:
    """P1: no job has the name of a content that its file has not; it is taken when it is quiet again."""
    put(post, "a.pdf", "0123456789")
    post.poller.work()
    (path,) = (post.folder / "working").glob("*/a.pdf")
    if change == "is exchanged":
        path.rename(path.with_name("x"))
        path.write_text("0123456789")
        path.with_name("x").unlink()
    else:
        with path.open("a" if change == "grows" else "r+") as file:
            file.write("more")
        os.utime(path, (1e9, 1e9))
    read_all(post)
    assert post.poller.step() == [] and post.tree() == ["a.pdf"]
    assert sum("changed while it was read" in text for text in post.texts) == 1
    post.desk.clock.advance(11)
    post.poller.step()
    post.desk.clock.advance(11)
    post.poller.step()
    read_all(post)
    assert len(post.poller.step()) == 1 and post.tree() == ["working/*/a.pdf"]


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_a_receiver_that_goes_gives_back_what_it_was_reading(post: FilePost, how: str) -> None:
    """P2: nothing of a hash is kept; with done_file the marker goes back too."""
    post.inbox = msgspec.structs.replace(post.inbox, done_file="{name}.ok")
    post.start()
    post.send("a.pdf.ok", "")
    put(post, "a.pdf", "0123456789")
    assert post.tree() == ["working/*/a.pdf", "working/*/a.pdf.ok"]
    if how == "ends":
        post.poller.finish()
        assert post.tree() == ["a.pdf", "a.pdf.ok"]
    post.start()
    post.poller.step()
    read_all(post)
    assert len(post.poller.step()) == 1 and post.tree() == ["working/*/a.pdf", "working/*/a.pdf.ok"]


@pytest.mark.usefixtures("large")
def test_a_file_that_cannot_be_read_goes_back_and_is_reported_once(
    post: FilePost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1, P9: a bad sector, or a share that went away."""
    real = files.read_at

    def read_at(fd: int, offset: int, size: int) -> bytes:
        if offset >= 4:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, offset, size)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_at", read_at)
        put(post, "a.pdf", "0123456789")
        for _ in range(3):
            read_all(post)
            assert post.poller.step() == [] and post.tree() == ["a.pdf"]
            post.poller.renamed.add("a.pdf")
            post.poller.step()
        read_all(post)
        post.poller.step()
    assert sum("it cannot be read" in text for text in post.texts) == 1
    post.desk.clock.advance(11)
    post.poller.step()
    post.desk.clock.advance(11)
    post.poller.step()
    read_all(post)
    assert len(post.poller.step()) == 1


@pytest.mark.usefixtures("large")
def test_a_file_whose_job_is_refused_after_it_was_read_goes_back(spool: SpoolDir, tmp_path: Path) -> None:
    """P1: a file that its command needs was deleted meanwhile; the marker goes back too, and one report says why."""
    lists = tmp_path / "lists"
    lists.mkdir()
    needed = lists / "a.txt"
    text = f"""
    [commands.index]
    argv = ["tool", "{{file}}", "{{list}}"]
    [commands.index.params]
    file = {{ type = "path", under = {json.dumps(str(tmp_path / "inbox"))}, exists = true }}
    list = {{ type = "path", under = {json.dumps(str(lists))}, exists = true }}
    """
    keys = {"command": (), "template": "index", "params": {"list": str(lists / "{stem}.txt")}}
    post = FilePost(spool, tmp_path / "inbox", text=text, unique="content", done_file="{name}.ok", **keys)
    post.send("a.pdf.ok", "")
    taken = ["working/*/a.pdf", "working/*/a.pdf.ok"]
    for is_gone in (True, True, False):
        needed.write_text("")
        assert put(post, "a.pdf", "0123456789") == [] and post.tree() == taken
        if is_gone:
            needed.unlink()
        read_all(post)
        assert len(post.poller.step()) == (0 if is_gone else 1)
        assert post.tree() == (["a.pdf", "a.pdf.ok"] if is_gone else taken)
    (told,) = [each for each in post.texts if "a.pdf is not taken yet" in each]
    assert "does not exist" in told


@pytest.mark.usefixtures("large")
def test_each_piece_is_a_sign_of_life(post: FilePost) -> None:
    """The supervisor kills a receiver that gives none."""
    beats: list[int] = []
    reading: Any = contents.Contents(lambda: beats.append(1))
    post.poller._contents = reading  # type: ignore[attr-defined]
    put(post, "a.pdf", "0123456789")
    read_all(post)
    assert len(beats) == 11


def test_inbox_test_says_that_a_content_was_run(post: FilePost, tmp_path: Path) -> None:
    """Before it is sent."""
    (name,) = put(post, "a.pdf", "same")
    path = tmp_path / "x.pdf"
    path.write_text("same")
    answer = trial.judge(post.desk.session, post.inbox, str(path))
    assert answer.verdict == "refused" and name.removesuffix(".json").split(",")[0] in answer.why
    path.write_text("other")
    assert trial.judge(post.desk.session, post.inbox, str(path)).verdict == trial.ACCEPTED


@pytest.mark.parametrize("content", ["other", "same"])
@pytest.mark.usefixtures("large")
def test_a_large_file_in_a_subfolder(spool: SpoolDir, tmp_path: Path, content: str) -> None:
    """P1: its duplicate goes to the subfolder of failed/ that mirrors its own."""
    post = FilePost(spool, tmp_path / "inbox", unique="content", on_success="done", recursive=True)
    (post.folder / "x").mkdir()
    for name, text in (("x/a.pdf", "same"), ("x/b.pdf", content)):
        post.send(name, text, renamed=True)
        post.poller.step()
        read_all(post)
        made = post.poller.step()
        assert len(made) == 1
    post.poller.step()
    second = "working/*/x/b.pdf" if content == "other" else "failed/x/b.pdf"
    assert {second, "working/*/x/a.pdf"} <= set(post.tree())


def test_a_duplicate_goes_to_the_folder_outside(spool: SpoolDir, tmp_path: Path) -> None:
    """P1: as a file that failed does, with its text."""
    far = tmp_path / "far"
    far.mkdir(mode=0o700)
    post = FilePost(spool, tmp_path / "inbox", unique="content", on_success="done", on_failure=str(far))
    put(post, "a.pdf", "same")
    put(post, "b.pdf", "same")
    post.poller.step()
    assert sorted(os.listdir(far)) == ["b.pdf", "b.pdf.failed.txt"]
