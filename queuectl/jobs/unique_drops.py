"""Judge a drop that has a unique key while it is taken in, and write the note of its key (promise P15)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from queuectl.jobs import unique_enqueue, uniques
from queuectl.model import document, uniqueness
from queuectl.model.record import Record
from queuectl.model.spec import UNTIL_STARTED
from queuectl.model.uniqueness import Duplicate
from queuectl.spool import key_notes
from queuectl.spool.session import Session


class Judged(NamedTuple):
    """What becomes of a drop: its specification and history, and the waiting job whose place it takes."""

    spec: dict[str, Any]
    events: list[dict[str, Any]]
    is_skipped: bool = False
    replaces: str = ""


@contextlib.contextmanager
def judged(
    session: Session, spec: dict[str, Any], events: list[dict[str, Any]], accepted: document.Accepted
) -> Iterator[Judged | None]:
    """Judge a drop and note it, and hold the lock of its key for as long as the block publishes it.

    Yield None if another process holds the lock. A job with a history is no newcomer: it replaces nothing.

    Raises:
        OSError: a problem of the machine.
    """
    spool, terms = session.spool, uniqueness.terms_in(spec)
    if accepted.history:
        terms = uniqueness.without_replacing(terms)
    with key_notes.locked(spool, terms.key, patience_s=key_notes.GLANCE_S) as is_locked:
        if not is_locked:
            yield None
            return
        now_at = session.clock.now()
        verdict = uniques.judge(session, terms, spec["id"])
        if isinstance(verdict, Duplicate):
            event = uniques.skipped(now_at, verdict.reason, duplicate_of=verdict.of)
            yield Judged(spec, [*events, event], is_skipped=True)
            return
        made = uniqueness.behind(spec, verdict.behind)
        _, changed = unique_enqueue.hasten(events, accepted.due_at, accepted.delay_s, verdict, now_at)
        name = uniques.name_in(session, made, changed)
        key_notes.write(spool, terms.key, uniqueness.note_of(spec["id"], name, terms, verdict, now_at), sync=False)
        yield Judged(made, changed, replaces=verdict.replaces)


def started(session: Session, item: Record) -> None:
    """Give up the key of a drop that was started at once, if it holds the key only until then. Raises OSError."""
    terms = uniques.terms_of(item)
    if terms.until == UNTIL_STARTED and (note := key_notes.read(session.spool, terms.key)) is not None:
        uniques.give_up(session, terms, note)
