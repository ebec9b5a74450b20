"""Defines the parents of a job: the jobs that must end before it may start (promise P13). Computes only.

The key `after` of a producer is an id, an object with `id` and `when`, or a list of both. A record always has the list.
The parents are asked from the last one to the first: a job waits for the last of its parents that has not ended, so all
parents behind that one are met, and one name says how far a job is.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.model import lifecycle, members, names, spec
from queuectl.model.history import Event
from queuectl.model.members import Members
from queuectl.model.spec import Parent, ParentValue, Recorded

DONE, ENDED, DEAD, OVER = lifecycle.DONE, "ended", "dead", "over"
"""The conditions: it succeeded; it ended, in either way; it is dead or cancelled; it ended, or is in no folder."""
CONDITIONS = (DONE, ENDED, DEAD, OVER)
AT_MOST = 1000
"""How many parents a job may have."""
EXPECTED = spec.PARENTS_EXPECTED
_HINT = 'write "after": "ID", or "after": {"id": "ID", "when": "ended"}, or a list of these'
_SHOWN_CHARS = 120


class Asked(Sequence[Parent]):
    """All parents in a record, in its order. A range of a million takes no more memory than one parent."""

    def __init__(self, after: Recorded) -> None:
        self._parts: list[tuple[int, Sequence[str], str]] = []
        """Where each part begins, its ids, and its condition."""
        size = 0
        for each in after:
            parent = Parent(each) if isinstance(each, str) else each
            ids: Sequence[str] = range_of(parent) if parent.batch else (parent.id,)
            self._parts.append((size, ids, parent.when))
            size += len(ids)
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._size))]
        at = index + self._size if index < 0 else index
        if not 0 <= at < self._size:
            raise IndexError(index)
        start, ids, when = self._parts[bisect.bisect_right(self._parts, at, key=lambda part: part[0]) - 1]
        return Parent(ids[at - start], when)  # type: ignore[arg-type]

    def find(self, job_id: str) -> int:
        """Return the index of a parent, or -1."""
        for start, ids, _ in self._parts:
            found = ids.find(job_id) if isinstance(ids, Members) else 0 if ids[0] == job_id else -1
            if found >= 0:
                return start + found
        return -1

    def is_member(self, job_id: str) -> bool:
        """Return whether a parent counts as done if it is nowhere: it is in a range, or is to be over."""
        return any(
            ids.find(job_id) >= 0 if isinstance(ids, Members) else when == OVER and ids[0] == job_id
            for _, ids, when in self._parts
        )


class Progress(msgspec.Struct, frozen=True):
    """How far a waiting job is, by its history."""

    pointer: str
    """The parent that it waits for."""
    missing_since: str
    """Since when that parent is on record as missing; "": it is not."""


Given = str | Mapping[str, ParentValue]


def range_of(parent: Parent) -> Members:
    """Return the ids of a range."""
    return Members(parent.batch, parent.count, parent.left_out, parent.refs)


def parse(value: Given | Sequence[Given]) -> list[str | dict[str, Any]]:
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
    ranges: list[Parent] = []
    for each in given:
        if isinstance(each, Mapping) and "batch" in each:
            ranges.append(_range(each))
            continue
        parent = _parent(each)
        if found.setdefault(parent.id, parent) != parent:
            raise _mistake(f"names {parent.id!r} twice, with different conditions", "remove one of them")
    for one in ranges:
        if twice := next((job_id for job_id in found if range_of(one).find(job_id) >= 0), ""):
            raise _mistake(f"names {twice!r} alone and in a range", "remove one of them")
    if len({one.batch for one in ranges}) < len(ranges):
        raise _mistake("has two ranges of one file", "remove one of them")
    plain = [each.id if each.when == DONE else {"id": each.id, "when": each.when} for each in found.values()]
    return [*plain, *map(_as_recorded, ranges)]


def _as_recorded(one: Parent) -> dict[str, Any]:
    made = {"batch": one.batch, "count": one.count, "except": list(one.left_out), "refs": list(one.refs)}
    kept: dict[str, Any] = {key: value for key, value in made.items() if value}
    return kept if one.when == DONE else {**kept, "when": one.when}


def _range(given: Mapping[str, ParentValue]) -> Parent:
    """Return a range as queuectl writes it into a record, or into a document that it makes of a flow."""
    try:
        one = msgspec.convert(dict(given), Parent)
    except msgspec.ValidationError as error:
        raise _mistake(f"has a range that queuectl does not write: {error}", _HINT) from error
    why = "has a range with an id" if one.id else members.why_bad(one.batch, one.count, one.left_out, one.refs)
    if why:
        raise _mistake(why, _HINT)
    return one


def _parent(given: Given) -> Parent:
    if isinstance(given, str):
        parent = Parent(given)
    else:
        keys = dict(given)
        job_id, when = keys.pop("id", None), keys.pop("when", DONE)
        if not isinstance(job_id, str):
            raise _mistake("an object without id" if job_id is None else "id: takes a text", _HINT)
        if keys:
            raise _mistake(f"has no key {next(iter(keys))[:_SHOWN_CHARS]!r}", _HINT)
        if when not in CONDITIONS:
            raise _mistake(f"when: {str(when)[:_SHOWN_CHARS]!r} is none of {', '.join(CONDITIONS)}", _HINT)
        parent = msgspec.convert({"id": job_id, "when": when}, Parent)
    if parent.id == "*":
        raise _mistake('"*" is only for a file of many jobs', "write the ids of the jobs")
    if why := names.why_bad_id(parent.id):
        raise _mistake(f"{parent.id[:_SHOWN_CHARS]!r} {why}", "write the id of a job")
    return parent


def _mistake(what: str, hint: str) -> InvalidJobError:
    return InvalidJobError(f"after: {what}", key="after", hint=hint)


def why_bad(after: Recorded) -> str:
    """Return the mistake in the parents of a record, which become parts of paths; "" if there is none."""
    if len(after) > AT_MOST + 1:  # a unique job may get one more
        return "names too many parents"
    for each in after:
        parent = Parent(each) if isinstance(each, str) else each
        if parent.batch:
            why = members.why_bad(parent.batch, parent.count, parent.left_out, parent.refs)
        else:
            bad = _why_bad_id(parent.id) if len(parent.id) <= names.ID_MAX_CHARS else names.why_bad_id(parent.id)
            why = bad and f"names a parent whose id {bad}"
        if why:
            return why
    return ""


# The children of one parent are read one after the other: this saves 5 us a record.
_why_bad_id = functools.lru_cache(maxsize=256)(names.why_bad_id)


def of(after: Recorded) -> Asked:
    """Return the parents in a record, in its order."""
    return Asked(after)


def recorded(after: Sequence[str | dict[str, Any]]) -> Recorded:
    """Return the key `after` of a checked document as a record has it once it is read."""
    return tuple([each if isinstance(each, str) else msgspec.convert(each, Parent) for each in after])


def is_met(parent: Parent, state: str) -> bool:
    """Return whether a parent that has ended in a state (done, dlq) fulfils its condition."""
    return parent.when in (ENDED, OVER) or (parent.when == DONE) == (state == lifecycle.DONE)


def progress(after: Recorded, history: Sequence[Event]) -> Progress | None:
    """Return how far a job with parents is, by its record; None if it has none, or if they are settled.

    They are settled once the job has started, and by the event `unblocked`. Nobody asks them again then.
    """
    if not after:
        return None
    last = after[-1]
    pointer, missing_since = last if isinstance(last, str) else of((last,))[-1].id, ""
    asked: Asked | None = None  # most jobs have waited for one parent only
    for event in history:
        kind = event.event
        if kind in (lifecycle.STARTED, lifecycle.UNBLOCKED) or event.counts.get(lifecycle.STARTED):
            return None
        if kind in (lifecycle.BLOCKED, lifecycle.UNMET):
            asked = of(after) if asked is None else asked
            if asked.find(event.after) >= 0:  # those behind it are met
                missing_since = missing_since if event.after == pointer else ""
                pointer = event.after
        elif kind == lifecycle.MISSING:
            missing_since = event.at if event.after == pointer else ""
    return Progress(pointer, missing_since)


def still_asked(after: Recorded, known: Progress) -> list[str]:
    """Return the ids of the parents that a job may still ask for: the one that it waits for, and those before it."""
    asked = of(after)
    return [asked[index].id for index in range(asked.find(known.pointer) + 1)]
