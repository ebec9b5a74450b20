"""End waiting jobs whose parents cannot end, and note that a parent is missing (promise P13).

A pool calls this for what no claim decides: parents that are in no folder, and jobs that wait for each other. Each job
is changed in pending/, under the stripe of its id, and only if its record says the same as its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from queuectl.errors import DamagedRecordError
from queuectl.flows.dependencies import Over
from queuectl.jobs import blocking, ending
from queuectl.jobs.verdict import Dead
from queuectl.model import history, names, parents, record, times
from queuectl.model.lifecycle import MISSING, PENDING, UNMET
from queuectl.spool.folder import Stored
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files

_Made = TypeVar("_Made")


class Unsure(NamedTuple):
    """The record does not say that the job waits for this parent: its claim decides."""


class Hopeless:
    """Ends the waiting jobs of one spool."""

    def __init__(self, session: Session, stripes: Stripes) -> None:
        self._session = session
        self._spool = session.spool
        self._stripes = stripes

    def note_missing(self, name: str, parent: str, *, again: bool) -> float | Unsure | None:
        """Put on record that the parent of pending/`name` is in no folder, and return since when it is on record.

        `again`: it was there in between, so an earlier note does not count. Return None if the job cannot be changed
        now, and Unsure also for a member of a range, which counts as done when it is nowhere.

        Raises:
            OSError: a problem of the machine, or of this file.
        """

        def note(stored: Stored) -> float | Unsure:
            now_at = self._session.clock.now()
            known = stored.record.blocked
            is_member = parents.of(stored.record.extras.after).is_member(parent)
            if known is not None and known.missing_since and not again:
                if is_member:
                    return Unsure()
                since_at = times.instant(known.missing_since)
                return now_at if since_at is None else since_at
            events = [history.event(MISSING, now_at, after=parent)]
            tail = record.append(len(stored.data), events, empty=not stored.record.history)
            disk.append(self._spool.path(PENDING, name), tail, sync=self._session.syncs_all)
            return Unsure() if is_member else now_at

        return self._change(name, parent, note)

    def end(self, name: str, parent: str, reason: str) -> Dead | Unsure | None:
        """Move pending/`name` to dlq/; return None if the job cannot be changed now. Raises OSError."""

        def bury(stored: Stored) -> Dead:
            here = Located(PENDING, name, self._spool.path(PENDING, name))
            last = stored.record.standing().last
            if last is not None and last.event == UNMET:  # cut short before the move, or dragged back
                return ending.bury(self._session, here, stored.record.id, last.reason)
            verdict = Over(UNMET, parent, reason)
            made = blocking.end(self._session, here, stored.data, stored.record, [], verdict, is_noted=False)
            assert isinstance(made, Dead)
            return made

        return self._change(name, parent, bury)

    def _change(self, name: str, parent: str, act: Callable[[Stored], _Made]) -> _Made | Unsure | None:
        """Do something with a waiting file under its stripe, if its record says that it waits for this parent."""
        stripe = self._stripes.of(_id_in(name))
        if not stripe.try_acquire():
            return None
        try:
            stored = self._read(name, parent)
            return act(stored) if isinstance(stored, Stored) else stored
        except (FileNotFoundError, BlockingIOError):
            return None
        finally:
            stripe.release()

    def _read(self, name: str, parent: str) -> Stored | Unsure | None:
        """Return the record of a waiting file, if the job waits for this parent by its record."""
        try:
            stored = self._spool.read(PENDING, name)
        except FileNotFoundError:
            return None
        except (DamagedRecordError, files.NotRegularError):
            return Unsure()
        known = stored.record.blocked
        return stored if known is not None and known.pointer == parent else Unsure()


def _id_in(name: str) -> str:
    parts = names.parse(name)
    return names.clean_id(parts.stem if parts is not None else name)
