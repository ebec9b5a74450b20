"""The rows of schedules in a snapshot: by the names in schedules/, without a library of time zones. Only looks."""

from __future__ import annotations

from typing import NamedTuple

from queuectl.model import tick_name
from queuectl.spool import schedule_files
from queuectl.spool.folder import SpoolDir


class ScheduleRow(NamedTuple):
    """A schedule."""

    schedule: str
    when: str
    """The expression, "" if no pool has looked at it."""
    last_at: float | None
    next_at: float | None
    is_held: bool
    skipped: int
    why: str
    """Why it makes no jobs, or ""."""

    @property
    def state(self) -> str:
        """What holds it up, in words, or ""."""
        if self.why:
            return f"makes no jobs: {self.why}"
        return "paused" if self.is_held else ""


def rows(spool: SpoolDir, *, most: int) -> tuple[tuple[ScheduleRow, ...], int]:
    """Return the schedules, those with a mistake first, then by their next tick; and how many are left out.

    Raises OSError.
    """
    listed = schedule_files.names(spool)
    if not listed:
        return (), 0
    found = []
    for entry in schedule_files.entries(listed).values():
        if not entry.file:
            continue
        note = schedule_files.best(entry.notes)
        found.append((schedule_files.has_reason(spool, entry.schedule), note, entry))
    found.sort(key=lambda each: (not each[0], _next(each[1]), each[2].schedule))
    made = []
    for has_reason, note, entry in found[:most]:
        made.append(
            ScheduleRow(
                schedule=entry.schedule,
                when="" if note is None else tick_name.shown(schedule_files.content_of(spool, note)),
                last_at=None if note is None else note.last_at,
                next_at=None if note is None or entry.is_held or has_reason else note.next_at,
                is_held=entry.is_held,
                skipped=0 if note is None else note.skipped,
                why=schedule_files.why(spool, entry.schedule) if has_reason else "",
            )
        )
    return tuple(made), max(0, len(found) - most)


def _next(note: object) -> float:
    next_at = getattr(note, "next_at", None)
    return float("inf") if next_at is None else float(next_at)
