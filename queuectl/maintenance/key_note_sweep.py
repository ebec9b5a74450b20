"""Delete the key notes whose jobs do not hold the key any more, and whose `unique_for` is over (promise P15).

Whoever settles a job deletes its note, so what is left here are notes of jobs that were deleted, moved by hand or
killed, and those that `unique_for` has kept. A note is deleted under the lock of its key, if it is still the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from queuectl.model import names, uniqueness
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.model.spec import UNTIL_DELETED
from queuectl.model.uniqueness import Note
from queuectl.spool import key_notes
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.spool.session import Session

_EVERY_S = 600.0
# A step takes some milliseconds.
_A_STEP = 100


class KeyNoteSweep:
    """Sweeps the notes of one spool, step by step."""

    def __init__(self, session: Session) -> None:
        self._spool, self._clock = session.spool, session.clock
        self._left: list[str] = []
        self._next_s = 0.0

    def step(self) -> int:
        """Look at some notes; return how many were deleted. Raises OSError."""
        now_s = self._clock.monotonic()
        if not self._left:
            if now_s < self._next_s:
                return 0
            self._next_s = now_s + _EVERY_S
            self._left = key_notes.noted(self._spool)
            if not self._left:
                return 0
        some, self._left = self._left[:_A_STEP], self._left[_A_STEP:]
        return sum(forget_void(self._spool, name, note) for name, note in void(self._spool, some, self._clock.now()))


def void(spool: SpoolDir, noted: Iterable[str], now_at: float) -> list[tuple[str, Note]]:
    """Return those of some notes that are void; one listing at most. Raises OSError."""
    found: list[tuple[str, Note]] = []
    nowhere: list[tuple[str, Note]] = []
    for name in noted:
        note = key_notes.read_named(spool, name)
        if note is None or uniqueness.is_held_for(note, now_at):
            continue
        place = key_notes.find_known(spool, note)
        if place is None:
            nowhere.append((name, note))
        elif _is_free(note, place):
            found.append((name, note))
    if nowhere:
        waiting = {name.partition(",")[0].removesuffix(".json") for name in spool.names(spool.folder(PENDING))}
        states = (RUNNING, PENDING)
        found += [each for each in nowhere if each[1].id not in waiting and not spool.holds(each[1].id, states)]
    return found


def forget_void(spool: SpoolDir, name: str, note: Note) -> bool:
    """Delete a void note, if it is still the same and its lock is free. Raises OSError."""
    with key_notes.locked_by_name(spool, name, patience_s=0.0) as is_locked:
        if not is_locked or key_notes.read_named(spool, name) != note:
            return False
        # A job is published after its note, under this lock: by now it is there.
        place = key_notes.find_known(spool, note)
        if place is not None and not _is_free(note, place):
            return False
        # The job of the note may be gone before it took the places of these.
        for other in filter(None, (*note.replaces, note.behind)):
            left = key_notes.place_of(spool, Note(other))
            if left.waits or left.runs:
                return False
        key_notes.forget_named(spool, name)
        return True


def _is_free(note: Note, place: Located) -> bool:
    """Return whether a job, which is there, does not hold its key any more, apart from `unique_for`."""
    return place.state == DLQ or (place.state == DONE and note.until != UNTIL_DELETED)


def is_note_name(name: str) -> bool:
    """Return whether a file in unique/ may be a note or a lock."""
    stem, dot, ending = name.partition(".")
    if dot:
        return ending == "lock" and stem.isdecimal() and len(stem) == 2
    return names.key_flag(name) == name or "~" in name
