"""endings: how jobs have ended, for little."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.errors import QueuectlError, UnknownJobError
from queuectl.model import history
from queuectl.model.lifecycle import PENDING, Outcome
from queuectl.monitor import results, wait
from queuectl.monitor.wait import Wait
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.system import disk, files
from tests.helpers import Desk, FakeClock, write_drop

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 3, "", 0.01)


def test_a_job_has_ended_when_it_is_done_or_dead(api: Spool, hands: Desk) -> None:
    """Waiting for a retry is no end; the end tells state, exit code, runs and why."""
    name = hands.enqueue(id="a", max_retries=1, backoff_base=0)
    assert results.ending_of(api.session, "a") is None
    hands.run(name, FAILED)
    assert results.ending_of(api.session, "a") is None
    hands.run(name, FAILED)
    assert results.ending_of(api.session, "a") == ("a", "dlq", 3, 2, "exit 3, 2 attempts, retries used up", False)
    hands.run(hands.enqueue(id="b"), OK)
    ended = results.ending_of(api.session, "b")
    assert ended is not None and ended.succeeded and ended.exit_code == 0


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (
            Outcome("timed_out", 143, "timed out after 2 s"),
            "exit 143 (ended by SIGTERM), timed out after 2 s; 1 attempt",
        ),
        (Outcome("abandoned"), "abandoned; 1 attempt"),
        (Outcome("cancelled", None, "by hand"), "cancelled by hand"),
        (Outcome("failed", 127, "command not found"), "exit 127, command not found; 1 attempt"),
    ],
)
def test_why_a_job_is_dead(api: Spool, hands: Desk, outcome: Outcome, why: str) -> None:
    """Each kind of end is told in words."""
    hands.run(hands.enqueue(id="a", max_retries=0), outcome)
    ended = results.ending_of(api.session, "a")
    assert ended is not None and ended.why.startswith(why)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", "cancelled"),
        ("by cancel", "cancelled"),
        ("by cancel; cancelled", "cancelled"),
        ("by api", "cancelled by api"),
        ("wrong input; cancelled", "cancelled: wrong input"),
    ],
)
def test_a_cancel_is_told_once(reason: str, told: str) -> None:
    """Whatever of it is on record: the command's own name says nothing."""
    assert history.cancelled_text(reason) == told


def test_a_job_that_was_dragged_to_the_dead_says_so(api: Spool, hands: Desk) -> None:
    """The folder is the state: a job that somebody moved to dlq/ is dead, without an exit code."""
    name = hands.enqueue(id="a")
    disk.move(api.folder.path("pending", name), api.folder.path("dlq", "a.json"))
    assert results.ending_of(api.session, "a") == ("a", "dlq", None, 0, "somebody moved it to dlq/", False)


def test_wait_tells_each_end_once(api: Spool, hands: Desk, clock: FakeClock) -> None:
    """A look gives what ended since the look before."""
    names = {job_id: hands.enqueue(id=job_id, max_retries=0) for job_id in ("a", "b", "c")}
    waiting = Wait(api.session._replace(clock=clock), ["a", "b", "c", "a"])
    assert waiting.poll() == []
    hands.run(names["b"], OK)
    assert [ending.id for ending in waiting.poll()] == ["b"]
    hands.run(names["a"], FAILED)
    assert [ending.id for ending in waiting.poll()] == ["a"]
    assert (waiting.left, list(waiting.ended)) == (["c"], ["b", "a"])


def test_wait_lists_no_folder_at_each_look(
    api: Spool, hands: Desk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many jobs wait, a look is two stats a job; only every five seconds it is asked whether it is there."""
    hands.enqueue(id="a", priority=3)
    waiting = Wait(api.session._replace(clock=clock), ["a"])
    listed: list[str] = []
    monkeypatch.setattr(files, "names", lambda folder: listed.append(folder) or ["a,prio=3.json"])
    for _ in range(10):
        waiting.poll()
    assert listed == []
    clock.advance(6)
    waiting.poll()
    assert len(listed) == 1


@pytest.mark.parametrize("how", ["deleted", "refused", "deleted beside a longer id"])
def test_wait_ends_for_a_job_that_will_never_end(api: Spool, hands: Desk, clock: FakeClock, how: str) -> None:
    """A job that is deleted or refused while it is waited for is told, not waited for."""
    name = hands.drop("a.json", {"command": "true"})
    waiting = Wait(api.session._replace(clock=clock), ["a"])
    if how == "refused":
        disk.move(api.folder.path(PENDING, name), write_target(api.folder, "a.json"))
        Path(api.folder.reason_path("a.json")).write_text("a.json\n\nWhy:   it is broken\n")
    else:
        disk.unlink(api.folder.path(PENDING, name))
    if how.endswith("id"):
        hands.enqueue(id="ab")
    assert waiting.poll() == []
    clock.advance(6)
    with pytest.raises(QueuectlError, match="it is broken" if how == "refused" else "no job 'a'") as caught:
        waiting.poll()
    assert isinstance(caught.value, UnknownJobError) == (how != "refused")


def write_target(spool: SpoolDir, name: str) -> str:
    """Where a rejected file lies."""
    return Located("rejected", name, spool.path("rejected", name)).path


def test_refused_files_are_found_by_name_stem_and_beginning(api: Spool, spool: SpoolDir) -> None:
    """As for ids, the whole name counts before a beginning, and nothing is guessed."""
    for name in ("bad.json", "bad2.json", "other.jsonl"):
        write_drop(spool, name, "{", state="rejected")
    assert [results.refused(api.folder, typed) for typed in ("bad", "bad2.json", "OTH", "b", "", "x")] == [
        "bad.json",
        "bad2.json",
        "other.jsonl",
        "",
        "",
        "",
    ]
    assert results.refused(api.folder, "oth", whole=True) == ""


def test_many_jobs_are_waited_for_by_a_listing(
    api: Spool, hands: Desk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at a large group lists done/ and dlq/ and asks only for those that are there; every end is told once."""
    names = {f"g-{number:03d}": hands.enqueue(id=f"g-{number:03d}", max_retries=0) for number in range(60)}
    asked: list[str] = []
    monkeypatch.setattr(
        wait, "ending_of", lambda session, job_id: asked.append(job_id) or results.ending_of(session, job_id)
    )
    waiting = Wait(api.session._replace(clock=clock), list(names))
    assert waiting.poll() == [] and asked == []
    hands.run(names["g-031"], OK)
    hands.run(names["g-007"], FAILED)
    assert [ending.id for ending in waiting.poll()] == ["g-007", "g-031"]
    assert asked == ["g-007", "g-031"] and len(waiting.left) == 58
    clock.advance(6)
    assert waiting.poll() == []  # all others are there
    disk.unlink(api.folder.path(PENDING, names["g-044"]))
    clock.advance(6)
    with pytest.raises(UnknownJobError, match="g-044"):
        waiting.poll()


def test_many_jobs_beside_very_many_are_waited_for_by_name(
    api: Spool, hands: Desk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a listing is dearer than names are, one listing is enough to know that."""
    for number in range(50):
        write_drop(api.folder, f"old-{number}.json", "{}", "done")
    monkeypatch.setattr(wait, "_NAMES_PER_JOB", 1)
    names = [hands.enqueue(id=f"g-{number:03d}") for number in range(30)]
    waiting = Wait(api.session._replace(clock=clock), [f"g-{number:03d}" for number in range(30)])
    waiting.poll()
    monkeypatch.setattr(files, "names", lambda _folder: pytest.fail("listed"))
    hands.run(names[3], OK)
    assert [ending.id for ending in waiting.poll()] == ["g-003"]
