"""why: what runs the file of a job again, by where the file is now."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from queuectl.model.lifecycle import Outcome
from queuectl.monitor import why
from queuectl.spool.folder import SpoolDir
from tests.unit.inbox.file_post import FilePost

OK = Outcome("succeeded", 0)


def ran(post: FilePost, name: str) -> str:
    """Let the job of a new file succeed, and its file go where it belongs; return the id of the job."""
    post.take(name)
    claimed = post.run(OK)
    post.poller.step()
    return claimed.record.id


def told(post: FilePost, job_id: str) -> str:
    """What `why` says runs the job again, by the present settings."""
    session = post.desk.session._replace(settings=post.desk.settings._replace(inboxes=(post.inbox,)))
    (reason,) = why.explain(session, job_id, now_at=post.desk.clock.now()).reasons
    return reason.change


@pytest.mark.parametrize("later", ["keep", "done"])
@pytest.mark.parametrize("name", ["a.pdf", "s/a.pdf"])
def test_a_file_that_was_kept_is_touched_whatever_the_settings_say_now(
    spool: SpoolDir, tmp_path: Path, name: str, later: str
) -> None:
    """The file is where its note says, also if `on_success` has been changed since."""
    post = FilePost(spool, tmp_path / "inbox", on_success="keep", recursive=True)
    (post.folder / "s").mkdir()
    job_id = ran(post, name)
    post.inbox = msgspec.structs.replace(post.inbox, on_success=later)
    assert told(post, job_id) == f"touch {post.folder / name}: it becomes a new job"


def test_a_file_that_was_not_kept_is_moved_back_whatever_the_settings_say_now(spool: SpoolDir, tmp_path: Path) -> None:
    """To touch its old name would make an empty file, and a job of it."""
    post = FilePost(spool, tmp_path / "inbox", on_success="done")
    job_id = ran(post, "a.pdf")
    back = f"back into {post.folder}: it becomes a new job there"
    assert told(post, job_id) == f"move the file a.pdf from {post.folder / 'done'} {back}"
    post.inbox = msgspec.structs.replace(post.inbox, on_success="keep")
    assert told(post, job_id) == f"move the file a.pdf {back}"


def test_a_kept_file_that_was_taken_away_is_moved_back(spool: SpoolDir, tmp_path: Path) -> None:
    """Its note is forgotten with the next look."""
    post = FilePost(spool, tmp_path / "inbox", on_success="keep")
    job_id = ran(post, "a.pdf")
    os.rename(post.folder / "a.pdf", tmp_path / "a.pdf")
    post.poller.step()
    assert told(post, job_id).startswith("move the file a.pdf back into")
