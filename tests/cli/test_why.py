"""why, stats and history: what they print on a terminal, in a pipe and for programs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from queuectl.cli.commands import stats
from queuectl.jobs.hopeless import Hopeless
from queuectl.model.lifecycle import Outcome
from queuectl.spool import full_names
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock
from tests.cli.commands import Commands
from tests.helpers import Desk, write_drop

OK = Outcome("succeeded", 0, "", 0.25)
FAILED = Outcome("failed", 127, "", 1.5)


@pytest.fixture
def clock() -> Clock:
    """The real clock: the commands look at it too."""
    return Clock()


@pytest.fixture
def busy(spool: SpoolDir, desk: Desk) -> SpoolDir:
    """One job done, one dead after a retry, one that waits."""
    desk.run(desk.enqueue(id="done1"), OK)
    name = desk.enqueue(id="dead1", max_retries=1, backoff_base=0)
    desk.run(desk.run(name, FAILED).name, FAILED)
    desk.enqueue(id="next1")
    return spool


# ----------------------------------------------------------------------------------------------------------------- why


def test_why_in_each_form(queuectl: Commands, busy: SpoolDir) -> None:
    """A sentence and what changes it for people, tab-separated columns in a pipe, JSON with a version for programs."""
    assert queuectl("why", "next1").rows == [["no_workers", "no workers are running", "queuectl worker start"]]
    made = queuectl("why", "dead", "--json")
    text = "it is dead: exit 127 (command not found), 2 attempts, retries used up"
    assert made.json == {
        "version": 1,
        "id": "dead1",
        "state": "dlq",
        "reasons": [{"kind": "dead", "text": text, "change": "queuectl retry dead1"}],
    }
    queuectl.on_terminal = True
    assert queuectl("why", "next1").out.endswith(" is in pending/\n\nno workers are running\n  queuectl worker start\n")


def test_why_of_a_held_job_says_how_to_let_it_go(queuectl: Commands, busy: SpoolDir) -> None:
    """Its place in the queue does not matter then."""
    queuectl("hold", "next")
    assert queuectl("why", "next1").rows[-1] == ["held", "it is held", "queuectl release next1"]


def test_why_of_a_job_that_expires(queuectl: Commands, spool: SpoolDir, desk: Desk) -> None:
    """The limit is named while the job waits; once it has passed, nothing else matters."""
    desk.enqueue(id="soon", expires_after=3600)
    row = queuectl("why", "soon").rows[-1]
    assert row[0] == "expires" and "no attempt may start after" in row[1] and "(expires_after 1h00m)" in row[1]
    write_drop(spool, "late,hold.json", {"command": "true", "expires_at": "2026-01-01T00:00:00Z"})
    ((kind, text, change),) = queuectl("why", "late").rows
    assert kind == "expired" and "it has expired" in text and change.endswith("queuectl edit late")


def test_why_of_a_refused_file_goes_by_its_name(queuectl: Commands, busy: SpoolDir) -> None:
    """A file in rejected/ has no id: it is found by its name, by its stem or by the beginning of it."""
    write_drop(busy, "bad.json", "{", state="rejected")
    Path(busy.reason_path("bad.json")).write_text("bad.json ...\n\nWhy:   it is broken\nTo do: mend it\n")
    for typed in ("bad.json", "bad", "ba"):
        assert queuectl("why", typed).rows[0][:2] == ["rejected", "it was rejected: it is broken"]
    queuectl("why", "nobody", code=3)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_why_is_one_harmless_line_a_reason(
    queuectl: Commands, busy: SpoolDir, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hostile text in a pause's reason, an outcome or a file's name acts on nothing."""
    monkeypatch.setenv("NO_COLOR", "1")
    Path(busy.paused_path).write_text("\x1b[2J\tx\u202e\n")
    desk.run(desk.enqueue(id="evil", max_retries=0), Outcome("failed", 1, "\x1b[31m\n\tred", 0.1))
    write_drop(busy, "x\x1b\t.json", "{", state="pending")
    for on_terminal in (False, True):
        queuectl.on_terminal = on_terminal
        for words in (["why", "next1"], ["why", "evil"], ["why", "x\x1b\t"], ["history"], ["stats"]):
            result = queuectl(*words)
            assert not {"\x1b", "\u202e", "\r"} & set(result.out), words


# --------------------------------------------------------------------------------------------------------------- stats


def test_stats_in_each_form(queuectl: Commands, busy: SpoolDir) -> None:
    """The same figures as a table, as bare values in a pipe, and for programs."""
    rows = dict(queuectl("stats").rows)
    expected = {"cut": "0", "done": "1", "dead": "1", "runs": "3", "retries": "1", "ran_p50_s": "1.500"}
    assert {name: rows[name] for name in expected} == expected
    assert (rows["failed_127"], rows["span_s"], rows["ran_max_s"]) == ("2", "86400.000", "1.500")
    made = queuectl("stats", "--since", "1h", "--json").json
    assert (made["version"], made["span_s"], made["done"], made["failures"]) == (1, 3600, 1, {"127": 2})
    assert made["ran"] == {"count": 3, "p50_s": 1.5, "p95_s": 1.5, "max_s": 1.5}
    queuectl.on_terminal = True
    text = queuectl("stats").out
    for part in ("p50 1.5s, p95 1.5s, max 1.5s", "failed: exit 127 (command not found)", "2 attempts"):
        assert part in text


def test_stats_say_when_they_were_cut(queuectl: Commands, busy: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more jobs than are opened, the newest are counted, and that is said."""
    monkeypatch.setattr(stats, "AT_MOST", 1)
    result = queuectl("stats")
    assert ["cut", "1"] in result.rows
    assert "the newest 1 jobs" in result.err


def test_stats_of_an_empty_spool(queuectl: Commands, spool: SpoolDir) -> None:
    """No job: zeros, and no percentile is made up."""
    rows = dict(queuectl("stats").rows)
    assert (rows["done"], rows["waited_p50_s"]) == ("0", "")
    queuectl.on_terminal = True
    assert "waiting time" in queuectl("stats").out


@pytest.mark.parametrize("command", ["stats", "history"])
def test_a_span_that_is_none_is_wrong_usage(queuectl: Commands, command: str) -> None:
    """--since takes a duration."""
    assert "write 30s, 10m, 24h or 7d" in queuectl(command, "--since", "yesterday", code=2).err


# ------------------------------------------------------------------------------------------------------------- history


def test_history_in_each_form(queuectl: Commands, busy: SpoolDir) -> None:
    """One event a line, newest last, with the run and how it ended."""
    rows = queuectl("history").rows
    assert [row[1:4] for row in rows] == [
        ["done1", "enqueued", ""],
        ["done1", "started", "1"],
        ["done1", "succeeded", "1"],
        ["dead1", "enqueued", ""],
        ["dead1", "started", "1"],
        ["dead1", "failed", "1"],
        ["dead1", "started", "2"],
        ["dead1", "failed", "2"],
        ["next1", "enqueued", ""],
    ]
    assert all(row[0].endswith("Z") for row in rows)
    assert rows[5][4] == "exit 127 (command not found); to pending/"
    assert rows[7][4] == "exit 127 (command not found), 2 attempts, retries used up; to dlq/"
    made = queuectl("history", "--limit", "2", "--json").json
    assert (made["version"], made["more"], len(made["events"])) == (1, True, 2)
    assert made["events"][0]["exit_code"] == 127
    queuectl.on_terminal = True
    assert queuectl("history").out.startswith(("\x1b[1mTIME", "TIME"))


def test_history_since_leaves_out_what_is_older(queuectl: Commands, busy: SpoolDir) -> None:
    """Nothing in the span is a message, not an error."""
    os.utime(busy.path("done", "done1.json"), (time.time() + 1e6, time.time() + 1e6))
    assert "no events in this time" in queuectl("history", "--since", "0s").err
    assert len(queuectl("history", "--since", "1h").rows) == 9


@pytest.mark.parametrize("read", [1000, 2])
def test_drops_that_wait_for_each_other_are_told(
    queuectl: Commands, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    """Before any pool has judged them, their names say nothing: also with more drops than a command reads."""
    monkeypatch.setattr(full_names, "LOOK_AT_MOST", read)
    for job_id, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        write_drop(spool, f"{job_id}.json", {"command": "true", "after": parent})
    shown = queuectl("why", "a").out
    if read > 2:
        assert "jobs wait for each other: a → b → c → a" in shown and "queuectl release a" in shown
    else:
        assert "it waits for b, which waits for c" in shown


def test_dead_jobs_that_waited_for_each_other_say_so(queuectl: Commands, desk: Desk) -> None:
    """To run one of them again would end it again: a person releases it from its parents."""
    desk.enqueue(id="a", after="b")
    desk.enqueue(id="b", after="a")
    hopeless = Hopeless(desk.session, desk.stripes)
    for name, parent in (("a,after=b.json", "b"), ("b,after=a.json", "a")):
        hopeless.end(name, parent, "they wait for each other: a → b → a")
    shown = queuectl("why", "a").out
    assert "they wait for each other: a → b → a" in shown
    assert "queuectl release a" in shown and "queuectl retry" not in shown


def test_a_snoozed_job_says_what_it_waits_for(queuectl: Commands, desk: Desk) -> None:
    """Not for a delay that somebody asked for: the command did."""
    desk.run(desk.enqueue(id="a", backoff_base=1000), Outcome("snoozed", 75))
    assert "(a snooze: the command asked to run again later)" in queuectl("why", "a").out
