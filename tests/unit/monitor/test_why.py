"""why: what runs the file of a job again, by where the file is now."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from queuectl.errors import QueuectlError
from queuectl.jobs import requeue
from queuectl.model.lifecycle import DONE, Outcome
from queuectl.monitor import why
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from tests.helpers import names_in
from tests.unit.inbox.file_post import FilePost

OK = Outcome("succeeded", 0)


def ran(post: FilePost, name: str) -> str:
    """Let the job of a new file succeed, and its file go where it belongs; return the id of the job."""
    post.take(name)
    claimed = post.run(OK)
    post.poller.step()
    return claimed.record.id


def session_of(post: FilePost) -> Session:
    """The spool with the present settings of the inbox."""
    return post.desk.session._replace(settings=post.desk.settings._replace(inboxes=(post.inbox,)))


def told(post: FilePost, job_id: str) -> str:
    """What `why` says runs the job again."""
    (reason,) = why.explain(session_of(post), job_id, now_at=post.desk.clock.now()).reasons
    return reason.change


def hint_of_retry(post: FilePost, job_id: str) -> str:
    """What `retry` says instead of doing so."""
    with pytest.raises(QueuectlError) as caught:
        requeue.requeue(session_of(post), job_id, by="retry")
    return caught.value.hint


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


@pytest.mark.parametrize("end", ["keep", "done", "delete"])
def test_a_content_that_has_run_is_run_again_after_the_record_is_deleted(
    spool: SpoolDir, tmp_path: Path, end: str
) -> None:
    """Otherwise the new job is skipped (unique = "content"), as that of a duplicate was. `retry` says the same."""
    post = FilePost(spool, tmp_path / "inbox", on_success=end, unique="content")
    first = ran(post, "a.pdf")
    post.take("b.pdf")
    post.poller.step()
    (second,) = [name.removesuffix(".json") for name in names_in(spool, DONE) if name.startswith("anna-b")]
    way = f"queuectl purge {first}, then "
    if end == "keep":
        ways = [f"{way}touch {post.folder / name}: it becomes a new job" for name in ("a.pdf", "b.pdf")]
    else:
        there = {"a.pdf": " from done" if end == "done" else "", "b.pdf": " from failed"}
        there = {name: each.replace("from ", f"from {post.folder}{os.sep}") for name, each in there.items()}
        back = f"back into {post.folder}: it becomes a new job there"
        ways = [f"{way}move the file {name}{there[name]} {back}" for name in there]
    assert [told(post, first), hint_of_retry(post, first), hint_of_retry(post, second)] == [ways[0], *ways]


def test_a_content_whose_job_is_dead_may_run_again_at_once(spool: SpoolDir, tmp_path: Path) -> None:
    """A dead job holds no key."""
    post = FilePost(spool, tmp_path / "inbox", unique="content")
    post.take("a.pdf")
    job_id = post.run(Outcome("failed", 1, is_final=True)).record.id
    post.poller.step()
    assert told(post, job_id).startswith(f"move the file a.pdf from {post.folder / 'failed'} back into")
