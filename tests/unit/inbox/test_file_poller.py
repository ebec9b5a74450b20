"""file_poller: when a file is whole, which are taken, and what becomes of them, by a clock that is set by hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl.errors import QueuectlError
from queuectl.inbox import limits
from queuectl.inbox.file_box import ClaimedError, FileBox
from queuectl.inbox.file_poller import FilePoller
from queuectl.inbox.state import read_all
from queuectl.jobs.requeue import requeue
from queuectl.maintenance.retention import Retention
from queuectl.model.lifecycle import Outcome
from queuectl.monitor import inboxes
from queuectl.spool import clock_note
from queuectl.spool.folder import SpoolDir
from queuectl.spool.stripes import Stripes
from queuectl.system import volume
from tests.helpers import NOON_AT, names_in, wait_until
from tests.unit.inbox.file_post import COMMAND, FilePost

OK, BAD = Outcome("succeeded", 0), Outcome("failed", 1, is_final=True)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="modes and links of POSIX")


def test_a_renamed_file_is_taken_at_once_and_its_record_names_it(spool: SpoolDir, tmp_path: Path) -> None:
    """P1, P2: the file is in working/, and the command has its path there."""
    post = FilePost(spool, tmp_path / "inbox", tags=("scan",), priority=3)
    (name,) = post.take("Straße 1.pdf")
    claimed = post.desk.start(name)
    item = claimed.record
    working = tmp_path / "inbox" / "working"
    (folder,) = working.iterdir()
    assert item.command == ["cp", str(folder / "Straße 1.pdf"), f"{folder}/Straße 1.copy"]
    assert (item.owner, item.tags, item.priority) == ("anna", ["scan"], 3)
    assert (item.history[0].file, item.history[0].claimed) == ("Straße 1.pdf", str(folder / "Straße 1.pdf"))
    assert folder.name.endswith(f"-{item.id}")
    assert post.tree() == ["working/*/Straße 1.pdf"]


def test_a_plain_file_is_taken_when_it_was_quiet_for_settle_s(spool: SpoolDir, tmp_path: Path) -> None:
    """Each change of size or time begins anew, also a time that was set back (rsync in place)."""
    post = FilePost(spool, tmp_path / "inbox")
    path = post.send("a.pdf")
    for change in (lambda: path.write_text("longer"), lambda: os.utime(path, (1.0, 1.0)), lambda: None):
        assert post.poller.step() == []
        post.desk.clock.advance(9.9)
        assert post.poller.step() == []
        change()
    assert post.poller.due_s == pytest.approx(0.1)
    (row,) = post.poller.state.rows
    assert (row.name, row.size, row.quiet_s) == ("a.pdf", 6, 9.9)
    post.desk.clock.advance(0.2)
    assert len(post.poller.step()) == 1


@pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="only Linux and Windows tell")
def test_a_file_that_a_program_has_open_for_writing_waits(spool: SpoolDir, tmp_path: Path) -> None:
    """However long it is quiet, and however it came; once it is closed it need not be quiet again."""
    post = FilePost(spool, tmp_path / "inbox")
    post.send("a.pdf")
    post.send("b.pdf", renamed=True)
    with open(tmp_path / "inbox" / "a.pdf", "a"), open(tmp_path / "inbox" / "b.pdf", "a"):
        for _ in range(3):
            assert post.poller.step() == []
            post.desk.clock.advance(100)
        assert {row.why for row in post.poller.state.rows} == {"a program has it open for writing"}
        assert post.poller.due_s == float("inf")
    assert len(post.poller.step()) == 2


def test_a_marker_says_that_a_file_is_whole_and_goes_with_it(spool: SpoolDir, tmp_path: Path) -> None:
    """done_file: not before the marker, however long it is quiet; the two come to failed/ together."""
    post = FilePost(spool, tmp_path / "inbox", done_file="{stem}.ok", match=("*",))
    post.send("a.pdf", renamed=True)
    assert post.poller.step() == []
    post.desk.clock.advance(1000)
    assert post.poller.step() == []
    assert [row.why for row in post.poller.state.rows] == ["a.ok is not there yet"]
    assert post.poller.is_drained  # a pool that drains does not wait for a marker that may never come
    post.send("a.ok")
    assert len(post.poller.step()) == 1
    assert post.tree() == ["working/*/a.ok", "working/*/a.pdf"]
    post.run(BAD)
    post.poller.step()
    assert post.tree() == ["failed/a.ok", "failed/a.pdf", "failed/a.pdf.failed.txt"]


def test_only_names_that_match_are_taken(spool: SpoolDir, tmp_path: Path) -> None:
    """P11: temporary and conflicting names, texts of ours, ignored and other names stay where they are."""
    post = FilePost(spool, tmp_path / "inbox", match=("*.pdf", "*.TIF"), ignore=("draft*",))
    good = ["A.PDF", "b.tif", "{file}.pdf", "-x.pdf", "a b'$(x);.pdf", "é.pdf"]
    left = [
        "a.pdf.part",
        ".a.pdf.Xyz12",
        "~a.pdf",
        "a (conflicted copy 2026).pdf",
        "a.sync-conflict-20261130-010203.pdf",
    ]
    left += ["DRAFT 1.pdf", "a.txt", "a.pdf.failed.txt", "a.pdf~"]
    (tmp_path / "inbox" / "folder.pdf").mkdir()
    assert len(post.take(*good, *left)) == len(good)
    assert sorted(os.listdir(tmp_path / "inbox")) == sorted([*left, "folder.pdf", "working"])
    assert post.poller.state.left_alone == len(left) + 1


def test_a_file_of_a_job_that_succeeded_goes_to_done_with_what_lies_beside_it(spool: SpoolDir, tmp_path: Path) -> None:
    """P2, P7: twice the same name are two files."""
    post = FilePost(spool, tmp_path / "inbox")
    for _ in range(2):
        post.take("a.pdf")
        (folder,) = (tmp_path / "inbox" / "working").iterdir()
        (folder / "a.copy").write_text("made by the command")
        post.run(OK)
        assert post.poller.step() == []
    assert post.tree() == ["done/a (2).copy", "done/a (2).pdf", "done/a.copy", "done/a.pdf"]
    assert list((tmp_path / "inbox" / "working").iterdir()) == []
    assert list(Path(spool.owed_dir, "anna").iterdir()) == []


def test_a_file_of_a_dead_job_goes_to_failed_beside_a_text_and_comes_back_by_hand(
    spool: SpoolDir, tmp_path: Path
) -> None:
    """P6, P7: the text has the file's name there; moving the file back into the inbox is a retry and takes it away."""
    post = FilePost(spool, tmp_path / "inbox")
    for _ in range(2):
        post.take("a.pdf")
        post.run(BAD)
        post.poller.step()
    failed = tmp_path / "inbox" / "failed"
    assert sorted(os.listdir(failed)) == ["a (2).pdf", "a (2).pdf.failed.txt", "a.pdf", "a.pdf.failed.txt"]
    assert "attempt 1 ended with exit code 1" in (failed / "a.pdf.failed.txt").read_text()
    os.rename(failed / "a.pdf", tmp_path / "inbox" / "a.pdf")
    (failed / "mine.failed.txt").write_text("of a person")
    post.poller.renamed.add("a.pdf")
    assert len(post.poller.step()) == 1
    assert sorted(os.listdir(failed)) == ["a (2).pdf", "a (2).pdf.failed.txt", "mine.failed.txt"]


def test_a_job_whose_file_has_gone_to_failed_is_not_requeued(spool: SpoolDir, tmp_path: Path) -> None:
    """The command would not find it; the error says what to do instead. Before that, a retry finds the file."""
    post = FilePost(spool, tmp_path / "inbox")
    post.take("a.pdf")
    job_id = post.run(BAD).record.id
    requeue(post.desk.session, job_id, by="retry")
    post.poller.step()
    assert post.tree() == ["working/*/a.pdf"]
    post.run(BAD)
    post.poller.step()
    with pytest.raises(QueuectlError, match="no longer in the working folder") as caught:
        requeue(post.desk.session, job_id, by="retry")
    assert str(tmp_path / "inbox") in caught.value.hint and names_in(spool, "dlq")


def test_delete_deletes_the_file_only_after_success(spool: SpoolDir, tmp_path: Path) -> None:
    """What the command made beside it is kept."""
    post = FilePost(spool, tmp_path / "inbox", on_success="delete", done_file="{name}.ok")
    for outcome in (BAD, OK):
        post.send("a.pdf")
        post.send("a.pdf.ok")
        post.poller.step()
        (folder,) = (tmp_path / "inbox" / "working").iterdir()
        (folder / "a.copy").write_text("made by the command")
        post.run(outcome)
        post.poller.step()
    assert post.tree() == [
        "done/a.copy",
        *(f"failed/a{end}" for end in (".copy", ".pdf", ".pdf.failed.txt", ".pdf.ok")),
    ]


def test_a_kept_file_stays_in_the_inbox_and_runs_once_for_each_version(spool: SpoolDir, tmp_path: Path) -> None:
    """Over restarts, also if the command changed it, and with a hard link that a backup makes."""
    post = FilePost(spool, tmp_path / "inbox", on_success="keep")
    path = post.folder / "a.pdf"
    for round_ in range(3):
        assert len(post.take("a.pdf") if not round_ else post.poller.step()) == 1
        (folder,) = (post.folder / "working").iterdir()
        (folder / "a.copy").write_text("made by the command")
        with open(folder / "a.pdf", "a") as file:
            file.write("stamp")
        post.run(OK)
        for restart in (False, True):
            if restart:
                post.start()
            for _ in range(3):
                assert post.poller.step() == []
                post.desk.clock.advance(100)
            assert (post.poller.state.kept, post.poller.state.arriving, post.poller.is_drained) == (1, 0, True)
        assert post.tree()[0] == "a.pdf" and len(post.tree()) == round_ + 2
        path.write_text("grown" * round_)
        assert post.poller.step() == [] and post.poller.state.arriving == 1  # no rename: it must be quiet
        post.desk.clock.advance(11)
    assert sum("taken as a new version" in text for text in post.texts) == 0
    assert len(post.poller.step()) == 1
    assert sum("taken as a new version" in text for text in post.texts) == 1


def test_a_kept_file_leaves_its_marker_and_its_results_in_done(spool: SpoolDir, tmp_path: Path) -> None:
    """A result that went back could be taken, and a marker would say that the next version is whole."""
    post = FilePost(spool, tmp_path / "inbox", on_success="keep", done_file="{name}.ok")
    post.send("a.pdf")
    post.send("a.pdf.ok")
    post.poller.step()
    (folder,) = (post.folder / "working").iterdir()
    (folder / "b.pdf").write_text("made by the command")
    post.run(OK)
    post.poller.step()
    assert post.tree() == ["a.pdf", "done/a.pdf.ok", "done/b.pdf"]
    assert post.poller.step() == [] and post.poller.state.kept == 1


def test_a_kept_file_replaces_none_that_came_meanwhile(spool: SpoolDir, tmp_path: Path) -> None:
    """P7: the new one is a job of its own; the other one is kept beside."""
    post = FilePost(spool, tmp_path / "inbox", on_success="keep")
    post.take("a.pdf")
    post.send("a.pdf", "new")
    post.run(OK)
    post.poller.step()
    assert post.tree() == ["a (2).pdf", "a.pdf"] and post.poller.state.kept == 0
    post.desk.clock.advance(11)
    assert len(post.poller.step()) == 1 and post.poller.state.kept == 1
    post.run(OK)
    post.poller.step()
    assert post.poller.step() == [] and post.poller.state.kept == 2
    assert (post.folder / "a.pdf").read_text() == "new"


def test_a_kept_file_that_comes_back_runs_again_and_one_that_failed_does(spool: SpoolDir, tmp_path: Path) -> None:
    """Taking a file out and putting it back asks for another run; a failure keeps nothing."""
    post = FilePost(spool, tmp_path / "inbox", on_success="keep")
    post.take("a.pdf")
    post.run(OK)
    post.poller.step()
    assert post.poller.step() == []
    os.rename(post.folder / "a.pdf", tmp_path / "a.pdf")
    post.poller.step()
    post.start()
    os.rename(tmp_path / "a.pdf", post.folder / "a.pdf")
    post.poller.renamed.add("a.pdf")
    assert len(post.poller.step()) == 1
    post.run(BAD)
    post.poller.step()
    os.rename(post.folder / "failed" / "a.pdf", post.folder / "a.pdf")
    post.poller.renamed.add("a.pdf")
    assert len(post.poller.step()) == 1


def test_a_kept_file_stays_in_its_subfolder(spool: SpoolDir, tmp_path: Path) -> None:
    """Its note has the path; nothing is forgotten while the subfolder cannot be listed."""
    post = FilePost(spool, tmp_path / "inbox", on_success="keep", recursive=True)
    (post.folder / "x" / "y").mkdir(parents=True)
    post.send("x/y/a.pdf")
    post.poller.step()
    post.desk.clock.advance(11)
    assert len(post.poller.step()) == 1
    (folder,) = (post.folder / "working").glob("*/x/y")
    (folder / "a.copy").write_text("made by the command")
    post.run(OK)
    post.poller.step()
    assert post.tree() == ["done/x/y/a.copy", "x/y/a.pdf"]
    for hides in (False,) if sys.platform == "win32" else (False, True, False):
        if hides:
            os.rename(post.folder / "x", tmp_path / "x")
            os.symlink(tmp_path / "x", post.folder / "x")
        elif os.path.islink(post.folder / "x"):
            os.unlink(post.folder / "x")
            os.rename(tmp_path / "x", post.folder / "x")
        post.start()
        assert post.poller.step() == []
        post.desk.clock.advance(100)
        assert post.poller.step() == [] and post.poller.state.kept == (not hides)


def test_the_rename_that_puts_a_kept_file_back_proves_nothing(spool: SpoolDir, tmp_path: Path) -> None:
    """Its event comes with the next change of the file, which need not be whole by then."""
    post = FilePost(spool, tmp_path / "inbox", on_success="keep")
    post.take("a.pdf")
    post.run(OK)
    post.poller.step()
    (post.folder / "a.pdf").write_text("half of a new vers")
    post.poller.renamed.add("a.pdf")
    assert post.poller.step() == [] and post.poller.state.arriving == 1


def test_the_file_of_a_job_that_was_deleted_goes_to_failed(spool: SpoolDir, tmp_path: Path) -> None:
    """P1: nothing is lost, whoever deletes the record."""
    post = FilePost(spool, tmp_path / "inbox", on_failure="bad")
    (name,) = post.take("a.pdf")
    os.unlink(spool.path("pending", name))
    post.desk.clock.advance(61)
    post.poller.step()
    assert post.tree() == ["bad/a.pdf", "bad/a.pdf.failed.txt"]
    assert "no longer in the spool" in (tmp_path / "inbox" / "bad" / "a.pdf.failed.txt").read_text()


def test_retention_spares_a_job_whose_file_is_still_in_working(spool: SpoolDir, tmp_path: Path) -> None:
    """P1: otherwise a receiver that was away for long would not know that the job had succeeded."""
    post = FilePost(spool, tmp_path / "inbox")
    post.take("a.pdf")
    post.run(OK)
    stripes = Stripes(spool)
    clock_note.accept(spool, now_at=post.desk.clock.now())
    settings = post.desk.settings._replace(keep_done=3600.0)
    retention = Retention(post.desk.session._replace(settings=settings), stripes, notify=lambda _: None)
    try:
        for expected in (0, 1):
            post.desk.clock.advance(7200)
            assert sum(retention.step() for _ in range(5)) == expected
            post.poller.step()
    finally:
        stripes.close()
    assert post.tree() == ["done/a.pdf"]


@posix_only
def test_names_that_no_command_may_get_stay_with_a_reason(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: a control character, bytes that are no UTF-8, a word that would begin with a dash."""
    post = FilePost(spool, tmp_path / "inbox", command=("tool", "{name}", "{file}"))
    folder = os.fsencode(tmp_path / "inbox")
    bad = {b"-rf.pdf": "become the option", b"a\nb.pdf": "control character", b"a\x1b.pdf": "control character"}
    if sys.platform == "linux":
        bad[b"a\xff.pdf"] = "not UTF-8"
    for name in bad:
        with open(os.path.join(folder, name), "w"):
            post.poller.renamed.add(os.fsdecode(name))
    assert len(post.take("good.pdf")) == 1
    reasons = {os.fsencode(row.name): row.why for row in post.poller.state.refused}
    assert set(reasons) == set(bad)
    for name, why in bad.items():
        assert why in reasons[name]
    os.makedirs(spool.inbox_dir, exist_ok=True)
    post.poller.show(every_s=0)
    assert inboxes.sentence(read_all(spool)[0]) == f"1 in working/; {len(bad)} refused"


@posix_only
def test_links_fifos_and_second_names_are_not_taken(spool: SpoolDir, tmp_path: Path) -> None:
    """P10, P11: nothing outside is read or moved, and nothing waits for a FIFO."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    post = FilePost(spool, tmp_path / "inbox")
    inbox = tmp_path / "inbox"
    os.symlink(secret, inbox / "link.pdf")
    os.mkfifo(inbox / "fifo.pdf")  # type: ignore[attr-defined,unused-ignore]
    os.link(secret, inbox / "second.pdf")
    post.poller.renamed.update(("link.pdf", "fifo.pdf", "second.pdf"))
    for _ in range(3):
        assert post.poller.step() == []
        post.desk.clock.advance(100)
    assert [row.name for row in post.poller.state.refused] == ["second.pdf"]
    assert sorted(post.poller.state.foreign) == ["fifo.pdf", "link.pdf"]


@posix_only
def test_an_inbox_that_others_can_write_to_must_be_sticky(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: otherwise they could put another folder in the place of working/, whose path the command gets."""
    post = FilePost(spool, tmp_path / "inbox")
    post.folder.chmod(0o777)
    assert post.take("a.pdf") == [] and "chmod +t" in post.poller.state.trouble
    post.folder.chmod(0o1777)
    assert len(post.poller.step()) == 1
    assert (post.folder / "working").stat().st_mode & 0o7777 == 0o700
    post.run(BAD)
    post.poller.step()
    assert (post.folder / "failed").stat().st_mode & 0o7777 == 0o1777  # so that a producer can take its file back


@posix_only
def test_a_link_in_the_place_of_one_of_our_folders_stops_the_inbox(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: nothing moves through it, and no job is lost."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    post = FilePost(spool, tmp_path / "inbox")
    os.symlink(elsewhere, post.folder / "working")
    assert post.take("a.pdf") == [] and "must be a folder" in post.poller.state.trouble
    os.unlink(post.folder / "working")
    assert len(post.poller.step()) == 1
    os.symlink(elsewhere, post.folder / "done")
    post.run(OK)
    post.poller.step()
    assert "must be a folder" in post.poller.state.trouble and post.tree() == ["working/*/a.pdf"]
    os.unlink(post.folder / "done")
    post.poller.step()
    assert post.tree() == ["done/a.pdf"] and os.listdir(elsewhere) == []


def test_a_missing_folder_of_results_keeps_the_files_in_the_inbox(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: otherwise each job would fail because of it."""
    post = FilePost(spool, tmp_path / "inbox", command=(*COMMAND[:2], "{out}/{name}"), out=str(tmp_path / "out"))
    assert post.take("a.pdf") == [] and str(tmp_path / "out") in post.poller.state.trouble
    (tmp_path / "out").mkdir()
    (name,) = post.poller.step()
    assert post.desk.start(name).record.command[2] == f"{tmp_path / 'out'}/a.pdf"


def test_a_relative_inbox_begins_at_the_spool_and_its_files_have_plain_paths(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: {file} and {out} are absolute, without dots."""
    (tmp_path / "inbox" / "out").mkdir(parents=True)
    words = ("tool", "{file}", "{out}")
    post = FilePost(spool, tmp_path / "inbox", command=words, out=os.path.join("..", "inbox", "out"))
    post.poller = FilePoller(post.desk.session, post.inbox, os.path.join(spool.root, "..", "inbox"))
    (name,) = post.take("a.pdf")
    _, path, out = post.desk.start(name).record.command
    assert path.startswith(str(tmp_path / "inbox" / "working")) and out == str(tmp_path / "inbox" / "out")


def test_limits_hold_and_what_waits_need_not_settle_again(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """max_waiting, and so many a poll; files beyond that are the next ones."""
    monkeypatch.setattr(limits, "AT_ONCE", 4)
    post = FilePost(spool, tmp_path / "inbox", max_waiting=6)
    for number in range(10):
        post.send(f"{number}.pdf")
    post.poller.step()
    post.desk.clock.advance(11)
    assert len(post.poller.step()) == 4
    assert (post.poller.state.waiting, post.poller.state.arriving) == (6, 0)
    assert post.poller.due_s == float("inf")
    assert len(post.poller.step()) == 2
    assert (post.poller.state.waiting, post.poller.state.held_back) == (4, "max_waiting = 6")
    assert post.poller.due_s == float("inf")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not told")
def test_a_change_that_could_not_be_ruled_out_is_reported(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of others may still be written to after they were taken; those of the workers' user may not."""
    post = FilePost(spool, tmp_path / "inbox")
    for tells in (True, False):
        if not tells:
            monkeypatch.setattr("queuectl.system.files._refuses_lease", lambda _fd: None)
        post.take("a.pdf")
        (folder,) = (tmp_path / "inbox" / "working").iterdir()
        with open(folder / "a.pdf", "a") as file:
            file.write("more")
        post.run(OK)
        post.poller.step()
        assert any("a.pdf changed after it was taken" in text for text in post.texts) is not tells


@pytest.mark.skipif(sys.platform != "linux", reason="file systems are told by name here")
def test_on_a_share_a_writer_of_another_machine_cannot_be_ruled_out(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That no program of this machine has the file open proves nothing there: a change is reported."""
    monkeypatch.setattr("queuectl.system.volume._of_linux", lambda path: volume.Volume("nfs4", path, volume.NETWORK))
    post = FilePost(spool, tmp_path / "inbox")
    post.take("a.pdf")
    (folder,) = (tmp_path / "inbox" / "working").iterdir()
    with open(folder / "a.pdf", "a") as file:
        file.write("more")
    post.run(OK)
    post.poller.step()
    assert any("a.pdf changed after it was taken" in text for text in post.texts)


def test_while_a_share_is_not_mounted_its_jobs_are_not_settled(spool: SpoolDir, tmp_path: Path) -> None:
    """P2: a file whose job has ended is not run again, even if its record is deleted before the share is back."""
    post = FilePost(spool, tmp_path / "inbox")
    post.take("a.pdf")
    post.run(OK)
    (tmp_path / "inbox").rename(tmp_path / "share")
    (tmp_path / "inbox").mkdir()
    post.send("b.pdf", renamed=True)
    assert post.poller.step() == []
    assert "it is missing, but jobs have files there" in post.poller.state.trouble
    assert post.tree() == ["b.pdf"]
    clock_note.accept(spool, now_at=post.desk.clock.now())
    settings = post.desk.settings._replace(keep_done=3600.0)
    retention = Retention(post.desk.session._replace(settings=settings), post.desk.stripes, notify=lambda _: None)
    post.desk.clock.advance(7200)
    assert sum(retention.step() for _ in range(5)) == 0
    (tmp_path / "inbox").rename(tmp_path / "below")
    (tmp_path / "share").rename(tmp_path / "inbox")
    assert post.poller.step() == []
    assert post.tree() == ["done/a.pdf"] and names_in(spool, "done")


@pytest.mark.skipif(sys.platform != "linux", reason="file systems are told by name here")
def test_a_share_that_is_mounted_later_gets_the_settle_s_of_shares(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: 120 s, not the `settle_s` of the folder that was there before."""
    post = FilePost(spool, tmp_path / "inbox", settle_s=None)
    post.send("a.pdf")
    assert post.poller.step() == [] and post.poller.due_s == post.desk.settings.settle_s < 120
    (tmp_path / "inbox").rename(tmp_path / "below")
    (tmp_path / "inbox").mkdir()
    post.send("b.pdf")
    monkeypatch.setattr("queuectl.system.volume._of_linux", lambda path: volume.Volume("nfs4", path, volume.NETWORK))
    assert post.poller.step() == [] and post.poller.due_s == 120


def test_a_file_that_was_given_back_is_not_whole_because_of_that(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver's own rename, of a file that was changed at its claim, is an event like any other."""
    post = FilePost(spool, tmp_path / "inbox")
    claim = FileBox.claim

    def late(*facts: Any) -> None:
        claim(*facts)
        raise ClaimedError("it was changed just now")

    with monkeypatch.context() as patch:
        patch.setattr(FileBox, "claim", late)
        assert post.take("a.pdf") == [] and post.tree() == ["a.pdf"]
    for _ in range(2):
        post.poller.renamed.add("a.pdf")
        if (taken := post.poller.step()) != []:
            break
        post.desk.clock.advance(1)
    assert taken and post.desk.clock.now() == NOON_AT + 1  # the second rename was somebody's


def test_two_receivers_of_one_inbox_take_each_file_once(spool: SpoolDir, tmp_path: Path) -> None:
    """P2: two spools share an inbox; the folders of the other one are left alone."""
    from tests.helpers import make_spool

    one = FilePost(spool, tmp_path / "inbox")
    two = FilePost(make_spool(tmp_path / "other"), tmp_path / "inbox")
    two.desk.session.rng.seed(7)
    os.makedirs(two.spool.machinery, exist_ok=True)
    Path(two.spool.identity_path).write_text("zzzzzz")
    assert len(one.take("a.pdf")) == 1
    assert two.poller.step() == []
    assert one.tree() == ["working/*/a.pdf"]


def test_the_receiver_notices_a_rename_by_its_event(tmp_path: Path) -> None:
    """A rename is told, and forgotten when a writer closes the file afterwards (Linux)."""
    from queuectl.system.watch import Watch

    watch = Watch(str(tmp_path), tells_renames=True)
    assert watch.arm() and watch.renamed == set()
    try:
        (tmp_path / "a.part").write_text("x")
        os.rename(tmp_path / "a.part", tmp_path / "a")
        if sys.platform == "linux":
            wait_until(lambda: watch.names() and watch.renamed)
            assert watch.renamed == {"a"}
            (tmp_path / "a").write_text("again")
            wait_until(watch.names)
        assert watch.renamed == set()
    finally:
        watch.close()


@posix_only
def test_files_that_are_done_cost_a_look_nothing(spool: SpoolDir, tmp_path: Path) -> None:
    """P8: nobody lists done/, however many files are there: the calls of an idle look are the same."""
    from tests.crash.inject import Plan, injected

    post = FilePost(spool, tmp_path / "inbox")
    counts = []
    for number in (0, 500):
        (post.folder / "done").mkdir(exist_ok=True)
        for each in range(number):
            (post.folder / "done" / f"{each}.pdf").touch()
        post.poller.step()
        with injected(Plan()) as plan:
            post.poller.step()
        counts.append([call.kind for call in plan.calls])
    assert counts[0] == counts[1] and counts[0].count("listdir") <= 5, counts


def test_a_command_of_the_settings_runs_for_each_file_with_its_own_limits(spool: SpoolDir, tmp_path: Path) -> None:
    """template: the words, folder, variables and limits of [commands]; what the inbox says wins."""
    where = str(tmp_path).replace("\\", "/")
    text = f"""
    [commands.scale]
    argv = ["tool", "{{file}}", "{{size}}", "{{folder}}", "{{page}}"]
    cwd = "{where}"
    timeout = "5m"
    max_retries = 7
    env = {{ A = "b" }}
    [commands.scale.params]
    file = {{ type = "path", under = "{where}", exists = true }}
    folder = {{ type = "path", under = "{where}", exists = true }}
    size = {{ type = "match", pattern = "[0-9]+x[0-9]+" }}
    page = {{ type = "int" }}
    """
    post = FilePost(
        spool,
        tmp_path / "inbox",
        text=text,
        command=(),
        template="scale",
        params={"size": "80x60", "page": "{stem}"},
        max_retries=1,
    )
    (name,) = post.take("07.pdf", "no number.pdf")
    item = post.desk.start(name).record
    path = os.path.realpath(next((tmp_path / "inbox" / "working").glob("*/07.pdf")))
    assert item.command == ["tool", path, "80x60", os.path.dirname(path), "7"]
    assert (item.cwd, item.env, item.timeout, item.max_retries) == (where, {"A": "b"}, 300, 1)
    assert post.tree() == ["no number.pdf", "working/*/07.pdf"]
    (refused,) = post.poller.state.refused
    assert refused.name == "no number.pdf" and "params.page: takes a whole number" in refused.why
