"""Defines the parents of a job: the jobs that must end before it may start (promise P13). Computes only.

The key `after` of a producer is an id, an object with `id` and `when`, or a list of both. A record always has the list.
The parents are asked from the last one to the first: a job waits for the last of its parents that has not ended, so all
parents behind that one are met, and one name says how far a job is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.model import lifecycle, names
from queuectl.model.history import Event

DONE, ENDED, DEAD = lifecycle.DONE, "ended", "dead"
"""The conditions: it succeeded; it ended, in either way; it is dead or cancelled."""
CONDITIONS = (DONE, ENDED, DEAD)
AT_MOST = 1000
"""How many parents a job may have."""
EXPECTED = 'an id, {"id": "ID", "when": "done"}, or a list of these'
_HINT = 'write "after": "ID", or "after": {"id": "ID", "when": "ended"}, or a list of these'
_SHOWN_CHARS = 120


class Parent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parent, and what must have become of it."""

    id: str
    when: Literal["done", "ended", "dead"] = "done"


class Progress(NamedTuple):
    """How far a waiting job is, by its history."""

    pointer: str
    """The parent that it waits for."""
    missing_since: str
    """Since when that parent is on record as missing; "": it is not."""


Given = str | Mapping[str, str]
Recorded = tuple[str | Parent, ...]
"""The key `after` of a record: an id stands for a parent that must succeed."""


def parse(value: Given | Sequence[Given]) -> list[str | dict[str, str]]:
    """Check the key `after` of a producer and return it as a record holds it.

    Raises:
        InvalidJobError: the error names the parent and its mistake.
    """
    given = [value] if isinstance(value, str | Mapping) else list(value)
    if not given:
        raise _mistake("is an empty list", "remove the key, or name a parent")
    if len(given) > AT_MOST:
        raise _mistake(f"names {len(given)} parents, and at most {AT_MOST} are possible", "put jobs in between")
    found: dict[str, Parent] = {}
    for each in given:
        parent = _parent(each)
        if found.setdefault(parent.id, parent) != parent:
            raise _mistake(f"names {parent.id!r} twice, with different conditions", "remove one of them")
    return [each.id if each.when == DONE else {"id": each.id, "when": each.when} for each in found.values()]


def _parent(given: Given) -> Parent:
    if isinstance(given, str):
        parent = Parent(given)
    else:
        keys = dict(given)
        job_id, when = keys.pop("id", None), keys.pop("when", DONE)
        if job_id is None:
            raise _mistake("an object without id", _HINT)
        if keys:
            raise _mistake(f"has no key {next(iter(keys))[:_SHOWN_CHARS]!r}", _HINT)
        if when not in CONDITIONS:
            raise _mistake(f"when: {when[:_SHOWN_CHARS]!r} is none of {', '.join(CONDITIONS)}", _HINT)
        parent = msgspec.convert({"id": job_id, "when": when}, Parent)
    if why := names.why_bad_id(parent.id):
        raise _mistake(f"{parent.id[:_SHOWN_CHARS]!r} {why}", "write the id of a job")
    return parent


def _mistake(what: str, hint: str) -> InvalidJobError:
    return InvalidJobError(f"after: {what}", key="after", hint=hint)


def why_bad(after: Recorded) -> str:
    """Return the mistake in the parents of a record, which become parts of paths; "" if there is none."""
    if len(after) > AT_MOST:
        return "names too many parents"
    return next((f"names a parent whose id {why}" for each in of(after) if (why := names.why_bad_id(each.id))), "")


def of(after: Recorded) -> list[Parent]:
    """Return the parents in a record, in its order."""
    return [Parent(each) if isinstance(each, str) else each for each in after]


def is_met(parent: Parent, state: str) -> bool:
    """Return whether a parent that has ended in a state (done, dlq) fulfils its condition."""
    return parent.when == ENDED or (parent.when == DONE) == (state == lifecycle.DONE)


def progress(after: Recorded, history: Sequence[Event]) -> Progress | None:
    """Return how far a job with parents is, by its record; None if it has none, or if they are settled.

    They are settled once the job has started, and by the event `unblocked`. Nobody asks them again then.
    """
    if not after:
        return None
    known = {parent.id for parent in of(after)}
    pointer, missing_since = "", ""
    for event in history:
        kind = event.event
        if kind in (lifecycle.STARTED, lifecycle.UNBLOCKED) or event.counts.get(lifecycle.STARTED):
            return None
        if kind == lifecycle.BLOCKED and event.after in known:
            pointer, missing_since = event.after, ""
        elif kind == lifecycle.MISSING:
            missing_since = event.at if event.after == (pointer or of(after)[-1].id) else ""
    return Progress(pointer or of(after)[-1].id, missing_since)


def still_asked(after: Recorded, known: Progress) -> list[str]:
    """Return the ids of the parents that a job may still ask for: the one that it waits for, and those before it."""
    ids = [each.id for each in of(after)]
    return ids[: ids.index(known.pointer) + 1]
