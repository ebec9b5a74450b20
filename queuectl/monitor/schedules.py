"""Show the schedules of a spool by their files: their keys, ticks and mistakes. Only looks.

`schedule_rows` has less, and goes by names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.model import document, tick_name
from queuectl.model.schedule import Schedule
from queuectl.spool import schedule_files
from queuectl.spool.schedule_files import Entry
from queuectl.spool.schedule_reading import Reader
from queuectl.spool.session import Session

_ARRIVING = "it is not whole (yet)"


class ScheduleInfo(msgspec.Struct, frozen=True):
    """A schedule as it is in the spool. Instants are seconds since 1970 UTC."""

    name: str
    path: str
    is_paused: bool
    when: str
    """The expression: `cron 0 2 * * * in Europe/Berlin` or `every 300 s, offset 60 s`; "" if the file has a mistake."""
    zone: str
    """The time zone of a cron expression, or ""."""
    catch_up: str
    overlap: str
    spread_s: float
    last_at: float | None
    """The last tick of which a job was made."""
    next_at: float | None
    """The next tick; None while it is paused, or if the file has a mistake."""
    skipped: int
    """How many ticks made no job because the last one had not ended."""
    why: str
    """Why it makes no jobs, or ""."""
    hint: str
    schedule: Schedule | None
    """The keys of its jobs, and its ticks."""

    @property
    def command(self) -> str | list[str]:
        """The command of its jobs, "" if the file has a mistake."""
        return "" if self.schedule is None else self.schedule.job["command"]

    def ticks(self, count: int, *, after_at: float) -> list[float]:
        """Return the next ticks after an instant."""
        if self.schedule is None:
            return []
        return list(itertools.islice(self.schedule.timetable.since(after_at), count))


def all_of(session: Session) -> Iterator[ScheduleInfo]:
    """Yield the schedules of a spool, by name. Raises OSError."""
    reader = Reader(session)
    for entry in schedule_files.entries(schedule_files.names(session.spool)).values():
        if entry.file:
            yield _info(session, reader, entry)


def one(session: Session, name: str) -> ScheduleInfo:
    """Return one schedule.

    Raises:
        UnknownScheduleError: there is no such file.
        OSError: the system call failed.
    """
    return _info(session, Reader(session), schedule_files.entry_of(session.spool, name))


def _info(session: Session, reader: Reader, entry: Entry) -> ScheduleInfo:
    note = schedule_files.best(entry.notes)
    found: Schedule | None = None
    why = hint = ""
    try:
        read = reader.read(entry)
        if isinstance(read, document.Incomplete):
            why, hint = f"{_ARRIVING}: {read.why}", read.hint
        else:
            found = read
    except InvalidJobError as error:
        why, hint = str(error), error.hint
    except OSError as error:
        why = f"it cannot be read: {error.strerror}"
    next_at = None
    if found is not None and not entry.is_held:
        now_at = session.clock.now()
        next_at = None if note is None else note.next_at
        is_same = note is not None and schedule_files.content_of(session.spool, note) == found.timetable.text
        if next_at is None or not is_same:
            next_at = found.timetable.after(now_at)
    return ScheduleInfo(
        name=entry.schedule,
        path=session.spool.schedule_path(entry.file),
        is_paused=entry.is_held,
        when="" if found is None else tick_name.shown(found.timetable.text),
        zone="" if found is None else found.zone,
        catch_up="" if found is None else found.catch_up,
        overlap="" if found is None else found.overlap,
        spread_s=0.0 if found is None else found.spread_s,
        last_at=None if note is None else note.last_at,
        next_at=next_at,
        skipped=0 if note is None else note.skipped,
        why=why,
        hint=hint,
        schedule=found,
    )
