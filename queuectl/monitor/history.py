"""List the newest events of all jobs, from the records that changed last. Only looks.

Every event is a write to its job's record, so the last N events are in the N records that were written last. File times
only sort records; the time of an event is in the record.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from queuectl.errors import DamagedRecordError
from queuectl.model import times
from queuectl.model.history import Event
from queuectl.model.lifecycle import STATES
from queuectl.model.record import Record
from queuectl.spool.folder import SpoolDir
from queuectl.system import files

# Of a folder with more files than this, those with the last names are asked for their time: generated ids sort by it.
_STAT_AT_MOST = 50_000
# The time of a file may differ from that of its last event (a copy, a clock that was set back): the search ends after
# so many old records in a row.
_OLD_IN_A_ROW = 50


class Happened(NamedTuple):
    """An event of a job, with its instant and the state the job is in now."""

    at: float
    id: str
    state: str
    event: Event


class Recent:
    """The records that changed last, newest first.

    Args:
        since_at: only records with an event at this instant or later; None: all.
        at_most: how many records to open.

    After the iteration, `was_cut` is True if more than `at_most` records may have such an event.
    """

    def __init__(
        self, spool: SpoolDir, states: Sequence[str] = STATES, *, since_at: float | None, at_most: int
    ) -> None:
        self.was_cut = False
        self._spool = spool
        self._states = states
        self._since_at = since_at
        self._at_most = at_most

    def __iter__(self) -> Iterator[tuple[str, Record]]:
        newest = heapq.nlargest(self._at_most + 1, self._changes())
        old = 0
        for number, (_, name, state) in enumerate(newest):
            if number == self._at_most:
                self.was_cut = True
                return
            try:
                item = self._spool.read(state, name).record
            except (OSError, DamagedRecordError):
                continue  # it moved on, or it is not a record (yet)
            last_at = next(
                (at for event in reversed(item.history) if (at := times.instant(event.at)) is not None), None
            )
            if self._since_at is not None and (last_at is None or last_at < self._since_at):
                old += 1
                if old == _OLD_IN_A_ROW:
                    return
                continue
            old = 0
            yield state, item

    def _changes(self) -> Iterator[tuple[int, str, str]]:
        """Yield time, name and state of every file that may be a record."""
        for state in self._states:
            try:
                changed = files.changes(self._spool.folder(state), ".json", at_most=_STAT_AT_MOST)
            except FileNotFoundError:
                if not self._spool.lacks_folders:
                    raise
                continue
            for changed_ns, name in changed:
                yield changed_ns, name, state


class History(NamedTuple):
    """The last events, newest last; `left` is True if there are more than were asked for."""

    events: list[Happened]
    left: bool


def collect(spool: SpoolDir, *, since_at: float | None, limit: int) -> History:
    """Return the last `limit` events since an instant by time; events of one job stay in the order of its history."""
    recent = Recent(spool, since_at=since_at, at_most=limit)
    found: list[Happened] = []
    for state, item in reversed(list(recent)):  # of one millisecond, what was written first comes first
        for event in item.history:
            at = times.instant(event.at)
            if at is not None and (since_at is None or at >= since_at):
                found.append(Happened(at, item.id, state, event))
    found.sort(key=lambda happened: happened.at)
    return History(found[-limit:], len(found) > limit or recent.was_cut)
