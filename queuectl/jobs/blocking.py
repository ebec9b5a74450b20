"""Decide what becomes of a job that has parents, and make its move (promise P13).

The caller holds the stripe of the id. Each step is an event and then a move, so a crash in between leaves a job whose
record says where it belongs; see FORMAT.md, section 4, "A blocked job".
"""

from __future__ import annotations

from typing import Any

from queuectl.flows import dependencies
from queuectl.flows.dependencies import Over, Waits
from queuectl.jobs import ending
from queuectl.jobs.verdict import Dead, Later, Skipped
from queuectl.model import history, lifecycle, names, record
from queuectl.model.lifecycle import BLOCKED, DLQ, DONE, PENDING, SKIPPED, UNBLOCKED, UNMET
from queuectl.model.record import Record
from queuectl.spool import victims
from queuectl.spool.layout import Located, record_name
from queuectl.spool.session import Session
from queuectl.system import disk

Event = dict[str, Any]


def waiting(verdict: Waits, item: Record, now_at: float) -> list[Event]:
    """Return the event of a job that waits for another parent than its record says; none if it waits for the same."""
    blocked = item.blocked
    if blocked is None or blocked.pointer == verdict.parent:
        return []
    return [waits(verdict, now_at)]


def waits(verdict: Waits, now_at: float) -> Event:
    """Return the event of a job that waits for another parent."""
    return history.event(BLOCKED, now_at, after=verdict.parent, met=verdict.met)


def over(verdict: Over, now_at: float) -> Event:
    """Return the event of a job that never starts."""
    to = DLQ if verdict.kind == UNMET else DONE
    lifecycle.check_move(PENDING, verdict.kind, to)
    return history.event(verdict.kind, now_at, after=verdict.parent, reason=verdict.reason, to=to)


def unblocked(now_at: float, *, by: str = "") -> Event:
    """Return the event of a job whose parents are settled."""
    return history.event(UNBLOCKED, now_at, by=by)


def ask(
    session: Session, here: Located, data: bytes, item: Record, events: list[Event], *, fd: int = -1
) -> Later | Dead | Skipped | None:
    """Move a job that was claimed, if its parents do not let it start; else return None and do nothing.

    `events` precede the event of this move. `fd` is a handle of the record, or -1.

    Raises:
        OSError: a problem of the machine, or of this file.
    """
    verdict = dependencies.look(session.spool, item)
    if verdict is None:
        return None
    now_at = session.clock.now()
    if isinstance(verdict, Waits):
        _append(session, here, data, item, [*events, *waiting(verdict, item, now_at)], fd)
        return Later(session.spool.move(here, PENDING, names.blocked_name(item.id, verdict.parent)))
    return end(session, here, data, item, events, verdict, fd=fd)


def end(
    session: Session,
    here: Located,
    data: bytes,
    item: Record,
    events: list[Event],
    verdict: Over,
    *,
    fd: int = -1,
    is_noted: bool = True,
) -> Dead | Skipped:
    """End a job that never starts. `is_noted`: it is to come back when the parent is revived."""
    if verdict.kind == UNMET and is_noted:
        victims.note(session.spool, verdict.parent, item.id)
    with ending.on_record():
        _append(session, here, data, item, [*events, over(verdict, session.clock.now())], fd)
        if verdict.kind == SKIPPED:
            return Skipped(session.spool.move(here, DONE, record_name(item.id)))
        return ending.bury(session, here, item.id, verdict.reason)


def settle_parents(session: Session, here: Located, data: bytes, item: Record, *, by: str = "", fd: int = -1) -> bytes:
    """Put on record that a job need not ask its parents any more, and return the record."""
    return _append(session, here, data, item, [unblocked(session.clock.now(), by=by)], fd)


def _append(session: Session, here: Located, data: bytes, item: Record, events: list[Event], fd: int) -> bytes:
    if not events:
        return data
    tail = record.append(len(data), events, empty=not item.history)
    disk.append(here.path, tail, sync=session.syncs_all, fd=fd)
    return tail.on(data)
