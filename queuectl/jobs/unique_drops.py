"""Judge drops and jobs of inboxes that have a unique key, and note them, while they are taken in (promise P15)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from queuectl.jobs import unique_enqueue, uniques
from queuectl.model import document, record, uniqueness
from queuectl.model.lifecycle import DONE, PENDING
from queuectl.model.record import Record
from queuectl.model.uniqueness import Accepted, Duplicate
from queuectl.spool import key_notes
from queuectl.spool.layout import Located, name_for, record_name
from queuectl.spool.session import Session


class Judged(NamedTuple):
    """What becomes of a drop: its specification and history."""

    spec: dict[str, Any]
    events: list[dict[str, Any]]
    is_skipped: bool = False


@contextlib.contextmanager
def judged(
    session: Session, spec: dict[str, Any], events: list[dict[str, Any]], accepted: document.Accepted
) -> Iterator[Judged | None]:
    """Judge a drop and note it, and hold the lock of its key for as long as the block publishes it.

    Yield None if another process holds the lock, or the stripe of a job that is replaced. A job with a history is no
    newcomer: it replaces nothing.

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
        # The drop is in the spool, and the note names it: the jobs that it replaces may go before it is a record.
        yield Judged(made, changed) if uniques.replace_all(session, verdict.replaces, by=spec["id"]) else None


def publish(session: Session, path: str, data: bytes, move: Callable[[Record], str]) -> str:
    """Judge and note a job of an inbox, whose record is at `path`, and publish it with `move`; return its name.

    If it is skipped, its record moves to done/. A key whose lock stays busy is left to the claim. Doing all of this
    again is harmless.

    Raises:
        OSError: a problem of the machine.
    """
    spool, item = session.spool, record.decode(data)
    here = Located(PENDING, os.path.basename(path), path)
    if item.standing().ended_to == DONE:  # cut short before the move
        return spool.move(here, DONE, record_name(item.id))
    terms = uniques.terms_of(item)
    with key_notes.locked(spool, terms.key, patience_s=uniques.RECLAIM_PATIENCE_S) as is_locked:
        verdict = uniques.judge(session, terms, item.id) if is_locked else Accepted()
        now_at = session.clock.now()
        if isinstance(verdict, Duplicate):
            event = uniques.skipped(now_at, verdict.reason, duplicate_of=verdict.of)
            # Not appended: what is torn here is taken for a record that the disk has lost.
            ended = record.append(len(data), [event]).on(data)
            spool.replace_file(path, ended, hint=item.id, sync=session.syncs_accepted)
            return spool.move(here, DONE, record_name(item.id))
        if is_locked:
            item = _changed(session, path, item, data, verdict)
            name = name_for(item, item.standing(), now_at)
            note = uniqueness.note_of(item.id, name, terms, verdict, now_at)
            key_notes.write(spool, terms.key, note, sync=session.syncs_accepted)
        made = move(item)
    if isinstance(verdict, Accepted):
        uniques.replace_all(session, verdict.replaces, by=item.id)
    return made


def _changed(session: Session, path: str, item: Record, data: bytes, verdict: Accepted) -> Record:
    """Return the record of a newcomer as it waits: after the job that runs, and not put off for ever."""
    document = json.loads(data)
    events = document.pop("history")
    del document["format"]
    standing = item.standing()
    spec = uniqueness.behind(document, verdict.behind)
    due_at, made = unique_enqueue.hasten(events, standing.due_at, standing.delay_s, verdict, session.clock.now())
    if spec is document and due_at == standing.due_at:
        return item
    changed = record.frame(spec, made)
    session.spool.replace_file(path, changed, hint=item.id, sync=session.syncs_accepted)
    return record.decode(changed)
