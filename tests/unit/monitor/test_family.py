"""family: why a job with parents waits or is dead, down to the job that decides, and what changes that (P13)."""

from __future__ import annotations

import itertools
import os

from queuectl.api import Spool
from queuectl.model.lifecycle import DLQ, DONE, PENDING, Outcome
from queuectl.monitor import why
from queuectl.monitor.reason import Reason
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import Survey
from queuectl.spool import lookup
from tests.helpers import Desk

FAILED = Outcome("failed", 1, "", 0.01)


def reason(desk: Desk, job_id: str) -> Reason:
    """The reason that is not that there are no workers."""
    answer = why.explain(desk.session, job_id, now_at=desk.clock.now())
    (found,) = [each for each in answer.reasons if each.kind != "no_workers"]
    return found


def chain(desk: Desk, *ids: str) -> None:
    """Jobs of which each waits for the one before."""
    desk.enqueue(id=ids[0], max_retries=0)
    for parent, child in itertools.pairwise(ids):
        desk.enqueue(id=child, after=parent)


def test_the_chain_ends_with_the_job_that_decides(desk: Desk) -> None:
    """Whose reason is given, with the command that changes it."""
    chain(desk, "a", "b", "c")
    assert reason(desk, "c") == ("parent", "it waits for b, which waits for a", "")
    Spool(desk.spool.root).hold("a")
    assert reason(desk, "c")[1:] == ("it waits for b, which waits for a; a: it is held", "queuectl release a")
    desk.enqueue(id="d", after=["b", "c"])
    assert reason(desk, "d").text == "it waits for c, which waits for b, which waits for a; a: it is held"
    desk.enqueue(id="e", after=["b", "a"])
    assert reason(desk, "e").text == "it waits for a (0 of 2 parents are met); a: it is held"
    chain(desk, "x", *[f"y{number}" for number in range(20)])
    assert "... (12 more)" in reason(desk, "y19").text


def test_each_state_of_a_parent_has_its_words(desk: Desk) -> None:
    """Running, ended and not seen yet, missing, and jobs that wait for each other."""
    chain(desk, "a", "b")
    desk.start("a.json")
    assert reason(desk, "b")[1:] == ("it waits for a, which is running", "queuectl logs -f a")
    os.rename(desk.spool.path("running", "a.json"), desk.spool.path(DONE, "a.json"))
    assert reason(desk, "b")[1:] == ("it waits for a, which has ended: no workers run", "queuectl worker start")
    desk.enqueue(id="c", after="ghost")
    found = reason(desk, "c")
    assert (found.kind, found.text) == ("parent_missing", "it waits for ghost, which is not in the spool")
    assert "queuectl release c" in found.change
    desk.enqueue(id="e", after="f")
    desk.enqueue(id="f", after="e")
    assert reason(desk, "e")[:2] == ("cycle", "jobs wait for each other: e → f → e")
    desk.enqueue(id="g", after="e")
    assert reason(desk, "g")[:2] == ("cycle", "jobs wait for each other: g → e → f → e")


def test_a_drop_that_no_pool_has_judged_is_explained_too(desk: Desk) -> None:
    """By what is in it."""
    desk.enqueue(id="a")
    desk.drop("b.json", {"command": "true", "after": "a"})
    assert reason(desk, "b").text.startswith("it waits for a")


def test_an_unmet_job_names_the_first_cause(desk: Desk) -> None:
    """And the command that brings all of them back."""
    chain(desk, "a", "b", "c")
    desk.run("a.json", FAILED)
    for name in ("b,after=a.json", "c,after=b.json"):
        desk.claim(name)
    found = reason(desk, "c")
    assert found.text.startswith("it is dead, because it waits for b, which waits for a, which is dead: exit 1: ")
    assert found.change == "queuectl retry a   (brings this job back, too)"
    os.unlink(desk.spool.path(DLQ, "a.json"))
    assert reason(desk, "b").change.startswith("queuectl release b")


def test_a_blocked_job_is_counted_and_shown_apart(desk: Desk) -> None:
    """It is not ready, not later and not the oldest; a held one is held; the library says what it waits for."""
    chain(desk, "a", "b", "c")
    desk.enqueue(id="h", after="a")
    Spool(desk.spool.root).hold("h")
    found = drain(Survey(desk.spool, is_full=True).take(desk.clock.now()))
    assert (found.ready, found.blocked, found.held, found.later, found.counts[PENDING]) == (1, 2, 1, 0, 4)
    assert found.oldest_id == "a"
    assert lookup.get(desk.session, "b").waits_for == "a"
    assert lookup.get(desk.session, "a").waits_for == ""
