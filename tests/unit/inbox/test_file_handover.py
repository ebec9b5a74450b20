"""file_handover: what an interrupted hand-over leaves, and who goes on with it. The sweep has the crashes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from queuectl.inbox.file_handover import FileHandover, Note, note_of
from queuectl.inbox.handover import Handover
from queuectl.maintenance import check
from queuectl.model.lifecycle import Outcome
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in
from tests.unit.inbox.file_post import FilePost


class _KilledError(BaseException):
    """The receiver "dies"."""


@pytest.fixture
def cut(spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FilePost:
    """A receiver that died when the record of a file was written, and before its job was published."""

    def die(*_facts: Any) -> str:
        raise _KilledError

    post = FilePost(spool, tmp_path / "inbox")
    with monkeypatch.context() as patch:
        patch.setattr(FileHandover, "_finish", die)
        with pytest.raises(_KilledError):
            post.take("a.pdf")
    assert names_in(spool, "pending") == [] and len(os.listdir(Path(spool.handover_dir, "anna"))) == 1
    post.start()
    return post


def test_the_next_receiver_publishes_the_job(cut: FilePost) -> None:
    """P1: and knows at its end which version of the file it was."""
    (name,) = cut.poller.step()
    assert names_in(cut.spool, "pending") == [name] and cut.tree() == ["working/*/a.pdf"]


def test_a_file_that_a_power_cut_put_back_is_taken_again_and_its_record_is_dropped(cut: FilePost) -> None:
    """P1, P2: the record was durable and the rename was not: no job runs without its file."""
    (folder,) = (cut.folder / "working").iterdir()
    os.rename(folder / "a.pdf", cut.folder / "a.pdf")
    assert cut.poller.step() == [] and names_in(cut.spool, "pending") == []
    cut.desk.clock.advance(11)
    assert len(cut.poller.step()) == 1
    assert cut.tree() == ["working/*/a.pdf"] and len(os.listdir(cut.folder / "working")) == 1
    assert os.listdir(Path(cut.spool.handover_dir, "anna")) == []


def test_a_damaged_record_gives_its_file_back(cut: FilePost) -> None:
    """P1: `durability = "off"` and a power cut: the file is a new one then."""
    (name,) = os.listdir(Path(cut.spool.handover_dir, "anna"))
    Path(cut.spool.handover_dir, "anna", name).write_bytes(b"")
    assert cut.poller.step() == [] and cut.tree() == ["a.pdf"]


def test_a_lost_note_is_made_again_where_the_job_exists(cut: FilePost) -> None:
    """P2: a power cut took the note: the file of a job that is in the spool is not given back."""
    cut.poller.step()
    (note,) = Path(cut.spool.owed_dir, "anna").iterdir()
    note.unlink()
    cut.poller.step()
    assert cut.tree() == ["working/*/a.pdf"]
    cut.run(Outcome("succeeded", 0))
    cut.poller.step()
    assert cut.tree() == ["done/a.pdf"]


def test_an_inbox_that_is_named_no_more_loses_no_file(cut: FilePost) -> None:
    """P1: its job is published and runs; when the inbox is named again, its file goes where it belongs."""
    os.makedirs(cut.spool.inbox_dir, exist_ok=True)
    found = [
        finding.text for finding in check.run(cut.spool, repair=False, names_only=False, clock=cut.desk.clock).findings
    ]
    assert any("1 job on the way from inbox anna" in text for text in found), found
    (name,) = Handover(cut.desk.session, "anna").publish_all()
    assert names_in(cut.spool, "pending") == [name]
    assert os.listdir(Path(cut.spool.handover_dir, "anna")) == []
    cut.run(Outcome("succeeded", 0))
    cut.poller.step()
    cut.poller.step()
    assert cut.tree() == ["done/a.pdf"]


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'["a", 1, 2]', b"\xff"])
def test_a_damaged_note_is_no_note(data: bytes) -> None:
    """P1: then the file is whatever is in the folder of its job."""
    assert note_of(data) == Note("")


def test_a_note_without_its_text_still_moves_the_file(cut: FilePost) -> None:
    """P1: a full disk left an empty note."""
    cut.poller.step()
    (note,) = Path(cut.spool.owed_dir, "anna").iterdir()
    note.write_bytes(b"")
    cut.run(Outcome("failed", 1, is_final=True))
    cut.poller.step()
    assert cut.tree() == ["failed/a.pdf", "failed/a.pdf.failed.txt"]
