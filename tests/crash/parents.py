"""The operations of the crash sweep on jobs with parents (P13): each move of a blocked, an unmet and a revived job."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from queuectl.jobs.hopeless import Hopeless, Unsure
from queuectl.jobs.revive import Reviver
from queuectl.jobs.verdict import Dead
from queuectl.model import names
from queuectl.model.lifecycle import DLQ, PENDING, UNMET
from queuectl.spool import victims
from queuectl.spool.folder import SpoolDir
from tests.crash.driver import FAILED, OK, Endings, Hands, Operation

_ONCE = "enqueued started succeeded @done"
_TWICE = "enqueued started abandoned started succeeded @done"
_DEAD = "enqueued started failed @dlq"
_UNMET = "enqueued unmet @dlq"


def _family(*outcomes: Any, **keys: Any) -> Callable[[Hands], None]:
    """Parents p1, p2 ..., of which each has run that has an outcome here, and their child "job"."""

    def prepare(hands: Hands) -> None:
        ids = [f"p{number}" for number in range(1, len(outcomes) + 1)]
        for job_id in ids:
            hands.enqueue(id=job_id, max_retries=0)
        hands.enqueue(id="job", **{"after": ids, **keys})
        for job_id, outcome in zip(ids, outcomes, strict=True):
            if outcome is not None:
                hands.run(f"{job_id}.json", outcome)

    return prepare


def _claim_child(hands: Hands, _: object) -> object:
    (name,) = [name for name in hands.spool.waiting_names() if name.startswith("job,")]
    return hands.begin(name)


def _nothing(_hands: Hands) -> None:
    return None


def _unmet_and_revived(hands: Hands) -> None:
    """A child that died with its parent, and a parent that somebody has dragged back."""
    _family(FAILED)(hands)
    hands.claim("job,after=p1.json")
    Path(hands.spool.path(DLQ, "p1.json")).rename(hands.spool.path(PENDING, "p1.json"))


def _unmet(hands: Hands) -> None:
    _family(FAILED)(hands)
    hands.claim("job,after=p1.json")


def _orphaned(hands: Hands) -> None:
    hands.enqueue(id="job", after="ghost")


def _each_other(hands: Hands) -> None:
    hands.enqueue(id="job", after="p1")
    hands.enqueue(id="p1", after="job")


def _group(hands: Hands) -> None:
    """Three members and a job that waits for all; the last member is deleted."""
    hands.api.enqueue_many(
        [
            *({"command": "true", "tags": [f"m{place}"]} for place in (1, 2, 3)),
            {"command": "true", "tags": ["all"], "after": "*"},
        ]
    )
    for name in hands.spool.waiting_names():
        if name.startswith("flow") and "-0003" in name.partition(",")[0]:
            os.unlink(hands.spool.path(PENDING, name))


def _pass_over_a_member(hands: Hands, _: object) -> None:
    """What a pool does when it has found that a member is nowhere, and the claim after that."""
    (name,) = [name for name in hands.spool.waiting_names() if names.AFTER in name]
    parts = names.parse(name)
    assert parts is not None
    Hopeless(hands.session, hands.stripes).note_missing(name, parts.after, again=False)
    hands.begin(name)


def _workflow(hands: Hands, _: object) -> None:
    """Jobs that name each other, enqueued together: the child stands first."""
    hands.api.enqueue_many(
        [
            {"command": "true", "tags": ["child"], "ref": "child", "after": "load"},
            {"command": "true", "tags": ["load"], "ref": "load"},
            {"command": "true", "tags": ["all"], "after": "*"},
        ]
    )


def _end(name: str, parent: str) -> Callable[[Hands, Any], None]:
    def act(hands: Hands, _: object) -> None:
        hopeless = Hopeless(hands.session, hands.stripes)
        hopeless.note_missing(name, parent, again=False)
        hopeless.end(name, parent, "no way")

    return act


def _end_both(hands: Hands, _: object) -> None:
    hopeless = Hopeless(hands.session, hands.stripes)
    for name, parent in (("job,after=p1.json", "p1"), ("p1,after=job.json", "job")):
        hopeless.end(name, parent, "they wait for each other")


def duties(hands: Hands) -> int:
    """What a pool does about parents at its look; return how much that was."""
    made = revive_all(hands)
    hopeless = Hopeless(hands.session, hands.stripes)
    for name in hands.spool.waiting_names():
        parts = names.parse(name)
        if parts is not None and parts.after and hands.spool.find(parts.after) is None:
            if isinstance(hopeless.note_missing(name, parts.after, again=False), Unsure):
                continue  # a member of a group: its claim decides
            made += isinstance(hopeless.end(name, parts.after, "no way"), Dead)
    return made


def revive_all(hands: Hands) -> int:
    """Bring back the children of all parents that are not dead, as a pool does at its look."""
    made = 0
    for parent in victims.parents(hands.spool):
        if not hands.spool.holds(parent, (DLQ,)) and hands.spool.find(parent) is not None:
            made += len(Reviver(hands.session, hands.stripes).revive(parent, at_most=100, until_s=float("inf")))
    return made


def wrong_about_parents(spool: SpoolDir) -> list[str]:
    """Return the unmet jobs whose parent is not dead, or that nobody would bring back (P13)."""
    wrong = []
    for name in spool.job_names(DLQ):
        last = spool.read(DLQ, name).record.standing().last
        if last is None or last.event != UNMET or last.reason.startswith(("no way", "they wait")):
            continue
        child = name.removesuffix(".json")
        if child not in victims.children(spool, last.after):
            wrong.append(f"nobody knows that {child} is dead because of {last.after} (P13)")
        if not spool.holds(last.after, (DLQ,)):
            wrong.append(f"{child} is dead because of {last.after}, which is not (P13)")
    return wrong


def _case(
    name: str, prepare: Callable[[Hands], None], act: Callable[[Hands, Any], object], ends: Endings, **more: Any
) -> tuple[str, Operation]:
    return name, Operation(name, prepare, _nothing, act, ends, **more)


OPERATIONS = dict(
    (
        _case("met", _family(OK), _claim_child, {"p1": {_ONCE}, "job": {_TWICE}}, cut={"job": {_ONCE}}),
        _case(
            "another one has not ended",
            _family(None, OK),
            _claim_child,
            {"p1": {_ONCE}, "p2": {_ONCE}, "job": {"enqueued blocked started succeeded @done"}},
            cut={"job": {_ONCE}},
        ),
        _case(
            "met, and others come first",
            _family(OK, priority=-3),
            _claim_child,
            {"p1": {_ONCE}, "job": {"enqueued unblocked started succeeded @done"}},
        ),
        _case("unmet", _family(FAILED), _claim_child, {"p1": {_DEAD}, "job": {_UNMET}}),
        _case(
            "unmet by an earlier one",
            _family(FAILED, OK),
            _claim_child,
            {"p1": {_DEAD}, "p2": {_ONCE}, "job": {_UNMET}},
        ),
        _case(
            "skipped",
            _family(OK, after={"id": "p1", "when": "dead"}),
            _claim_child,
            {"p1": {_ONCE}, "job": {"enqueued skipped @done"}},
        ),
        _case(
            "the end of a parent is wanted",
            _family(FAILED, after={"id": "p1", "when": "ended"}),
            _claim_child,
            {"p1": {_DEAD}, "job": {_TWICE}},
            cut={"job": {_ONCE}},
        ),
        _case(
            "revive",
            _unmet_and_revived,
            lambda hands, _: revive_all(hands),
            {
                "p1": {"enqueued started failed requeued started succeeded @done"},
                "job": {"enqueued unmet requeued started succeeded @done"},
            },
            cut={"job": {"enqueued unmet requeued requeued started succeeded @done"}},
        ),
        _case(
            "retry the parent",
            _unmet,
            lambda hands, _: hands.api.requeue("p1"),
            {
                "p1": {"enqueued started failed requeued started succeeded @done"},
                "job": {"enqueued unmet requeued started succeeded @done"},
            },
            cut={
                "p1": {"enqueued started failed requeued requeued started succeeded @done"},
                "job": {"enqueued unmet requeued requeued started succeeded @done"},
            },
            again=True,
        ),
        _case(
            "release a blocked job",
            _family(None),
            lambda hands, _: hands.api.release("job"),
            {"p1": {_ONCE}, "job": {"enqueued unblocked started succeeded @done"}},
            again=True,
        ),
        _case(
            "release an unmet job",
            _unmet,
            lambda hands, _: hands.api.release("job"),
            {"p1": {_DEAD}, "job": {"enqueued unmet requeued unblocked started succeeded @done"}},
            cut={
                "job": {"enqueued unmet requeued unblocked requeued unblocked started succeeded @done"},
            },
            again=True,
        ),
        _case(
            "the parent is missing",
            _orphaned,
            _end("job,after=ghost.json", "ghost"),
            {"job": {"enqueued missing unmet @dlq"}},
            again=True,
        ),
        _case(
            "a cycle",
            _each_other,
            _end_both,
            {"p1": {_UNMET}, "job": {_UNMET}},
            cut={"job": {"enqueued unmet requeued unmet @dlq"}, "p1": {"enqueued unmet requeued unmet @dlq"}},
            again=True,
        ),
        _case(
            "a member of a group is gone",
            _group,
            _pass_over_a_member,
            {
                **{tag: {_ONCE} for tag in ("m1", "m2")},
                "all": {"enqueued missing blocked started succeeded @done"},
            },
            cut={
                "all": {
                    "enqueued blocked missing started succeeded @done",
                    "enqueued missing started succeeded @done",
                    "enqueued missing unblocked started succeeded @done",
                }
            },
        ),
        _case(
            "enqueue a workflow",
            _nothing,
            _workflow,
            {
                "load": {_ONCE},
                "child": {_ONCE},
                "all": {_ONCE, "enqueued blocked started succeeded @done"},
            },
            cut={tag: {""} for tag in ("load", "child", "all")},
        ),
        _case(
            "purge the parent",
            _unmet,
            lambda hands, _: hands.api.purge("p1"),
            {"p1": {""}, "job": {_UNMET}},
            again=True,
        ),
    )
)
