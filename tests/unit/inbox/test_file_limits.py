"""Inboxes of files: limits, turns and receipts as other inboxes have them, and what their state says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.errors import InvalidSettingsError
from queuectl.inbox.opening import check_inboxes
from queuectl.inbox.state import InboxState, read
from queuectl.model import names
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import Outcome
from queuectl.model.run_queue import RunQueue
from queuectl.model.settings import defaults
from queuectl.model.text import command_text
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT, names_in
from tests.unit.inbox.file_post import COMMAND, FilePost

OK, BAD = Outcome("succeeded", 0), Outcome("failed", 1, is_final=True)


def state_of(post: FilePost) -> InboxState:
    """The state as another process reads it."""
    os.makedirs(post.spool.inbox_dir, exist_ok=True)
    post.poller.show(every_s=0)
    state = read(post.spool, "anna")
    assert state is not None
    return state


def test_max_per_minute_keeps_files_in_the_inbox(spool: SpoolDir, tmp_path: Path) -> None:
    """The files that are left are whole and wait; a minute later so many more are taken."""
    post = FilePost(spool, tmp_path / "inbox", max_per_minute=3)
    assert len(post.take(*(f"{number}.pdf" for number in range(5)))) == 3
    assert (post.poller.state.waiting, post.poller.state.held_back) == (2, "max_per_minute = 3")
    post.desk.clock.advance(59)
    assert post.poller.step() == [] and sorted(os.listdir(post.folder)) == ["3.pdf", "4.pdf", "working"]
    post.desk.clock.advance(2)
    assert len(post.poller.step()) == 2 and post.poller.state.waiting == 0


def test_max_waiting_counts_only_jobs_that_wait(spool: SpoolDir, tmp_path: Path) -> None:
    """A job that runs or has ended makes room, although its file is in working/ or done/."""
    post = FilePost(spool, tmp_path / "inbox", max_waiting=1)
    assert len(post.take("a.pdf", "b.pdf", "c.pdf")) == 1
    assert post.poller.step() == [] and post.poller.state.held_back == "max_waiting = 1"
    (waiting,) = names_in(spool, "pending")
    claimed = post.desk.start(waiting)  # it runs
    assert len(post.poller.step()) == 1
    post.desk.settlements.settle(claimed, OK)
    assert post.poller.step() == []
    post.run(OK)
    assert len(post.poller.step()) == 1
    assert (post.poller.state.waiting, post.poller.state.held_back) == (0, "")


def test_inboxes_of_files_take_turns(spool: SpoolDir, tmp_path: Path) -> None:
    """One with many files does not keep back the one file of another."""
    anna, ben = FilePost(spool, tmp_path / "anna"), FilePost(spool, tmp_path / "ben", owner="ben")
    anna.take(*(f"{number}.pdf" for number in range(5)))
    ben.take("x.pdf")
    queue = RunQueue()
    queue.update(*names.split_generated(names_in(spool, "pending")), NOON_AT)
    owners = [names.parse(name).owner for name in iter(queue.take, None)]  # type: ignore[union-attr]
    assert owners == ["anna", "ben", *["anna"] * 4]


def test_a_name_that_no_command_may_get_is_refused_at_every_poll(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: at once, because it need not settle for that, and as long as the file is there."""
    post = FilePost(spool, tmp_path / "inbox", command=("cat", "{name}"))
    post.send("-rf.pdf")
    for _ in range(5):
        assert post.poller.step() == []
        assert (post.poller.state.rejected, post.poller.state.arriving) == (1, 0)
        assert post.poller.is_drained
        post.desk.clock.advance(7)


def test_a_missing_folder_is_reported_with_what_to_do(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: of the inbox and of the results; nothing is taken, and no job fails because of it."""
    post = FilePost(spool, tmp_path / "inbox", command=("cp", "{file}", "{out}/{name}"), out=str(tmp_path / "texts"))
    assert post.take("a.pdf") == []
    assert post.poller.state.trouble == (
        f"there is no folder {tmp_path / 'texts'} (out); create it, or correct out in {spool.settings_path}"
    )
    os.rename(tmp_path / "inbox", tmp_path / "gone")
    assert post.poller.step() == []
    assert post.poller.state.trouble == (
        f"there is no folder {tmp_path / 'inbox'}; create it, or correct the path in {spool.settings_path}"
    )


@pytest.mark.parametrize("way", ["same/", "./same", "link/same"])
def test_two_inboxes_of_one_folder_are_refused(spool: SpoolDir, tmp_path: Path, way: str) -> None:
    """P2: each would give back what the other one takes; the paths may be written in different ways."""
    (tmp_path / "same").mkdir()
    if way.startswith("link"):
        if sys.platform == "win32":
            pytest.skip("not everybody may make links on Windows")
        os.symlink(tmp_path, tmp_path / "link")
    one, other = (
        Inbox(path=path, mode="files", owner=owner, command=("cat", "{file}"))
        for owner, path in (("anna", str(tmp_path / "same")), ("ben", os.path.join(spool.root, "..", way)))
    )
    check_inboxes(spool, defaults()._replace(inboxes=(one,)))
    with pytest.raises(InvalidSettingsError, match="is the folder of the inbox anna as well"):
        check_inboxes(spool, defaults()._replace(inboxes=(one, other)))


@pytest.mark.parametrize("receipts", [True, False])
def test_a_failed_file_has_a_text_unless_receipts_are_off(spool: SpoolDir, tmp_path: Path, receipts: bool) -> None:
    """P6: `receipts = false` leaves only the file."""
    post = FilePost(spool, tmp_path / "inbox", receipts=receipts)
    post.take("a.pdf")
    post.run(BAD)
    post.poller.step()
    assert post.tree() == ["failed/a.pdf", *(["failed/a.pdf.failed.txt"] if receipts else [])]


def test_the_state_says_what_is_in_working_and_what_ended_last(spool: SpoolDir, tmp_path: Path) -> None:
    """Also after a restart of the receiver, as long as the inbox is the same."""
    post = FilePost(spool, tmp_path / "inbox")
    post.take("a.pdf", "b.pdf")
    state = state_of(post)
    assert (state.working, state.last_done, state.last_failed) == (2, None, None)
    assert state.command == command_text(COMMAND)
    for name, outcome in zip(sorted(names_in(spool, "pending")), (OK, BAD), strict=True):
        post.desk.settlements.settle(post.desk.start(name), outcome)
        post.desk.clock.advance(5)
    post.poller.step()
    state = state_of(post)
    assert state.working == 0 and state.last_done is not None and state.last_failed is not None
    assert (state.last_done.name, state.last_failed.name) == ("a.pdf", "b.pdf")
    assert [f"{end.job_id}.json" for end in (state.last_done, state.last_failed)] == [
        *names_in(spool, "done"),
        *(name for name in names_in(spool, "dlq") if name.endswith(".json")),
    ]
    assert state.last_done.ended_at < state.last_failed.ended_at
    post.start()
    post.poller.step()
    again = state_of(post)
    assert (again.last_done, again.last_failed) == (state.last_done, state.last_failed)
    post.inbox = post.inbox.__class__(**{**_fields(post), "on_success": "delete"})
    post.start()
    post.take("c.pdf")
    post.run(OK)
    post.poller.step()
    last = state_of(post).last_done
    assert last is not None and last.name == "c.pdf"


def _fields(post: FilePost) -> dict[str, object]:
    return {key: getattr(post.inbox, key) for key in post.inbox.__struct_fields__}
