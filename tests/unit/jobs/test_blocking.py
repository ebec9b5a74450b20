"""Jobs with parents: what enqueue, a claim, release, retry and purge make of them (P13)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from queuectl.api import Spool
from queuectl.errors import UnknownParentError
from queuectl.jobs import blocking
from queuectl.jobs.hopeless import Hopeless, Unsure
from queuectl.jobs.verdict import Claimed, Dead, Later, Skipped
from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.spool import victims
from tests.helpers import Desk, listing, names_in

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 1, "", 0.01)


def family(desk: Desk, *parents: str, **keys: Any) -> str:
    """Enqueue parents and their child; return the name of the child's file."""
    for job_id in parents:
        desk.enqueue(id=job_id, max_retries=0)
    return desk.enqueue(id="child", **{"after": list(parents), **keys})


def dead_child(desk: Desk) -> None:
    """A parent that failed, and its child."""
    name = family(desk, "p")
    desk.run("p.json", FAILED)
    desk.claim(name)


def test_a_child_waits_for_the_last_parent_that_has_not_ended(desk: Desk) -> None:
    """Its name says which, `blocked` is on record when that changes, and a met parent is not asked again."""
    name = family(desk, "a", "b", "c")
    assert name == "child,after=c.json"
    assert desk.claim(name) == Later("child,after=c.json")
    assert desk.events(PENDING, name) == ["enqueued"]
    desk.run("c.json", OK)
    assert desk.claim(name) == Later("child,after=b.json")
    event = desk.record(PENDING, "child,after=b.json").history[-1]
    assert (event.event, event.after, event.met) == ("blocked", "b", 1)
    os.unlink(desk.spool.path(DONE, "c.json"))
    desk.run("a.json", OK)
    desk.run("b.json", OK)
    assert isinstance(desk.claim("child,after=b.json"), Claimed)
    assert desk.events(RUNNING, "child.json") == ["enqueued", "blocked", "started"]


def test_a_parent_that_ends_during_the_claim_has_ended_before_the_start(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record tells the same order: a start has the time of its parents' answer, not of the question."""
    name, ask = family(desk, "p"), blocking.ask

    def ask_late(*words: Any, **keys: Any) -> Any:
        desk.clock.advance(1.0)
        desk.run("p.json", OK)
        return ask(*words, **keys)

    monkeypatch.setattr(blocking, "ask", ask_late)
    desk.start(name)
    started, ended = desk.record(RUNNING, "child.json").history[-1], desk.record(DONE, "p.json").history[-1]
    assert (started.event, ended.event) == ("started", "succeeded") and started.at >= ended.at


def test_a_child_that_ran_never_asks_its_parents_again(desk: Desk) -> None:
    """A retry runs although a parent is gone, and waits under an ordinary name."""
    name = family(desk, "p")
    desk.run("p.json", OK)
    settled = desk.run(name, FAILED)
    assert settled.name.startswith("child,due=")
    os.unlink(desk.spool.path(DONE, "p.json"))
    desk.clock.advance(3600)
    assert isinstance(desk.claim(settled.name), Claimed)


def test_a_dead_parent_kills_its_children_and_theirs(desk: Desk) -> None:
    """Each is in dlq/ with the reason, a text that says what to do, and a note for its return."""
    name = family(desk, "p")
    desk.enqueue(id="grandchild", after="child")
    desk.run("p.json", FAILED)
    assert desk.claim(name) == Dead("child.json", "it waits for p, which is dead")
    assert desk.claim("grandchild,after=child.json") == Dead("grandchild.json", "it waits for child, which is dead")
    event = desk.record(DLQ, "child.json").history[-1]
    assert (event.event, event.after, event.to) == ("unmet", "p", "dlq")
    text = Path(desk.spool.error_path("child.json")).read_text()
    assert "did not run, because it waits for p, which is dead" in text
    assert "queuectl retry p" in text and "queuectl release child" in text and "printed nothing" not in text
    assert victims.children(desk.spool, "p") == ["child"]


@pytest.mark.parametrize(
    ("when", "outcome", "kind"),
    [
        ("done", OK, Claimed),
        ("done", FAILED, Dead),
        ("ended", OK, Claimed),
        ("ended", FAILED, Claimed),
        ("dead", FAILED, Claimed),
        ("dead", OK, Skipped),
    ],
)
def test_each_condition(desk: Desk, when: str, outcome: Outcome, kind: type[object]) -> None:
    """What a child does after a parent that succeeded, or that failed."""
    name = family(desk, "p", after={"id": "p", "when": when})
    desk.run("p.json", outcome)
    assert isinstance(desk.claim(name), kind)
    if kind is Skipped:
        event = desk.record(DONE, "child.json").history[-1]
        assert (event.event, event.after, event.to) == ("skipped", "p", "done")


def test_a_dead_parent_that_is_dragged_to_done_lets_its_children_start(desk: Desk) -> None:
    """The folder is the truth."""
    name = family(desk, "p")
    desk.run("p.json", FAILED)
    os.rename(desk.spool.path(DLQ, "p.json"), desk.spool.path(DONE, "p.json"))
    assert isinstance(desk.claim(name), Claimed)


def test_a_child_that_lost_its_flag_gets_it_back(desk: Desk) -> None:
    """The record decides, the name is a hint."""
    name = family(desk, "p")
    os.rename(desk.spool.path(PENDING, name), desk.spool.path(PENDING, "child.json"))
    assert desk.claim("child.json") == Later(name)
    assert listing(desk.spool)["pending"] == [name, "p.json"]


def test_a_child_dragged_back_alone_is_dead_again_and_with_its_parent_runs(desk: Desk) -> None:
    """The second time with one more line of history."""
    dead_child(desk)
    os.rename(desk.spool.path(DLQ, "child.json"), desk.spool.path(PENDING, "child.json"))
    assert isinstance(desk.claim("child.json"), Dead)
    assert desk.events(DLQ, "child.json") == ["enqueued", "unmet", "requeued", "unmet"]
    os.rename(desk.spool.path(DLQ, "child.json"), desk.spool.path(PENDING, "child.json"))
    os.rename(desk.spool.path(DLQ, "p.json"), desk.spool.path(PENDING, "p.json"))
    assert desk.claim("child.json") == Later("child,after=p.json")
    desk.run("p.json", OK)
    assert isinstance(desk.claim("child,after=p.json"), Claimed)


def test_a_drop_with_parents_is_taken_in_to_wait(desk: Desk) -> None:
    """By the judge before its turn, or by a claim; if its parents are met, a claim starts it at once."""
    desk.enqueue(id="p")
    desk.drop("one.json", {"command": "true", "after": "p"})
    assert desk.triage.judge("one.json") == Later("one,after=p.json")
    desk.drop("two.json", {"command": "true", "after": ["ghost", "p"]})
    assert desk.claim("two.json") == Later("two,after=p.json")
    assert desk.events(PENDING, "two,after=p.json") == ["enqueued"]
    desk.run("p.json", OK)
    desk.drop("three.json", {"command": "true", "after": "p"})
    assert isinstance(desk.claim("three.json"), Claimed)
    desk.drop("four.json", {"command": "true", "after": ["ghost", "p"]})
    assert desk.claim("four.json") == Later("four,after=ghost.json")
    assert desk.events(PENDING, "four,after=ghost.json") == ["enqueued", "blocked"]


def test_a_child_that_must_wait_all_the_same_gets_its_full_name(desk: Desk) -> None:
    """A priority below the others', a time, a queue: `unblocked` is on record, and parents are not asked again."""
    name = family(desk, "p", priority=-2, queue="mail")
    desk.run("p.json", OK)
    assert desk.claim(name) == Later("child,prio=-2,q=mail.json")
    assert desk.events(PENDING, "child,prio=-2,q=mail.json") == ["enqueued", "unblocked"]
    os.unlink(desk.spool.path(DONE, "p.json"))
    assert isinstance(desk.claim("child,prio=-2,q=mail.json"), Claimed)


def test_the_judge_names_children_that_are_ready(desk: Desk) -> None:
    """While others wait, a child whose parents are met takes its place by its priority; a plain one keeps its name."""
    urgent, plain = family(desk, "p", priority=9), desk.enqueue(id="plain", after="p")
    assert desk.triage.judge(urgent) is None
    desk.run("p.json", OK)
    assert desk.triage.judge(plain) is None
    verdict = desk.triage.judge(urgent)
    assert isinstance(verdict, Later)
    parts = names.parse(verdict.name)
    assert parts is not None and (parts.priority, parts.after) == (9, "")
    assert desk.events(PENDING, verdict.name) == ["enqueued", "unblocked"]


def test_enqueue_refuses_a_parent_that_is_nowhere(desk: Desk) -> None:
    """The error names it (exit 3); ids of the same call and drops count as there; `allow_missing` waits."""
    spool = Spool(desk.spool.root)
    with pytest.raises(UnknownParentError, match="'ghost'") as caught:
        spool.enqueue("true", id="a", after=["ghost"])
    assert caught.value.job_id == "ghost"
    assert spool.folder.waiting_names() == []
    desk.drop("dropped.json", {"command": "true", "id": "inside"})
    spool.enqueue("true", id="b", after="inside")
    spool.enqueue_many([{"id": "c", "command": "true", "after": "d"}, {"id": "d", "command": "true"}])
    spool.enqueue("true", id="e", after={"id": "ghost", "when": "ended"}, allow_missing=True)
    waiting = spool.folder.waiting_names()
    assert {"b,after=inside.json", "c,after=d.json", "e,after=ghost.json"} <= set(waiting)


def test_enqueue_sees_what_has_ended(desk: Desk) -> None:
    """Parents that are met are on record at once, so that nobody asks for them later."""
    desk.run(desk.enqueue(id="done"), OK)
    desk.enqueue(id="waits")
    assert desk.enqueue(id="one", after=["waits", "done"]) == "one,after=waits.json"
    event = desk.record(PENDING, "one,after=waits.json").history[-1]
    assert (event.event, event.after, event.met) == ("blocked", "waits", 1)
    name = desk.enqueue(id="two", after="done")
    assert names.AFTER not in name
    assert desk.events(PENDING, name) == ["enqueued", "unblocked"]


def test_an_id_is_refused_although_its_job_is_blocked(desk: Desk) -> None:
    """P7: the names of two blocked jobs of one id never meet, so it is the id that decides."""
    spool = Spool(desk.spool.root)
    spool.enqueue("true", id="p")
    spool.enqueue("true", id="child", after="p")
    with pytest.raises(Exception, match="child"):
        spool.enqueue("true", id="child")
    with pytest.raises(Exception, match="child"):
        spool.enqueue("true", id="child", after="p")


def test_retry_of_the_parent_brings_its_children_back(desk: Desk) -> None:
    """And theirs; a child that died of something else stays."""
    dead_child(desk)
    desk.enqueue(id="grandchild", after="child")
    desk.claim("grandchild,after=child.json")
    desk.run(desk.enqueue(id="other", max_retries=0), FAILED)
    victims.note(desk.spool, "p", "other")
    Spool(desk.spool.root).requeue("p")
    assert listing(desk.spool) == {
        "pending": ["child,after=p.json", "grandchild,after=child.json", "p.json"],
        "dlq": ["other.json"],
    }
    assert desk.record(PENDING, "child,after=p.json").history[-1].by == "parent"
    assert victims.parents(desk.spool) == []
    assert not os.path.exists(desk.spool.error_path("child.json"))


def test_release_runs_a_job_without_its_parents(desk: Desk) -> None:
    """A blocked one, and one that died of a parent; a held one is only released from that."""
    spool = Spool(desk.spool.root)
    name = family(desk, "p", priority=3)
    spool.hold("child")
    spool.release("child")
    assert listing(desk.spool)["pending"] == [name, "p.json"]
    assert os.path.basename(spool.release("child").path) == "child,prio=3.json"
    assert isinstance(desk.claim("child,prio=3.json"), Claimed)


def test_release_of_an_unmet_job(desk: Desk) -> None:
    """It runs, and its text is deleted."""
    dead_child(desk)
    assert Spool(desk.spool.root).release("child").state == PENDING
    assert isinstance(desk.claim("child.json"), Claimed)
    assert desk.events(RUNNING, "child.json") == ["enqueued", "unmet", "requeued", "unblocked", "started"]
    assert not os.path.exists(desk.spool.error_path("child.json"))


def test_purge_of_the_parent_leaves_the_children_dead(desk: Desk) -> None:
    """The notes go with it."""
    dead_child(desk)
    Spool(desk.spool.root).purge("p")
    assert sorted(names_in(desk.spool, DLQ)) == ["child.error.txt", "child.json"]
    assert victims.parents(desk.spool) == []


def test_what_no_claim_decides(desk: Desk) -> None:
    """A missing parent is noted once, then the job ends; a name that its record contradicts is left to the claim."""
    hopeless = Hopeless(desk.session, desk.stripes)
    name = desk.enqueue(id="child", after="ghost")
    since = hopeless.note_missing(name, "ghost", again=False)
    desk.clock.advance(10)
    assert hopeless.note_missing(name, "ghost", again=False) == since
    assert hopeless.note_missing(name, "ghost", again=True) != since
    assert hopeless.end(name, "ghost", "nowhere") == Dead("child.json", "nowhere")
    assert desk.events(DLQ, "child.json") == ["enqueued", "missing", "missing", "unmet"]
    desk.enqueue(id="plain")
    os.rename(desk.spool.path(PENDING, "plain.json"), desk.spool.path(PENDING, "plain,after=ghost.json"))
    assert hopeless.end("plain,after=ghost.json", "ghost", "nowhere") == Unsure()
    assert hopeless.end("gone,after=ghost.json", "ghost", "nowhere") is None
    desk.enqueue(id="other", after="plain")
    os.rename(desk.spool.path(PENDING, "other,after=plain.json"), desk.spool.path(PENDING, "other,after=ghost.json"))
    assert hopeless.end("other,after=ghost.json", "ghost", "nowhere") == Unsure()


def test_foreign_things_among_the_notes_stop_nothing(desk: Desk) -> None:
    """P11: a folder there is left alone, and the children come back all the same."""
    dead_child(desk)
    os.mkdir(desk.spool.victim_path("p", "folder"))
    Path(desk.spool.victims_dir, "file").touch()
    Spool(desk.spool.root).requeue("p")
    assert listing(desk.spool)["pending"] == ["child,after=p.json", "p.json"]
    assert victims.children(desk.spool, "p") == ["folder"]
