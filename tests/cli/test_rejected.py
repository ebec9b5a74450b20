"""rejected: files that could not become jobs, listed, explained, tried again and deleted; those of inboxes too."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from queuectl.inbox.state import InboxRefusal, InboxState, publish
from queuectl.jobs import reject
from queuectl.model import times
from queuectl.model.lifecycle import PENDING
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from tests.cli.commands import Commands
from tests.helpers import NOON_AT, Desk, listing, write_drop


def refuse(desk: Desk, name: str, content: object, why: str = "command: takes a text", hint: str = "mend it") -> Path:
    """A file in rejected/, as a worker puts one there."""
    path = write_drop(desk.spool, name, content)
    session = desk.session._replace(rng=random.Random(1))
    reject.reject(session, Located(PENDING, name, str(path)), name, why, hint)
    return Path(desk.spool.path("rejected", name))


@pytest.fixture
def inbox(spool: SpoolDir) -> InboxState:
    """What the receiver of an inbox has published: a rejected file."""
    Path(spool.inbox_dir).mkdir()
    row = InboxRefusal("theirs.json.rejected", "owner: belongs to \x1b[31manna", times.to_text(NOON_AT + 5))
    state = InboxState(owner="anna", path="/srv/drop/anna", mode="trusted", rejected=3, refused=(row,))
    publish(spool, state)
    return state


def test_rejected_files_are_listed_with_their_reasons(queuectl: Commands, desk: Desk, inbox: InboxState) -> None:
    """Newest first, those of inboxes among them; `list --state rejected` prints the same (P6)."""
    refuse(desk, "a.json", {"command": 5})
    rows = queuectl("rejected", "list").rows
    assert [(row[0], row[1], row[4]) for row in rows] == [
        ("theirs.json.rejected", "rejected", "anna"),
        ("a.json", "rejected", ""),
    ]
    assert rows[1][3] == "command: takes a text"
    assert "\\x1b[31manna" in rows[0][3]
    assert queuectl("list", "--state", "rejected").rows == rows
    made = queuectl("rejected", "list", "--json").json
    assert (made["total"], made["truncated"]) == (4, True)
    assert [row["inbox"] for row in made["rejected"]] == ["anna", None]


@pytest.mark.parametrize("typed", ["a.json", "a", "A.J"])
def test_show_explains_a_file_and_shows_it(queuectl: Commands, desk: Desk, typed: str) -> None:
    """Why, what to do, where it is, and its first bytes, made safe."""
    path = refuse(desk, "a.json", '{"command": 5,\n"x": "\x1b[31m"}')
    out = queuectl("rejected", "show", typed).out
    for part in ("Why:   command: takes a text", "To do: mend it", str(path), '{"command": 5,', "\\x1b[31m"):
        assert part in out
    assert queuectl("rejected", "show", typed, "--json").json["why"] == "command: takes a text"


def test_show_and_why_know_the_files_of_inboxes(queuectl: Commands, inbox: InboxState) -> None:
    """The list uses what the receiver published; the command does not open an inbox, whose share may hang."""
    for typed in ("theirs.json.rejected", "theirs"):
        assert "owner: belongs to" in queuectl("rejected", "show", typed).out
        assert "owner: belongs to" in queuectl("why", typed).out
    assert "/srv/drop/anna/theirs.json.rejected" in queuectl("why", "theirs.json").out
    for words in (("retry", "theirs"), ("purge", "theirs", "--yes")):
        assert "inbox of anna" in queuectl("rejected", *words, code=1).err


def test_retry_puts_a_corrected_file_back(queuectl: Commands, desk: Desk, spool: SpoolDir) -> None:
    """A file that is a job now waits in pending/, and its reason is gone; one that is none stays (P6)."""
    refuse(desk, "bad.json", {"command": 5})
    refuse(desk, "good.json", {"command": 5}).write_text(json.dumps({"command": "true"}))
    before = listing(spool)
    assert queuectl("rejected", "retry", "--all", "--dry-run").out.split() == ["good.json", "bad.json"]
    assert listing(spool) == before
    result = queuectl("rejected", "retry", "--all", code=5)
    assert result.out.split() == ["good.json"]
    assert "bad.json is not a job: command: takes a text (for the shell)" in result.err
    assert listing(spool) == {"pending": ["good.json"], "rejected": ["bad.json", "bad.json.reason.txt"]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"command": ', "it ends too early"),
        ('{"command": "true", "id": "there"}', "already exists"),
        ("[]", "empty array"),
    ],
)
def test_retry_of_what_is_no_job_says_why(
    queuectl: Commands, desk: Desk, spool: SpoolDir, content: str, words: str
) -> None:
    """The answer is that of a worker, at once."""
    desk.enqueue(id="there")
    refuse(desk, "x.json", content)
    assert words in queuectl("rejected", "retry", "x", code=5).err
    assert "x.json" in listing(spool)["rejected"]


def test_retry_does_not_replace_a_file_that_waits(queuectl: Commands, desk: Desk, spool: SpoolDir) -> None:
    """P7: two files of one name are both kept."""
    refuse(desk, "x.json", {"command": 5}).write_text('{"command": "true"}')
    write_drop(spool, "x.json", {"command": "false"})
    assert "already holds a file named x.json" in queuectl("rejected", "retry", "x.json", code=1).err
    assert listing(spool) == {"pending": ["x.json"], "rejected": ["x.json", "x.json.reason.txt"]}


def test_purge_deletes_files_with_their_reasons(queuectl: Commands, desk: Desk, spool: SpoolDir) -> None:
    """By name or by filter; without a terminal to ask on, nothing is deleted without --yes (P6)."""
    for name in ("a.json", "b.json", "c.jsonl"):
        refuse(desk, name, "{")
    queuectl("rejected", "purge", "--all", code=2)
    assert queuectl("rejected", "purge", "--match", "*.jsonl", "--yes").out == "c.jsonl\n"
    assert queuectl("rejected", "purge", "-", "--yes", stdin="a.json\n").out == "a.json\n"
    assert listing(spool) == {"rejected": ["b.json", "b.json.reason.txt"]}
    assert queuectl("rejected", "purge", "--older-than", "1h", "--yes").err == "no files match\n"  # noon is to come
    assert queuectl("rejected", "purge", "nosuch", "--yes", code=3).err.startswith("error: no rejected file 'nosuch'")


def test_a_beginning_of_several_names_is_none(queuectl: Commands, desk: Desk) -> None:
    """The answer names what it could be."""
    for name in ("ab.json", "ac.json"):
        refuse(desk, name, "{")
    assert "ab.json, ac.json" in queuectl("rejected", "show", "a", code=3).err
