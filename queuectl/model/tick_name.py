"""Makes and parses the names in schedules/: the user's files and our notes of ticks. Computes only.

A note is `NAME,last=TICK,next=TICK.tick`. All that changes at a tick is in its name, so each step of a tick is one
rename (promise P14; FORMAT.md, section 4, "Schedules").
"""

from __future__ import annotations

import re
from typing import NamedTuple

from queuectl.model import names, times

NAME_MAX_CHARS = 64
NOTE_ENDING = ".tick"
_HELD = ",hold"
_TICK = r"\d{8}T\d{6}Z"
_NOTE = re.compile(
    rf"([A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_MAX_CHARS - 1}}})(?:,last=({_TICK}))?(?:,(next|making)=({_TICK}))?"
    rf"(?:,skipped=([1-9]\d{{0,8}}))?{re.escape(NOTE_ENDING)}"
)
_SKIPPED_MOST = 999_999_999


class Note(NamedTuple):
    """The parts of the name of a note. Instants are None if the name does not say them."""

    schedule: str
    last_at: float | None = None
    """The last tick of which a job was made."""
    next_at: float | None = None
    making_at: float | None = None
    """The tick of which a job is being made."""
    skipped: int = 0
    """How many ticks made no job because an earlier one had not ended."""

    @property
    def name(self) -> str:
        """The name of the file."""
        last = "" if self.last_at is None else f",last={times.to_name(self.last_at)}"
        next_ = "" if self.next_at is None else f",next={times.to_name(self.next_at)}"
        making = "" if self.making_at is None else f",making={times.to_name(self.making_at)}"
        skipped = f",skipped={min(self.skipped, _SKIPPED_MOST)}" if self.skipped else ""
        return f"{self.schedule}{last}{making or next_}{skipped}{NOTE_ENDING}"


def shown(expression: str) -> str:
    """Return the expression that a note holds as people read it: without an offset of 0 s."""
    return expression.removesuffix(", offset 0 s")


def parse_note(file_name: str) -> Note | None:
    """Parse the name of a note; return None for any other name."""
    match = _NOTE.fullmatch(file_name)
    if match is None:
        return None
    schedule, last, kind, tick, skipped = match.groups()
    last_at = times.from_name(last) if last else None
    tick_at = times.from_name(tick) if tick else None
    if (last and last_at is None) or (tick and tick_at is None):
        return None  # no date of the calendar
    is_next = kind == "next"
    return Note(schedule, last_at, tick_at if is_next else None, None if is_next else tick_at, int(skipped or 0))


class Named(NamedTuple):
    """What the name of a user's file says: the schedule, and whether it is held."""

    schedule: str
    is_held: bool


def parse_file(file_name: str) -> Named | None:
    """Parse the name of a user's file, also one that no schedule may have; None for names that are left alone."""
    if not file_name.lower().endswith(".json") or len(file_name) == len(".json") or names.is_copy(file_name):
        return None
    stem = file_name[: -len(".json")]
    is_held = stem.endswith(_HELD) and len(stem) > len(_HELD)
    return Named(stem.removesuffix(_HELD) if is_held else stem, is_held)


def file_name(schedule: str, *, held: bool = False) -> str:
    """Return the name of a schedule's file."""
    return f"{schedule}{_HELD if held else ''}.json"


def why_bad_name(schedule: str) -> str:
    """Return the mistake in the name of a schedule, as the end of a sentence, or ""."""
    if len(schedule) > NAME_MAX_CHARS:
        return f"is longer than {NAME_MAX_CHARS} characters"
    return names.why_bad_id(schedule)


def job_id(schedule: str, tick_at: float) -> str:
    """Return the id of the job of a tick: `nightly-20261125T020000Z`."""
    return f"{schedule}-{times.to_name(tick_at)}"
