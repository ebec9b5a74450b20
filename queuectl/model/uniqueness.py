"""Decides which of the jobs with one unique key may wait and run (promise P15). Computes only.

The key note of a unique key names the newest job that was taken in with it. `judge` says what a newcomer may do, given
the note and where that job is. FORMAT.md, section 4, "Unique jobs", has the table.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from queuectl.model import history, names, times
from queuectl.model.spec import REPLACE, UNTIL_DELETED, UNTIL_ENDED, Until

UNIQUE = "unique"
OVER = "over"
LOCK_COUNT = 64
# A row of replacements with a delay ends at the latest after so many delays.
ROW_DELAYS = 10
# What makes a job the same as another one, for `"unique": true`.
_SAME = ("command", "cwd", "env", "stdin", "stdin_file", "queue", "owner")


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key note: the newest job of a unique key."""

    id: str
    name: str = ""
    """Its name in pending/ when it was last put there."""
    until: str = UNTIL_ENDED
    """Its `unique_until`; OVER: it does not hold the key any more, but `unique_for` does."""
    held_until: str = ""
    held_s: float = 0.0
    row_at: str = ""
    """When the first job of its row of replacements was taken in."""
    behind: str = ""
    """The job that ran when the row began."""
    replaces: tuple[str, ...] = ()
    """The jobs whose places it takes: none of them may wait any more when it starts."""


class Terms(msgspec.Struct, frozen=True):
    """What a job says about its unique key."""

    key: str
    until: Until = "ended"
    for_s: float = 0.0
    replaces: bool = False


class Place(NamedTuple):
    """Where the newest job is: it waits, it runs, it is in done/, or none of these."""

    waits: bool = False
    runs: bool = False
    is_done: bool = False


class Accepted(NamedTuple):
    """The newcomer is taken in."""

    replaces: tuple[str, ...] = ()
    """The waiting jobs whose places it takes."""
    behind: str = ""
    """The job whose end it waits for."""
    row_at: float | None = None
    """When the first job of its row was taken in; None: it is the first one."""


class Duplicate(NamedTuple):
    """The newcomer is skipped, because the job `of` has the key."""

    of: str
    reason: str


def terms_in(spec: Mapping[str, Any]) -> Terms:
    """Return the terms in the specification of a job that has a unique key."""
    return Terms(
        spec[UNIQUE],
        spec.get("unique_until", UNTIL_ENDED),
        spec.get("unique_for", 0.0),
        spec.get("on_duplicate") == REPLACE,
    )


def same(spec: Mapping[str, Any]) -> str:
    """Return the unique key of `"unique": true`: equal for jobs that run the same."""
    import hashlib  # few jobs need this

    text = json.dumps([spec.get(key) for key in _SAME], sort_keys=True, ensure_ascii=True)
    return f"same-{hashlib.sha256(text.encode()).hexdigest()[:26]}"


def note_name(key: str) -> str:
    """Return the name of the note of a key. File systems may ignore case, so it has no capitals."""
    is_plain = names.key_flag(key) == key and key == key.lower() and not names.is_device(key)
    return key if is_plain else names.hashed_flag(key).lower()


def lock_number(name: str) -> int:
    """Return the number of the lock of a note."""
    return zlib.crc32(name.encode()) % LOCK_COUNT


def judge(note: Note | None, place: Place, terms: Terms, now_at: float) -> Accepted | Duplicate:
    """Say what becomes of a newcomer; `place` is where the job of the note is."""
    if note is None:
        return Accepted()
    if place.waits and note.until != OVER:
        if not terms.replaces:
            return Duplicate(note.id, f"{note.id} has the same unique key and waits")
        return Accepted((note.id, *note.replaces), note.behind, times.instant(note.row_at))
    if place.runs and note.until in (UNTIL_ENDED, UNTIL_DELETED):
        if not terms.replaces:
            return Duplicate(note.id, f"{note.id} has the same unique key and runs")
        # It may be about to be put back: what it has not replaced by then is the newcomer's to replace.
        return Accepted(note.replaces, note.id)
    if place.is_done and note.until == UNTIL_DELETED and not terms.replaces:
        return Duplicate(note.id, f"{note.id} has the same unique key and its record is in done/")
    if is_held_for(note, now_at):
        held = times.format_duration(note.held_s)
        return Duplicate(note.id, f"{note.id} has the same unique key and was taken in less than {held} ago")
    return Accepted()


def holds(note: Note, place: Place) -> bool:
    """Return whether the job of a note keeps other jobs with its key from starting; `place` is where it is."""
    return place.waits or place.runs or (place.is_done and note.until == UNTIL_DELETED)


def is_held_for(note: Note, now_at: float) -> bool:
    """Return whether `unique_for` of the job of the note is not over."""
    until_at = times.instant(note.held_until) if note.held_until else None
    return until_at is not None and not history.is_due(until_at, note.held_s, now_at)


def note_of(job_id: str, name: str, terms: Terms, accepted: Accepted, now_at: float) -> Note:
    """Return the note of a job that is taken in."""
    row_at = now_at if accepted.row_at is None else accepted.row_at
    return Note(
        job_id,
        name,
        terms.until,
        times.to_text(times.round_up(now_at + terms.for_s)) if terms.for_s else "",
        terms.for_s,
        times.to_text(row_at),
        accepted.behind,
        accepted.replaces,
    )


def again(note: Note) -> Accepted:
    """Return the verdict on a newcomer that was judged and noted before, and not published."""
    return Accepted(note.replaces, note.behind, times.instant(note.row_at))


def latest_due_at(due_at: float, delay_s: float | None, accepted: Accepted) -> float:
    """Return when a newcomer with a delay is due: replacing a job again and again must not put it off for ever."""
    if delay_s is None or accepted.row_at is None:
        return due_at
    return min(due_at, accepted.row_at + ROW_DELAYS * delay_s)


def over(note: Note) -> Note:
    """Return the note of a job that holds the key for `unique_for` only."""
    return msgspec.structs.replace(note, until=OVER)


def instead(note: Note, job_id: str, replaces: tuple[str, ...]) -> Note:
    """Return the note of a job whose replacement is gone."""
    return msgspec.structs.replace(note, id=job_id, name="", replaces=replaces, held_until="", held_s=0.0)


def renamed(note: Note, name: str) -> Note:
    """Return the note of a job that waits under another name."""
    return msgspec.structs.replace(note, name=name)


def behind(spec: dict[str, Any], parent: str) -> dict[str, Any]:
    """Return the specification of a newcomer that also waits for the end of `parent`, before its own parents."""
    if not parent:
        return spec
    kept = [each for each in spec.get("after", ()) if each != parent and not _names(each, parent)]
    return {**spec, "after": [{"id": parent, "when": "over"}, *kept]}


def _names(each: object, parent: str) -> bool:
    return isinstance(each, dict) and each.get("id") == parent


def without_replacing(terms: Terms) -> Terms:
    """Return the terms of a job that was taken in before."""
    return msgspec.structs.replace(terms, replaces=False)
