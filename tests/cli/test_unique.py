"""enqueue --unique: what is added, what is said, and what a program gets (P15)."""

from __future__ import annotations

import json

import pytest

from queuectl.api import Spool
from queuectl.model.lifecycle import Outcome
from queuectl.model.uniqueness import Note
from queuectl.monitor import stats
from queuectl.spool import key_notes
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands
from tests.helpers import Desk, names_in


def test_a_duplicate_prints_the_id_of_the_job_that_is_there(queuectl: Commands, spool: SpoolDir) -> None:
    """Exit code 0, and standard error says why nothing was added."""
    first = queuectl("enqueue", "--id", "a", "--unique", "k", "--", "true")
    again = queuectl("enqueue", "--unique", "k", "--", "false")
    assert (first.out, again.out) == ("a\n", "a\n")
    assert "not added" not in first.err and "not added: a has the same unique key and waits\n" in again.err
    assert names_in(spool, "pending") != [] and len(spool.waiting_names()) == 1


def test_on_a_terminal_only_what_was_added_is_enqueued(queuectl: Commands) -> None:
    """The rest is not."""
    queuectl.on_terminal = True
    queuectl("enqueue", "--id", "a", "--unique", "k", "--", "true")
    again = queuectl("enqueue", '[{"command": "true", "unique": "k"}, {"id": "b", "command": "true"}]')
    assert again.out == "enqueued b\n" and "not added: a has the same unique key and waits" in again.err


@pytest.mark.parametrize("words", [["--unique", "--", "echo", "x"], ["--unique", "--command", "echo x"]])
def test_unique_without_a_key_knows_an_equal_job(queuectl: Commands, spool: SpoolDir, words: list[str]) -> None:
    """Another command is another job."""
    queuectl("enqueue", *words)
    assert "not added" in queuectl("enqueue", *words).err
    queuectl("enqueue", "--unique", "--", "other")
    assert len(spool.waiting_names()) == 2


def test_unique_may_be_the_last_word_or_stand_before_json(queuectl: Commands, spool: SpoolDir) -> None:
    """It does not take the job for its key."""
    queuectl("enqueue", "--unique", '{"command": "true"}')
    assert "not added" in queuectl("enqueue", '{"command": "true"}', "--unique").err
    assert len(spool.waiting_names()) == 1


def test_replace_and_the_other_terms_are_keys_of_the_job(queuectl: Commands, spool: SpoolDir) -> None:
    """The job that waits is skipped, and the last one is there."""
    queuectl("enqueue", "--id", "a", "--unique", "k", "--", "true")
    terms = ["--unique-until", "started", "--unique-for", "5m", "--replace"]
    job_id = queuectl("enqueue", "--unique", "k", *terms, "--", "true").out.strip()
    spec = Spool(spool.root).get(job_id).spec
    assert (spec["unique_until"], spec["unique_for"], spec["on_duplicate"]) == ("started", 300, "replace")
    assert Spool(spool.root).get("a").state == "done"


def test_json_says_what_was_added(queuectl: Commands) -> None:
    """One object for each job, in their order."""
    text = '[{"id": "a", "command": "true", "unique": "k"}, {"command": "true", "unique": "k"}]'
    made = json.loads(queuectl("enqueue", "--json", text).out)
    assert made == {
        "version": 1,
        "jobs": [
            {"id": "a", "added": True},
            {"id": "a", "added": False, "why": "a has the same unique key and waits"},
        ],
    }


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--unique", "k", "--unique-until", "never"], "--unique-until: "),
        (["--unique", "k", "--unique-for", "soon"], "--unique-for: "),
        (["--unique", ""], "--unique: "),
    ],
)
def test_a_wrong_option_is_named(queuectl: Commands, words: list[str], text: str) -> None:
    """As it was typed."""
    assert text in queuectl("enqueue", *words, "--", "true", code=2).err


def test_replace_without_a_key_is_refused(queuectl: Commands) -> None:
    """The job has no unique key."""
    result = queuectl("enqueue", "--replace", "--", "true", code=5)
    assert "on_duplicate: is only for a job with unique" in result.err


@pytest.fixture
def skipped(queuectl: Commands, desk: Desk) -> Commands:
    """Job b was skipped because of a, and a was replaced by c, which waits."""
    queuectl("enqueue", "--id", "a", "--unique", "k", "--", "true")
    desk.triage.judge(desk.drop("b.json", {"command": "true", "unique": "k"}))
    queuectl("enqueue", "--id", "c", "--unique", "k", "--replace", "--", "true")
    return queuectl


def test_list_says_why_a_job_was_skipped(skipped: Commands) -> None:
    """In the place of the error; a program gets it under `skipped`."""
    rows = {row.split("\t")[0]: row.split("\t")[-1] for row in skipped("list").out.splitlines()}
    assert rows == {"a": "skipped: replaced by c", "b": "skipped: same as a", "c": ""}
    jobs = json.loads(skipped("list", "--state", "done", "--json").out)["jobs"]
    assert {job["id"]: job["skipped"] for job in jobs} == {"a": "skipped: replaced by c", "b": "skipped: same as a"}


def test_show_and_why_name_the_other_job(skipped: Commands) -> None:
    """And wait says that nothing ran."""
    assert "is skipped: same as a" in skipped("show", "b").out and "is replaced by c" in skipped("show", "a").out
    why = skipped("why", "b").out
    assert "it was skipped: same as a" in why and "queuectl show a" in why and "succeeded" not in why
    assert skipped("wait", "b").out == "b\tdone\t\tskipped: same as a\n"


def test_why_says_that_a_drop_would_be_skipped(skipped: Commands, desk: Desk) -> None:
    """Before a worker has looked at it; and of a job that was replaced and is still there."""
    desk.drop("d.json", {"command": "true", "unique": "k"})
    assert "it would be skipped: c has the same unique key and waits" in skipped("why", "d").out
    desk.enqueue(id="e")
    key_notes.write(desk.spool, "k", Note("e", "e.json"), sync=False)
    assert "it is skipped when its turn comes: e took its place" in skipped("why", "c").out


def test_stats_leave_skipped_jobs_out(skipped: Commands, desk: Desk) -> None:
    """Neither done nor dead."""
    desk.run(only_of(desk, "c"), Outcome("succeeded", 0, "", 0.01))
    now_at = desk.clock.now()
    found = stats.collect(desk.spool, since_at=now_at - 3600, now_at=now_at + 1, at_most=100)
    assert (found.done, found.dead, found.runs) == (1, 0, 1)


def only_of(desk: Desk, job_id: str) -> str:
    """The name in pending/ of a job."""
    [name] = [name for name in desk.spool.waiting_names() if name.startswith(job_id)]
    return name
