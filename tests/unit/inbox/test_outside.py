"""outside: files whose jobs have ended go to folders outside their inbox, also on another file system."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl.errors import InvalidSettingsError, QueuectlError, UntrustedSpoolError
from queuectl.inbox import outside
from queuectl.inbox.state import read_all
from queuectl.jobs.requeue import requeue
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import Outcome
from queuectl.monitor import inboxes, why
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk
from queuectl.system.volume import Space
from tests.helpers import make_spool
from tests.unit.inbox.file_post import FilePost

OK, BAD = Outcome("succeeded", 0), Outcome("failed", 1, is_final=True)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and mounts of POSIX")


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`."""
    for place in ("/dev/shm", "/tmp", "/var/tmp"):
        if os.access(place, os.W_OK) and os.stat(place).st_dev != tmp_path.stat().st_dev:
            made = Path(tempfile.mkdtemp(prefix="queuectl-far-", dir=place))
            yield made
            shutil.rmtree(made)
            return
    pytest.skip("there is no other file system")


def post_to(spool: SpoolDir, tmp_path: Path, folder: Path, **keys: Any) -> FilePost:
    """An inbox whose files go to `folder`/good and `folder`/bad."""
    for name in ("good", "bad"):
        (folder / name).mkdir(exist_ok=True)
    return FilePost(spool, tmp_path / "inbox", on_success=f"{folder}/good", on_failure=f"{folder}/bad", **keys)


def ends(post: FilePost, outcome: Outcome) -> Path:
    """Let the job of a.pdf end, and look; return the folder that it had in working/."""
    post.take("a.pdf")
    (folder,) = (post.folder / "working").iterdir()
    post.run(outcome)
    post.poller.step()
    return folder


def test_files_go_to_folders_outside_and_come_back_by_hand(spool: SpoolDir, tmp_path: Path) -> None:
    """P7: twice the same name are two files; a failed one lies beside its text, which goes when the file goes back."""
    post = post_to(spool, tmp_path, tmp_path)
    for _ in range(2):
        ends(post, OK)
        ends(post, BAD)
    bad = ["a (2).pdf", "a (2).pdf.failed.txt", "a.pdf", "a.pdf.failed.txt"]
    assert sorted(os.listdir(tmp_path / "good")) == ["a (2).pdf", "a.pdf"]
    assert sorted(os.listdir(tmp_path / "bad")) == bad
    assert os.listdir(post.folder) == ["working"] and post.tree() == []
    os.rename(tmp_path / "bad" / "a.pdf", post.folder / "a.pdf")
    post.poller.renamed.add("a.pdf")
    assert len(post.poller.step()) == 1 and sorted(os.listdir(tmp_path / "bad")) == bad[:2]


@posix_only
def test_a_copy_is_whole_and_has_the_times_of_the_file(spool: SpoolDir, tmp_path: Path, far: Path) -> None:
    """P1: with folders and links that the command made; others cannot write to it."""
    post = post_to(spool, tmp_path, far)
    path = post.send("a.pdf", "x" * 3_000_000, renamed=True)
    path.chmod(0o666)
    os.utime(path, (1e9, 1e9))
    post.poller.step()
    (folder,) = (post.folder / "working").iterdir()
    (folder / "pages" / "deep").mkdir(parents=True)
    (folder / "pages" / "deep" / "1.txt").write_text("one")
    os.symlink("../../a.pdf", folder / "pages" / "deep" / "whole")
    post.run(OK)
    post.poller.step()
    copy = far / "good" / "a.pdf"
    assert copy.read_text() == "x" * 3_000_000 and copy.stat().st_mtime == 1e9
    assert copy.stat().st_mode & 0o777 == 0o644
    assert (far / "good" / "pages" / "deep" / "1.txt").read_text() == "one"
    assert os.readlink(far / "good" / "pages" / "deep" / "whole") == "../../a.pdf"
    assert post.tree() == [] and sorted(os.listdir(far / "good")) == ["a.pdf", "pages"]


@posix_only
def test_a_file_that_changes_while_it_is_copied_is_copied_again(tmp_path: Path) -> None:
    """P1: no half of a new version, and nothing is left of the attempt."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("x")

    def beat() -> None:
        if source.stat().st_size < 3:
            with open(source, "a") as file:
                file.write("y")

    with pytest.raises(BlockingIOError, match="changed while it was copied"):
        disk.copy(str(source), str(target), sync=False, beat=beat)
    assert not target.exists()
    target.write_text("mine")
    with pytest.raises(FileExistsError):
        disk.copy(str(source), str(target), sync=False)
    assert target.read_text() == "mine"


def test_a_missing_folder_keeps_its_files_in_working_and_no_others(spool: SpoolDir, tmp_path: Path) -> None:
    """P1, P9: each is tried again, less and less often, and everybody can see why; the outcome of the job stays."""
    post = post_to(spool, tmp_path, tmp_path)
    (tmp_path / "good").rmdir()
    post.take("a.pdf", "b.pdf")
    job_id = post.run_all({"a.pdf": OK, "b.pdf": BAD})["a.pdf"]
    for _ in range(3):
        post.poller.step()
    text = f"there is no folder {tmp_path}/good; create it".replace("/", os.sep)
    (row,) = post.poller.state.unmoved_rows
    assert (row.job_id, row.name, row.why.replace("/", os.sep)) == (job_id, "a.pdf", text)
    assert sum("cannot leave working/" in each for each in post.texts) == 1
    os.makedirs(spool.inbox_dir, exist_ok=True)
    post.poller.show(every_s=0)
    assert inboxes.sentence(read_all(spool)[0]).startswith("1 cannot leave working/: there is no folder")
    session, now_at = post.desk.session, post.desk.clock.now()
    for typed in ("a.pdf", job_id):
        assert "cannot leave working/" in " ".join(
            each.text for each in why.explain(session, typed, now_at=now_at).reasons
        )
    assert post.tree() == ["working/*/a.pdf"] and "b.pdf" in os.listdir(tmp_path / "bad")
    (tmp_path / "good").mkdir()
    post.poller.step()
    assert post.tree() == ["working/*/a.pdf"]  # not before its pause is over
    post.desk.clock.advance(60)
    post.poller.step()
    assert post.tree() == [] and os.listdir(tmp_path / "good") == ["a.pdf"]
    assert post.poller.state.unmoved == 0 and any("have moved" in each for each in post.texts)


def test_a_receiver_that_ends_shows_which_files_cannot_move(spool: SpoolDir, tmp_path: Path) -> None:
    """The last job of a pool that drains may end after the last look."""
    post = post_to(spool, tmp_path, tmp_path)
    post.take("a.pdf")
    post.run(OK)
    (tmp_path / "good").rmdir()
    post.poller.finish()
    os.makedirs(spool.inbox_dir, exist_ok=True)
    post.poller.show(every_s=0)
    assert [row.name for row in read_all(spool)[0].unmoved_rows] == ["a.pdf"]
    post.start()
    (tmp_path / "good").mkdir()
    post.poller.step()
    assert os.listdir(tmp_path / "good") == ["a.pdf"] and post.poller.state.unmoved == 0


def test_the_file_of_a_deleted_job_waits_for_its_folder_too(spool: SpoolDir, tmp_path: Path) -> None:
    """P1: it goes to the folder of failed files, whenever that is there."""
    post = post_to(spool, tmp_path, tmp_path)
    (tmp_path / "bad").rmdir()
    (name,) = post.take("a.pdf")
    os.unlink(spool.path("pending", name))
    post.desk.clock.advance(61)
    for _ in range(2):
        post.poller.step()
        assert post.poller.state.unmoved == 1 and post.tree() == ["working/*/a.pdf"]
    (tmp_path / "bad").mkdir()
    post.desk.clock.advance(2)
    post.poller.step()
    assert sorted(os.listdir(tmp_path / "bad")) == ["a.pdf", "a.pdf.failed.txt"]


@posix_only
def test_no_copy_begins_without_room_for_it(
    spool: SpoolDir, tmp_path: Path, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: otherwise a large file would be copied in vain again and again."""
    post = post_to(spool, tmp_path, far)
    with monkeypatch.context() as patch:
        patch.setattr(outside.volume, "space", lambda _: Space(3, 100, None, None))
        ends(post, OK)
        assert "there is no room in" in post.poller.state.unmoved_rows[0].why
    assert post.tree() == ["working/*/a.pdf"] and os.listdir(far / "good") == []
    post.desk.clock.advance(2)
    post.poller.step()
    assert post.tree() == [] and os.listdir(far / "good") == ["a.pdf"]


@posix_only
def test_a_pipe_that_a_command_left_is_named(spool: SpoolDir, tmp_path: Path, far: Path) -> None:
    """Nobody can copy it. The file itself has gone before."""
    post = post_to(spool, tmp_path, far)
    post.take("a.pdf")
    (folder,) = (post.folder / "working").iterdir()
    os.mkfifo(folder / "pipe")  # type: ignore[attr-defined,unused-ignore]
    post.run(OK)
    post.poller.step()
    assert "pipe is a pipe" in post.poller.state.unmoved_rows[0].why
    os.unlink(folder / "pipe")
    post.desk.clock.advance(2)
    post.poller.step()
    assert os.listdir(far / "good") == ["a.pdf"] and not folder.exists()


@posix_only
def test_a_folder_that_others_can_change_gets_nothing(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: they could exchange files that workers make there, or the folder itself for a link."""
    post = post_to(spool, tmp_path, tmp_path)
    (tmp_path / "good").chmod(0o777)
    ends(post, OK)
    assert "chmod +t" in post.poller.state.unmoved_rows[0].why
    with pytest.raises(UntrustedSpoolError, match="refusing on_success of the inbox anna"):
        outside.check(spool, post.desk.settings, post.inbox)
    (tmp_path / "good").chmod(0o1777)
    outside.check(spool, post.desk.settings, post.inbox)
    tmp_path.chmod(0o777)
    with pytest.raises(UntrustedSpoolError, match=r"refusing on_success of the inbox anna"):
        outside.check(spool, post.desk.settings, post.inbox)
    tmp_path.chmod(0o700)
    post.desk.clock.advance(2)
    post.poller.step()
    assert os.listdir(tmp_path / "good") == ["a.pdf"]
    (tmp_path / "good").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "good")
    ends(post, OK)
    assert "on_success must be a folder" in post.poller.state.unmoved_rows[0].why


def test_no_file_goes_where_it_would_become_a_job(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: a copy belongs to the workers' user, so a stranger's file would run as a job of that user."""
    post = post_to(spool, tmp_path, tmp_path)
    trusted = tmp_path / "trusted"
    (trusted / "inner").mkdir(parents=True)
    (post.folder / "inner").mkdir()
    other = make_spool(tmp_path / "other")
    made = (Inbox(path=str(trusted), mode="trusted", owner="bob"), post.inbox)
    settings = post.desk.settings._replace(inboxes=made)
    wrong = {
        spool.root: "is in the spool",
        spool.folder("pending"): "is in the spool",
        other.folder("pending"): "is in the spool",
        str(trusted): "is in the inbox of bob",
        str(trusted / "inner"): "is in the inbox of bob",
        str(post.folder): "is in the inbox itself",
        str(post.folder / "inner"): "is in the inbox itself",
    }
    for path, text in wrong.items():
        for key in ("on_success", "on_failure"):
            inbox = Inbox(**{"path": str(post.folder), "mode": "files", "owner": "anna", "command": ("x",), key: path})
            with pytest.raises(InvalidSettingsError, match=text):
                outside.check(spool, settings, inbox)
    outside.check(spool, settings, post.inbox)


def test_the_text_of_a_file_that_is_on_its_way_is_left(spool: SpoolDir, tmp_path: Path) -> None:
    """Another inbox may have written it into a folder that several share."""
    one = post_to(spool, tmp_path, tmp_path)
    ends(one, BAD)
    os.unlink(tmp_path / "bad" / "a.pdf")
    text = tmp_path / "bad" / "a.pdf.failed.txt"
    os.utime(text, (one.desk.clock.now() - 5, one.desk.clock.now() - 5))
    one.poller.step()
    assert text.exists()
    one.desk.clock.advance(60)
    one.poller.step()
    assert not text.exists()


def test_a_retry_says_where_the_file_is(spool: SpoolDir, tmp_path: Path) -> None:
    """Before the file has moved a retry finds it; afterwards the error names its folder."""
    post = post_to(spool, tmp_path, tmp_path)
    (tmp_path / "bad").rmdir()
    folder = ends(post, BAD)
    job_id = folder.name.partition("-")[2]
    requeue(post.desk.session, job_id, by="retry")
    post.run(BAD)
    (tmp_path / "bad").mkdir()
    post.desk.clock.advance(60)
    post.poller.step()
    with pytest.raises(QueuectlError, match="no longer in the working folder") as caught:
        requeue(post.desk.session._replace(settings=post.desk.settings._replace(inboxes=(post.inbox,))), job_id, by="x")
    assert f"{tmp_path}/bad" in caught.value.hint and str(post.folder) in caught.value.hint
