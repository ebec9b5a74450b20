"""enqueue --unique: what is added, what is said, and what a program gets (P15)."""

from __future__ import annotations

import json

import pytest

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands
from tests.helpers import names_in


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
