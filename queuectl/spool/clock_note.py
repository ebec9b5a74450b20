"""The note of the clock: the time when a pool last checked it, so that a clock that jumps deletes nothing.

Retention deletes by age, and an age is only as good as the clock. A pool therefore keeps the time in one small file and
compares the clock with it before each pass. A jump ahead stops all deletions for a day by the new clock: time for a
person, or for a time server, to set the clock right. Nothing but retention depends on this file, and anyone may delete
it: then the folders' own times say when the spool was last used.
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import NamedTuple

from queuectl.model import times
from queuectl.model.lifecycle import STATES
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files

DAY_S = 86400.0
# A spool that is used rarely has such gaps each time, so after a first gap similar ones count as usual for a while.
_USUAL_SHARE = 1.5
_USUAL_FOR = 4
_MAX_BYTES = 4096


class Note(NamedTuple):
    """The clock at the last check, and the last jump ahead (0: none) with the time after it."""

    at: float
    jump_s: float = 0.0
    jumped_at: float = 0.0

    def waits_until(self, now_at: float) -> float | None:
        """Return the instant until which retention waits, or None if it does not wait."""
        until_at = self.jumped_at + DAY_S
        return until_at if self.jump_s > 0 and self.jumped_at <= now_at < until_at else None


def limit_s(keeps_s: list[float]) -> float:
    """Return how far the clock may advance between two checks, for the periods that records are kept.

    A day covers a wrong time zone. Half a period cannot delete everything that was there at the last check.
    """
    return max(DAY_S, min(keeps_s, default=0.0) / 2)


def compare(before: Note, now_at: float, longest_s: float) -> Note:
    """Return the note that follows `before` if the clock shows `now_at`. Only computes."""
    gap_s = now_at - before.at
    if gap_s < -longest_s:
        return Note(now_at)  # the clock was set back, so earlier times prove nothing
    usual_s = before.jump_s * _USUAL_SHARE if now_at - before.jumped_at < before.jump_s * _USUAL_FOR else 0.0
    if gap_s > max(longest_s, usual_s):
        return Note(now_at, gap_s, now_at)
    return before._replace(at=now_at)


def read(spool: SpoolDir) -> Note | None:
    """Return the note, or None if it is missing or unreadable."""
    try:
        body = json.loads(files.read(spool.clock_path, _MAX_BYTES).data)
        at, jump_s, jumped = body["at"], body.get("jump_s", 0), body.get("jumped_at", "")
        note = Note(times.from_text(at), float(jump_s), times.from_text(jumped) if jumped else 0.0)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return note if math.isfinite(note.jump_s) else None


def update(spool: SpoolDir, *, now_at: float, longest_s: float) -> Note:
    """Compare the clock with the note, write the new note and return it.

    If the disk refuses the note, the answer is the same, because on a full disk retention must free space.
    """
    made = compare(read(spool) or Note(_last_used_at(spool, now_at)), now_at, longest_s)
    with contextlib.suppress(OSError):
        _write(spool, made)
    return made


def accept(spool: SpoolDir, *, now_at: float) -> None:
    """Note that the clock is right, so that retention no longer waits for it. Raises OSError."""
    _write(spool, Note(now_at))


def waiting(spool: SpoolDir, *, now_at: float) -> str:
    """Return why retention deletes nothing now, as the end of a sentence, or "" if it does not wait."""
    note = read(spool)
    until_at = None if note is None else note.waits_until(now_at)
    return "" if note is None or until_at is None else wait_text(note, until_at)


def wait_text(note: Note, until_at: float) -> str:
    """Return why nothing is deleted, and until when, as the end of a sentence."""
    ahead = times.format_duration(note.jump_s)
    return (
        f"deletes nothing until {times.to_text(until_at)}, because the clock is {ahead} ahead of the last time that a "
        "pool checked it; if the clock is right: queuectl check --repair"
    )


def _last_used_at(spool: SpoolDir, now_at: float) -> float:
    """Return when a job last moved, according to the times of the folders."""
    found = [sig.mtime_ns / 1e9 for state in STATES if (sig := files.sig_of(spool.folder(state))) is not None]
    return max(found, default=now_at)


def _write(spool: SpoolDir, note: Note) -> None:
    body: dict[str, object] = {"at": times.to_text(note.at)}
    if note.jump_s:
        body |= {"jump_s": round(note.jump_s), "jumped_at": times.to_text(note.jumped_at)}
    data = json.dumps(body).encode() + b"\n"
    spool.replace_file(spool.clock_path, data, hint="clock", sync=False, mode=disk.FILE_MODE)
