"""Bring back the jobs that are dead because of a parent that is dead no more (promise P13).

`spool.victims` has their ids. Under the stripe of each: append `requeued`, move it to pending/, delete its text and the
note. A crash in between leaves the note, so it is done again. A note about a job that did not die of that parent is
deleted, and the job is left alone.
"""

from __future__ import annotations

from queuectl.errors import DamagedRecordError
from queuectl.jobs import error_text, repair
from queuectl.model import history, names, record
from queuectl.model.lifecycle import DLQ, PENDING, REQUEUED, UNMET
from queuectl.model.record import Record
from queuectl.spool import victims
from queuectl.spool.folder import Stored
from queuectl.spool.layout import Located, record_name
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files

BY = "parent"
"""In `requeued`: the parent of the job was revived."""


class Reviver:
    """Brings back jobs of one spool."""

    def __init__(self, session: Session, stripes: Stripes) -> None:
        self._session = session
        self._spool = session.spool
        self._stripes = stripes

    def revive(self, parent: str, *, at_most: int, until_s: float) -> list[str]:
        """Bring back children of a parent, which is not in dlq/, until an instant (monotonic); return their new names.

        Those whose stripe is busy, or for which there is no time, keep their notes.

        Raises:
            OSError: a problem of the machine.
        """
        made = []
        for child in victims.some_children(self._spool, parent, at_most):
            stripe = self._stripes.of(child)
            if not stripe.try_acquire():
                continue
            try:
                if name := self._revive(parent, child):
                    made.append(name)
            finally:
                stripe.release()
            if self._session.clock.monotonic() >= until_s:
                break
        victims.tidy(self._spool, parent)
        return made

    def _revive(self, parent: str, child: str) -> str:
        """Bring back one job; return its name in pending/, or "" if it did not die of this parent."""
        here = Located(DLQ, record_name(child), self._spool.path(DLQ, record_name(child)))
        name = ""
        try:
            stored = self._read(here)
            if is_victim(stored.record, parent):
                events = [history.event(REQUEUED, self._session.clock.now(), by=BY)]
                tail = record.append(len(stored.data), events, empty=not stored.record.history)
                disk.append(here.path, tail, sync=self._session.syncs_all)
                name = self._spool.move(here, PENDING, names.blocked_name(child, parent))
                error_text.forget(self._spool, here.name)
        except (DamagedRecordError, FileNotFoundError, files.NotRegularError):
            pass  # not there, or no record any more: the job is left as it is
        victims.forget(self._spool, parent, child)
        return name

    def _read(self, here: Located) -> Stored:
        """Read a record, and repair its torn end: an event that was cut short must not cost the job its note."""
        try:
            return self._spool.read(DLQ, here.name)
        except DamagedRecordError:
            return repair.repaired(self._session, here)


def is_victim(item: Record, parent: str) -> bool:
    """Return whether a job in dlq/ is dead because of a parent, or was about to be brought back."""
    last = item.standing().last
    if last is not None and last.event == REQUEUED and last.by == BY:
        last = next((event for event in reversed(item.history) if event.event != REQUEUED and event.to), None)
    return last is not None and last.event == UNMET and last.after == parent
