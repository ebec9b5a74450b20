"""errortext: the text beside a dead job."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.jobs import error_text
from queuectl.maintenance import check
from queuectl.maintenance.rescuer import Rescue
from queuectl.maintenance.retention import Retention
from queuectl.maintenance.sweeper import OrphanTexts
from queuectl.model.lifecycle import CANCELLED, DLQ, PENDING, Outcome
from queuectl.model.settings import Settings
from queuectl.spool import clock_note
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk
from tests.helpers import Desk, FakeClock, full_disk, listing, write_drop
from tests.unit.inbox.file_post import FilePost

FAILED = Outcome("failed", 127, "command not found", 0.5)


def kill_job(
    desk: Desk, job_id: str = "job1", outcome: Outcome = FAILED, *, printed: bytes = b"", **keys: object
) -> str:
    """Let a job die, and have its text written; returns the text."""
    claimed = desk.start(desk.enqueue(id=job_id, **{"max_retries": 0, **keys}))
    if printed:
        Path(desk.spool.log_path(job_id, 1)).write_bytes(printed)
    assert desk.settlements.settle(claimed, outcome).to == DLQ
    assert error_text.write(desk.session, f"{job_id}.json")
    path = desk.spool.error_path(f"{job_id}.json", cancelled=outcome.kind == CANCELLED)
    return Path(path).read_text(encoding="utf-8")


def texts(spool: SpoolDir) -> list[str]:
    """What there is of texts in dlq/."""
    return sorted(name for name in os.listdir(spool.folder(DLQ)) if name.endswith((".error.txt", ".cancelled.txt")))


def test_the_text_says_what_failed_what_was_printed_and_what_to_do(desk: Desk) -> None:
    """Whoever opens it needs no other file and no manual."""
    text = kill_job(desk, command="no-such-program x", printed=b"line 1\nsh: no-such-program: not found\n")
    for part in (
        "Job job1 is dead: its last run failed and no automatic retry follows.",
        "attempt 1 ended with exit code 127: command not found",
        "1 attempt, retries used up",
        "Command:      no-such-program x",
        "logs/job1.1.log",
        "    line 1\n    sh: no-such-program: not found\n",
        "To run it again: drag job1.json to pending/ (or: queuectl retry job1).",
        "To delete it:    delete job1.json (or: queuectl dlq purge job1).",
    ):
        assert part in text, text
    assert os.listdir(desk.spool.tmp_dir) == []


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome("timed_out", 143, "timed out after 5 s", 5), "attempt 1 exceeded its timeout and was ended"),
        (Outcome("abandoned", reason="its worker died"), "attempt 1 was interrupted before it ended"),
        (Outcome("cancelled", 143, "no longer wanted", 5), "attempt 1 was cancelled"),
        (
            Outcome("failed", 137, "ended by SIGKILL"),
            "exit code 137: killed (SIGKILL), often because the machine ran out of memory",
        ),
        (Outcome("failed", 0xC0000005), "the command crashed (access violation)"),
        (Outcome("failed", 77), "attempt 1 ended with exit code 77\n"),
    ],
)
def test_each_way_to_die_is_told_in_words(desk: Desk, outcome: Outcome, words: str) -> None:
    """An exit code is told by its meaning where it has one."""
    assert words in kill_job(desk, outcome=outcome)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("by cancel", "Why:          somebody used queuectl cancel and gave no reason"),
        ("by top; cancelled", "Why:          somebody used queuectl top"),
        ("by api", "Why:          a Python program cancelled the job and gave no reason"),
        ("no longer wanted; cancelled", "Why:          no longer wanted\n"),
    ],
)
def test_the_reason_of_a_cancellation_is_a_sentence(desk: Desk, reason: str, words: str) -> None:
    """The record names only the command; a person who opens the text needs more than "by cancel"."""
    assert words in kill_job(desk, outcome=Outcome("cancelled", 143, reason.removesuffix("; cancelled"), 5))


def test_the_runs_before_are_told_but_not_all_of_many(desk: Desk) -> None:
    """Five runs before the last are listed, and how many more there were."""
    name = desk.enqueue(id="job1", max_retries=7, backoff_base=0)
    for _ in range(8):
        settled = desk.run(name, FAILED)
        name = settled.name
    assert error_text.write(desk.session, name)
    text = Path(desk.spool.error_path(name)).read_text()
    assert "What failed:  attempt 8 " in text
    assert "Before that: (and 2 earlier)" in text
    assert [f"attempt {number} ended" in text for number in (2, 3, 7)] == [False, True, True]


def test_nothing_that_others_wrote_can_deceive_or_flood(desk: Desk) -> None:
    """Output and command are bounded and made safe, whatever bytes they are."""
    printed = b"\x1b[2J\xff" + b"x" * 100_000 + b"\n" + b"\x1b]0;evil\x07\r\n" * 100
    text = kill_job(desk, command="echo '\x1b[31m' " + "y" * 5000, printed=printed)
    assert len(text) < 8000
    assert all(line.isprintable() for line in text.split("\n")), text
    assert text.count("\\x1b]0;evil\\x07") == 20


def test_a_job_that_printed_nothing_has_a_text_too(desk: Desk) -> None:
    """No log is no fault."""
    assert "It printed nothing." in kill_job(desk)


def test_a_second_death_replaces_the_text_of_the_first(desk: Desk) -> None:
    """What lies beside a job tells of its last death."""
    kill_job(desk)
    os.rename(desk.spool.path(DLQ, "job1.json"), desk.spool.path(PENDING, "job1.json"))
    before = Path(desk.spool.error_path("job1.json")).read_bytes()
    claimed = desk.start("job1.json")
    assert texts(desk.spool) == []  # whoever claims a job that was dragged takes its text away
    Path(desk.spool.error_path("job1.json")).write_bytes(before)
    desk.settlements.settle(claimed, FAILED)
    assert error_text.write(desk.session, "job1.json")
    assert b"attempt 2 ended" in Path(desk.spool.error_path("job1.json")).read_bytes()
    assert os.listdir(desk.spool.tmp_dir) == []


def test_a_text_that_somebody_wrote_on_is_never_touched(desk: Desk) -> None:
    """P6, P11: notes that a person made in it are worth more than what a program has to say."""
    kill_job(desk)
    path = Path(desk.spool.error_path("job1.json"))
    path.write_text(path.read_text() + "ask Ada about this\n")
    mine = path.read_bytes()
    assert not error_text.write(desk.session, "job1.json")
    Spool(desk.spool.root).purge("job1")
    OrphanTexts(desk.session).sweep()
    found = check.run(desk.spool, repair=True, names_only=False, clock=desk.clock)
    assert [(item.code, item.path) for item in found.findings if item.path.startswith(DLQ)] == [
        ("foreign", "dlq/job1.error.txt")
    ]
    assert path.read_bytes() == mine


@pytest.mark.parametrize("call", ["create", "publish"])
def test_a_disk_that_takes_no_text_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """P9: a dead job without its text is dead all the same, and nothing is left behind."""
    claimed = desk.start(desk.enqueue(id="job1", max_retries=0))
    desk.settlements.settle(claimed, FAILED)
    monkeypatch.setattr(disk, call, full_disk)
    assert not error_text.write(desk.session, "job1.json")
    assert listing(desk.spool) == {DLQ: ["job1.json"]}
    assert os.listdir(desk.spool.tmp_dir) == []


def test_a_job_that_is_gone_by_then_gets_no_text(desk: Desk) -> None:
    """Somebody may drag it away at once."""
    assert not error_text.write(desk.session, "job1.json")
    write_drop(desk.spool, "job2.json", "{}", DLQ)
    assert not error_text.write(desk.session, "job2.json")
    assert texts(desk.spool) == []


def test_our_commands_take_the_text_away_with_the_job(desk: Desk, settings: Settings) -> None:
    """Retry, purge and retention leave no text behind."""
    for job_id in ("again", "purged", "old"):
        kill_job(desk, job_id)
    assert len(texts(desk.spool)) == 3
    api = Spool(desk.spool.root)
    api.requeue("again")
    api.purge("purged")
    assert texts(desk.spool) == ["old.error.txt"]
    desk.clock.advance(7200)
    os.utime(desk.spool.path(DLQ, "old.json"), (0, 0))
    clock_note.accept(desk.spool, now_at=desk.clock.now())
    stripes = Stripes(desk.spool)
    keeping = settings._replace(keep_dlq=3600)
    retention = Retention(desk.session._replace(settings=keeping), stripes, notify=lambda _: None)
    assert retention.step() == 1
    stripes.close()
    assert listing(desk.spool) == {PENDING: ["again.json"]}


def test_a_text_is_no_job_and_no_foreign_file(desk: Desk) -> None:
    """Listings, counts and check pass over it; it is found by nobody."""
    kill_job(desk)
    assert desk.spool.listing(DLQ) == (["job1.json"], [])
    assert desk.spool.find("job1.error") is None
    assert Spool(desk.spool.root).counts().dlq == 1
    found = check.run(desk.spool, repair=False, names_only=False, clock=desk.clock)
    assert [item for item in found.findings if item.path.startswith(DLQ)] == []
    os.remove(desk.spool.path(DLQ, "job1.json"))
    found = check.run(desk.spool, repair=True, names_only=False, clock=desk.clock)
    assert [(item.code, item.severity, item.repaired) for item in found.findings if item.path.startswith(DLQ)] == [
        ("error-text", "info", True)
    ]
    assert texts(desk.spool) == []


def test_a_rescued_job_that_is_dead_gets_its_text(desk: Desk, other_desk: Desk, settings: Settings) -> None:
    """P5: who dies with its worker is told of as well."""
    desk.start(desk.enqueue(id="job1", max_retries=0))
    desk.die()
    rescue = Rescue(Session(desk.spool, settings, FakeClock(), random.Random(3)), other_desk.stripes)
    assert [item.job_id for item in rescue.rescue_all(set())] == ["job1"]
    assert "its worker died" in Path(desk.spool.error_path("job1.json")).read_text()


@pytest.mark.parametrize("is_outside", [False, True])
def test_the_text_of_a_file_names_the_folder_that_it_goes_to(spool: SpoolDir, tmp_path: Path, is_outside: bool) -> None:
    """Whoever reads it finds the file, also if `on_failure` is a folder outside the inbox."""
    far = tmp_path / "far"
    far.mkdir(mode=0o700)
    post = FilePost(spool, tmp_path / "inbox", on_failure=str(far) if is_outside else "failed")
    post.desk.settings = post.desk.settings._replace(inboxes=(post.inbox,))
    post.start()
    post.take("a.pdf")
    name = f"{post.run(Outcome('failed', 1, is_final=True)).record.id}.json"
    assert error_text.write(post.desk.session, name)
    there = far if is_outside else post.folder / "failed"
    way = f"move the file a.pdf from {there} back into {post.folder}: it becomes a new job there."
    assert f"To run it again: {way}\n" in Path(spool.error_path(name)).read_text(encoding="utf-8")
    post.poller.step()
    assert (there / "a.pdf").exists()
