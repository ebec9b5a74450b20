"""inboxtraces: what check says of handover/, owed/ and inboxes/, and the little that a repair does there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.inbox import state
from queuectl.inbox.handover import BY, Handover
from queuectl.inbox.state import InboxState
from queuectl.maintenance import check
from queuectl.maintenance.findings import Finding
from queuectl.model.lifecycle import PENDING, Outcome
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files
from queuectl.system.locks import FileLock
from tests.helpers import Desk, names_in

TOKEN = "0123456789ab"
OLD_TOKEN = "ba9876543210"


class Traces:
    """A spool whose inbox `anna` has left something, and may be named in the settings."""

    def __init__(self, desk: Desk, inbox: Path) -> None:
        self.desk = desk
        self.spool = desk.spool
        self.inbox = inbox
        for folder in (self.spool.inbox_dir, self.handover, self.owed):
            os.makedirs(folder)

    @property
    def handover(self) -> str:
        """Where jobs of the inbox are on their way."""
        return os.path.join(self.spool.handover_dir, "anna")

    @property
    def owed(self) -> str:
        """Where it is noted what the inbox is to hear of."""
        return os.path.join(self.spool.owed_dir, "anna")

    def name_it(self) -> None:
        """Name the inbox in the settings."""
        text = Path(self.spool.settings_path).read_text(encoding="utf-8")
        text += f'\n[[inbox]]\nowner = "anna"\npath = \'{self.inbox}\'\nmode = "trusted"\n'
        Path(self.spool.settings_path).write_text(text, encoding="utf-8")

    def put_job(self, job_id: str = "job1") -> None:
        """A job that a receiver left in the middle."""
        prepared = self.desk.producer.prepare({"command": "true", "id": job_id, "owner": "anna"}, by=BY, file="x.json")
        disk.create(os.path.join(self.handover, f"{TOKEN}.json"), prepared.data, sync=False)
        disk.create(os.path.join(self.owed, job_id), b"", sync=False)

    def look(self, *, repair: bool = False) -> list[Finding]:
        """Check the spool; what it says of inboxes."""
        found = check.run(self.spool, repair=repair, names_only=False, clock=self.desk.clock).findings
        return [item for item in found if item.path.startswith(".queuectl/")]

    def told(self, *, repair: bool = False) -> list[tuple[str, str, str, bool]]:
        """Severity, code, path and whether it was repaired."""
        return [(item.severity, item.code, item.path, item.repaired) for item in self.look(repair=repair)]


@pytest.fixture
def traces(desk: Desk, tmp_path: Path) -> Iterator[Traces]:
    """An inbox that nobody receives from."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    yield Traces(desk, inbox)


def test_a_job_on_its_way_is_left_to_the_receiver_of_its_inbox(traces: Traces) -> None:
    """P1, P2: of an inbox that is named the job is noted and stays; its owed note is not taken for a lost one."""
    traces.name_it()
    traces.put_job()
    expected = [("info", "handover", ".queuectl/handover/anna", False)]
    assert traces.told() == expected
    assert traces.told(repair=True) == expected
    assert sorted(os.listdir(traces.handover)) == [f"{TOKEN}.json"]
    assert os.listdir(traces.owed) == ["job1"]


def test_a_job_of_an_inbox_that_is_named_no_more_is_put_into_pending(traces: Traces) -> None:
    """P1: a repair does what the next pool does, and a second check has only notes."""
    traces.put_job()
    assert traces.told() == [("problem", "handover", ".queuectl/handover/anna", False)]
    assert traces.told(repair=True) == [("problem", "handover", ".queuectl/handover/anna", True)]
    assert names_in(traces.spool, PENDING) == ["job1,by=anna.json"]
    assert os.listdir(traces.handover) == [f"{TOKEN}.spent"]  # its file may come back with its share
    assert traces.told(repair=True) == [("info", "owed", ".queuectl/owed/anna", False)]
    assert os.listdir(traces.owed) == ["job1"]


def test_broken_settings_name_no_inbox_away(traces: Traces) -> None:
    """P6: where the settings cannot be read, nothing is said to be named no more, and nothing is moved."""
    traces.put_job()
    Path(traces.spool.settings_path).write_text("max_retries = = 3\n")
    assert traces.told(repair=True) == [("info", "handover", ".queuectl/handover/anna", False)]
    assert os.listdir(traces.handover) == [f"{TOKEN}.json"]


def test_claims_that_were_spent_long_ago_are_deleted(traces: Traces) -> None:
    """Of two marks the one stays whose share may still come back."""
    for token in (TOKEN, OLD_TOKEN):
        disk.create(os.path.join(traces.handover, f"{token}.spent"), b"", sync=False)
    old_at = files.last_change(traces.handover)[1] - 100 * 86400
    os.utime(os.path.join(traces.handover, f"{OLD_TOKEN}.spent"), (old_at, old_at))
    path = f".queuectl/handover/anna/{OLD_TOKEN}.spent"
    assert traces.told() == [("info", "handover", path, False)]
    assert traces.told(repair=True) == [("info", "handover", path, True)]
    assert os.listdir(traces.handover) == [f"{TOKEN}.spent"]
    assert traces.told() == []


def test_notes_of_jobs_that_are_nowhere_are_deleted(traces: Traces) -> None:
    """A job that was deleted is owed to nobody; one that waits, runs or has ended still is."""
    traces.name_it()
    desk = traces.desk
    desk.enqueue(id="waits", priority=3)
    desk.run(desk.enqueue(id="ended"), Outcome("succeeded", 0))
    for job_id in ("waits", "ended", "gone"):
        disk.create(os.path.join(traces.owed, job_id), b"", sync=False)
    assert traces.told(repair=True) == [("info", "owed", ".queuectl/owed/anna", True)]
    assert sorted(os.listdir(traces.owed)) == ["ended", "waits"]
    assert traces.told() == []


def test_what_a_receiver_is_at_is_left_alone(traces: Traces) -> None:
    """P2: while somebody holds the inbox's lock, nothing of the inbox is looked at."""
    traces.put_job()
    lock = FileLock(traces.spool.inbox_path("anna", "lock"))
    assert lock.try_acquire()
    assert traces.told(repair=True) == []
    lock.close()
    assert len(traces.told()) == 1


def test_foreign_files_and_damaged_tokens_are_told_and_stay(traces: Traces) -> None:
    """P11: nothing that is nobody's is deleted; a note of tokens that somebody wrote into needs a person."""
    traces.name_it()
    Path(traces.handover, "notes.txt").write_text("x")
    Path(traces.handover, f"{TOKEN}.json").mkdir()
    Path(traces.owed, "folder").mkdir()
    Path(traces.spool.handover_dir, "file").write_text("x")
    Path(traces.spool.inbox_path("anna", "tokens")).write_text(f"{TOKEN}\nx;rm -rf\n")
    found = traces.told(repair=True)
    assert sorted(item[1] for item in found) == ["foreign"] * 4 + ["tokens"]
    assert not any(item[3] for item in found)
    assert Path(traces.handover, "notes.txt").exists()


def test_the_state_of_an_inbox_that_is_named_no_more_is_deleted(traces: Traces) -> None:
    """Its state is for looking only, and its tokens are kept: it may be named again."""
    state.publish(traces.spool, InboxState(owner="anna", path="/x", mode="trusted"))
    Path(traces.spool.inbox_path("anna", "tokens")).write_text(f"{TOKEN}\n")
    assert traces.told(repair=True) == [
        ("info", "tokens", ".queuectl/inboxes/anna.tokens", False),
        ("info", "inbox", ".queuectl/inboxes/anna.json", True),
    ]
    assert os.listdir(traces.spool.inbox_dir) == ["anna.tokens"]


def test_a_spool_that_never_had_an_inbox_costs_a_stat(spool: SpoolDir, desk: Desk) -> None:
    """Without traces of an inbox nothing is listed for it."""
    assert not spool.has_inbox_traces()
    assert check.run(spool, repair=True, names_only=False, clock=desk.clock).findings == []
    assert not os.path.exists(spool.inbox_dir)
    assert Handover(desk.session, "anna").publish_all() == []
