"""Explain that a waiting job is skipped when its turn comes, because of its unique key. Only looks."""

from __future__ import annotations

from queuectl.errors import DamagedRecordError
from queuectl.model import uniqueness
from queuectl.model.lifecycle import PENDING
from queuectl.model.uniqueness import UNIQUE, Duplicate
from queuectl.monitor.reason import Reason
from queuectl.spool import key_notes, lookup
from queuectl.spool.layout import Located
from queuectl.spool.session import Session


def reason(session: Session, found: Located, now_at: float) -> Reason | None:
    """Return why a job in pending/ is skipped; None if it has no unique key, or has it for itself."""
    try:
        job = lookup.load(session, PENDING, found.name)
    except (DamagedRecordError, OSError):
        return None
    if UNIQUE not in job.spec:
        return None
    terms = uniqueness.terms_in(job.spec)
    note = key_notes.read(session.spool, terms.key)
    if note is None or note.id == job.id:
        return None
    place = key_notes.place_of(session.spool, note)
    change = f"queuectl show {note.id}"
    if job.history:
        if not uniqueness.holds(note, place):
            return None
        return Reason("replaced", f"it is skipped when its turn comes: {note.id} took its place", change)
    verdict = uniqueness.judge(note, place, terms, now_at)
    return (
        Reason("duplicate", f"it would be skipped: {verdict.reason}", change)
        if isinstance(verdict, Duplicate)
        else None
    )
