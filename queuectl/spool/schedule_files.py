"""The files of schedules/: which there are, their notes of ticks, and the texts about mistakes. Moves nothing.

Imports no time zones: a spool without schedules pays for one listing.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from queuectl.errors import UnknownScheduleError
from queuectl.model.text import safe
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import REASON_ENDING
from queuectl.system import disk, files

if TYPE_CHECKING:  # imported only for a spool with schedules
    from queuectl.model.tick_name import Note

NOTE_ENDING = ".tick"
"""As `tick_name.NOTE_ENDING`, for who finds no schedules."""
_NOTE_MAX_BYTES = 4096
_REASON_MAX_BYTES = 64 * 1024
# The first words of a text about a mistake, by which we know our own.
_OURS = "queuectl makes no jobs of "


class Entry(NamedTuple):
    """The files of one schedule; `file` is "" if only notes are left of it."""

    schedule: str
    file: str
    is_held: bool
    notes: tuple[Note, ...]
    twin: str = ""
    """The name of another schedule that differs only in case and comes first."""


def names(spool: SpoolDir) -> list[str]:
    """Return the names in schedules/ that may matter; [] if there is no such folder. Raises OSError."""
    try:
        listed = files.names(spool.schedules_dir)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name for name in listed if name.endswith(NOTE_ENDING) or name[-5:].lower() == ".json"]


def entries(listed: list[str]) -> dict[str, Entry]:
    """Return what the names in schedules/ say, by schedule. If a schedule is there twice, held and not, it is held."""
    found: dict[str, tuple[str, bool]] = {}
    from queuectl.model import tick_name

    notes: dict[str, list[Note]] = {}
    for name in listed:
        if (note := tick_name.parse_note(name)) is not None:
            notes.setdefault(note.schedule, []).append(note)
        elif (named := tick_name.parse_file(name)) is not None:
            known = found.get(named.schedule)
            if known is None or named.is_held:
                found[named.schedule] = name, named.is_held
    made: dict[str, Entry] = {}
    first: dict[str, str] = {}
    for schedule in sorted(found):
        twin = first.setdefault(schedule.lower(), schedule)
        file, is_held = found[schedule]
        made[schedule] = Entry(
            schedule, file, is_held, tuple(notes.pop(schedule, ())), "" if twin == schedule else twin
        )
    made.update({schedule: Entry(schedule, "", False, tuple(left)) for schedule, left in notes.items()})
    return made


def entry_of(spool: SpoolDir, schedule: str) -> Entry:
    """Return the files of a schedule. Raises UnknownScheduleError; the hint names similar ones."""
    found = entries(names(spool))
    entry = found.get(schedule)
    if entry is None or not entry.file:
        import difflib

        near = difflib.get_close_matches(schedule, [each for each in found if found[each].file], n=3, cutoff=0.6)
        raise UnknownScheduleError(schedule, hint=f"similar names: {', '.join(near)}" if near else "")
    return entry


def best(notes: tuple[Note, ...]) -> Note | None:
    """Return the note that counts, if a schedule has several (somebody copied one): the one that is furthest."""

    def key(note: Note) -> tuple[float, float]:
        return max(note.last_at or 0.0, note.making_at or 0.0), -(note.next_at or 0.0)

    return max(notes, key=key, default=None)


def content_of(spool: SpoolDir, note: Note) -> str:
    """Return the expression that a note holds; "" if it is gone or holds none. Raises OSError."""
    try:
        found = files.read(spool.schedule_path(note.name), _NOTE_MAX_BYTES)
    except (FileNotFoundError, files.NotRegularError):
        return ""
    return found.data.decode("utf-8", "replace").strip()


def zone_in(content: str) -> str:
    """Return the time zone in the content of a note, or ""."""
    return content.rpartition(" in ")[2] if content.startswith("cron ") and " in " in content else ""


# ------------------------------------------------------------------------------------------------------------- reasons


def reason_path(spool: SpoolDir, schedule: str) -> str:
    """Return the path of the text that says why a schedule makes no jobs."""
    return spool.schedule_path(schedule + REASON_ENDING)


def write_reason(spool: SpoolDir, entry: Entry, why: str, hint: str) -> None:
    """Say why a file makes no jobs, unless the text says so already. Raises OSError."""
    lines = [
        f"{_OURS}{safe(entry.file)}:",
        "",
        f"Why:   {safe(why)}",
        *([f"To do: {safe(hint)}"] if hint else []),
        "",
        "The file is unchanged. When it is right, a pool deletes this text.",
        "",
    ]
    text = "\n".join(lines)
    path = reason_path(spool, entry.schedule)
    if len(os.path.basename(path).encode("utf-8", "replace")) > 255:
        return
    found = _read_reason(path)
    if found is None or (found.startswith(_OURS) and found != text):
        spool.replace_file(path, text.encode("utf-8", "replace"), hint="reason", sync=False)


def delete_reason(spool: SpoolDir, schedule: str) -> None:
    """Delete the text about a mistake, if it is ours. Raises OSError."""
    path = reason_path(spool, schedule)
    if (_read_reason(path) or "").startswith(_OURS):
        disk.unlink(path)


def why(spool: SpoolDir, schedule: str) -> str:
    """Return why a schedule makes no jobs, as the text beside it says; "" without one of ours. Raises OSError."""
    text = _read_reason(reason_path(spool, schedule)) or ""
    found = [line.removeprefix("Why:").strip() for line in text.splitlines() if line.startswith("Why:")]
    return found[0] if found and text.startswith(_OURS) else ""


def has_reason(spool: SpoolDir, schedule: str) -> bool:
    """Return whether a schedule has a text about a mistake."""
    return os.path.lexists(reason_path(spool, schedule))


def _read_reason(path: str) -> str | None:
    """Return the text, None if there is none; "" for what is not ours to read."""
    with contextlib.suppress(FileNotFoundError):
        try:
            return files.read(path, _REASON_MAX_BYTES).data.decode("utf-8", "replace")
        except (files.NotRegularError, PermissionError):
            return ""
    return None
