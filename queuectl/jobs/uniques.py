"""Skip the jobs of a unique key that must not run: duplicates, and jobs that were replaced (promise P15).

A claim asks the key note once more, so whatever was cut short between a note and a move is put right there. Each end is
an event and then a move, made in running/ under the stripe of the id; see FORMAT.md, section 4, "Unique jobs".
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from queuectl.errors import DamagedRecordError, QueuectlError
from queuectl.jobs import ending
from queuectl.jobs.take import put_back
from queuectl.jobs.verdict import Busy, Skipped
from queuectl.model import history, lifecycle, names, record, uniqueness
from queuectl.model.lifecycle import DONE, PENDING, RUNNING, SKIPPED, STARTED
from queuectl.model.record import Record
from queuectl.model.spec import REPLACE, UNTIL_DELETED, UNTIL_STARTED
from queuectl.model.uniqueness import Accepted, Duplicate, Note, Place, Terms
from queuectl.spool import key_notes
from queuectl.spool.layout import Located, name_for, record_name
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk

# How long a producer waits for the stripe of a job that it has replaced. The claim of that job does the same.
REPLACE_PATIENCE_S = 0.5
RECLAIM_PATIENCE_S = 1.0
"""How long a retry waits for the lock of a key."""
_POLL_S = 0.002


def terms_of(item: Record) -> Terms:
    """Return what a job says about its unique key."""
    found = item.extras
    return Terms(found.unique, found.unique_until, found.unique_for or 0.0, found.on_duplicate == REPLACE)


def skipped(now_at: float, reason: str, *, duplicate_of: str = "", replaced_by: str = "") -> dict[str, Any]:
    """Return the event of a unique job that does not run."""
    lifecycle.check_move(PENDING, SKIPPED, DONE)
    return history.event(SKIPPED, now_at, duplicate_of=duplicate_of, replaced_by=replaced_by, reason=reason, to=DONE)


def replaced(now_at: float, by: str) -> dict[str, Any]:
    """Return the event of a job whose place another one took."""
    return skipped(now_at, f"{by} has the same unique key and took its place", replaced_by=by)


def judge(session: Session, terms: Terms, job_id: str) -> Accepted | Duplicate:
    """Say what becomes of a newcomer. The caller holds the lock of its key.

    Raises:
        OSError: the folders cannot be looked at.
    """
    spool = session.spool
    note = key_notes.read(spool, terms.key)
    if note is not None and note.id == job_id:  # an earlier try noted this very job
        verdict: Accepted | Duplicate = uniqueness.again(note)
    else:
        place = _place_of(session, note)
        if note is not None and (place.waits or place.runs) and job_id in (note.behind, *note.replaces):
            # A drop that was taken in before, and put back by the rescue of its dead worker, is no newcomer.
            return Duplicate(note.id, f"{note.id} has the same unique key and took its place")
        if note is not None and not (place.waits or place.runs):
            note, place = _left(session, note, place, job_id)
        verdict = uniqueness.judge(note, place, terms, session.clock.now())
    if isinstance(verdict, Duplicate) or not verdict.replaces:
        return verdict
    if verdict.behind:
        first = key_notes.place_of(spool, Note(verdict.behind))
        verdict = verdict if first.waits or first.runs else verdict._replace(behind="")
    return verdict._replace(replaces=tuple(each for each in verdict.replaces if not spool.holds(each, (DONE,))))


def _left(session: Session, note: Note, place: Place, but: str) -> tuple[Note, Place]:
    """Return who has the key if the job of the note is gone before it took the places that the note names."""
    for number, other in enumerate(note.replaces):
        found = key_notes.place_of(session.spool, Note(other))
        if other != but and found.waits:
            return uniqueness.instead(note, other, note.replaces[number + 1 :]), found
    if note.behind and note.behind != but:
        found = key_notes.place_of(session.spool, Note(note.behind))
        if found.waits or found.runs:
            return Note(note.behind), found
    return note, place


def _place_of(session: Session, note: Note | None) -> Place:
    """Return where the newest job is.

    A job that holds its key until it has started counts as waiting while a worker claims it, and as running while it
    waits for a retry.
    """
    if note is None or note.until != UNTIL_STARTED:
        return key_notes.place_of(session.spool, note)
    found = key_notes.find(session.spool, note)
    if found is None or found.state not in (PENDING, RUNNING):
        return Place()
    try:
        has_started = session.spool.read(found.state, found.name).record.standing().starts > 0
    except (DamagedRecordError, OSError):  # a drop, or it moves on this instant
        has_started = False
    return Place(waits=not has_started, runs=has_started)


def ask(
    session: Session,
    here: Located,
    name: str,
    data: bytes,
    item: Record,
    events: list[dict[str, Any]],
    *,
    is_requeued: bool,
    fd: int = -1,
) -> Skipped | Busy | None:
    """Move a claimed job if its unique key does not let it start, else return None; the note names it then.

    `name` is its name in pending/, and `events` precede the event of this move.

    Raises:
        OSError: a problem of the machine, or of this file.
    """
    spool, terms = session.spool, terms_of(item)
    with key_notes.locked(spool, terms.key, patience_s=key_notes.GLANCE_S) as is_locked:
        if not is_locked:
            put_back(session, here, name)
            return Busy()
        note = key_notes.read(spool, terms.key)
        is_mine = note is None or note.id == item.id
        if note is not None and is_mine and not replace_all(session, note.replaces, by=item.id):
            put_back(session, here, name)
            return Busy()
        if note is None or (not is_mine and not _holds(session, note)):
            rest = () if note is None else tuple(each for each in note.replaces if each != item.id)
            mine = uniqueness.note_of(item.id, "", terms, Accepted(rest), session.clock.now())
            key_notes.write(spool, terms.key, mine, sync=False)
            if not replace_all(session, rest, by=item.id):
                put_back(session, here, name)
                return Busy()
            return None
        if is_mine:
            return None
        other = note.id
    now_at = session.clock.now()
    if is_requeued:
        end = skipped(now_at, f"{other} has the same unique key", duplicate_of=other)
    else:
        end = replaced(now_at, other)
    with ending.on_record():
        return _end(session, here, data, item, [*events, end], fd)


def _holds(session: Session, note: Note) -> bool:
    return uniqueness.holds(note, key_notes.place_of(session.spool, note))


def give_up(session: Session, terms: Terms, note: Note) -> None:
    """Delete the note of a job that does not hold its key any more, or keep it for `unique_for`. Raises OSError."""
    if uniqueness.is_held_for(note, session.clock.now()):
        if note.until != uniqueness.OVER:
            key_notes.write(session.spool, terms.key, uniqueness.over(note), sync=False)
    else:
        key_notes.forget(session.spool, terms.key)


def reclaim(session: Session, item: Record, state: str) -> None:
    """Let the note name a job that is requeued. The caller holds its stripe.

    Raises:
        QueuectlError: another job has the key; the hint is how to free it.
        OSError: a problem of the machine.
    """
    terms = uniqueness.without_replacing(terms_of(item))
    with key_notes.locked(session.spool, terms.key, patience_s=RECLAIM_PATIENCE_S) as is_locked:
        if not is_locked:
            raise QueuectlError(f"another process holds the unique key of job {item.id!r}", hint="try again")
        verdict = judge(session, terms, item.id)
        if isinstance(verdict, Duplicate):
            what = f"job {item.id!r} stays in {state}/: {verdict.reason}"
            raise QueuectlError(what, hint=f"queuectl show {verdict.of}")
        note = uniqueness.note_of(item.id, record_name(item.id), terms, verdict, session.clock.now())
        key_notes.write(session.spool, terms.key, note, sync=False)


def replace_all(session: Session, job_ids: tuple[str, ...], *, by: str) -> bool:
    """Skip the jobs whose places another one takes; return False if one of them is still there. Waits for nothing.

    Raises:
        OSError: as `replace`.
    """
    for job_id in job_ids:
        if session.spool.holds(job_id, (DONE,)):
            continue
        if not replace(session, job_id, by=by, patience_s=0.0):
            found = session.spool.find(job_id)
            if found is not None and found.state in (PENDING, RUNNING):
                return False
    return True


def replace(session: Session, job_id: str, *, by: str, patience_s: float) -> bool:
    """Skip a waiting job that was replaced; return False if that is left to its claim.

    Raises:
        OSError: a problem of the machine. The job is in pending/ or in running/, from where rescue moves it.
    """
    spool = session.spool
    stripes = Stripes(spool)
    try:
        stripe, until_s = stripes.of(job_id), time.monotonic() + patience_s
        while not stripe.try_acquire():
            if time.monotonic() >= until_s:
                return False
            time.sleep(_POLL_S)
        found = spool.find(job_id)
        if found is None or found.state != PENDING:
            return False
        here = Located(RUNNING, record_name(job_id), spool.path(RUNNING, record_name(job_id)))
        try:
            disk.move(found.path, here.path)
        except (FileNotFoundError, FileExistsError):
            return False
        return _skip_replaced(session, here, found.name, by)
    finally:
        stripes.close()


def _skip_replaced(session: Session, here: Located, name: str, by: str) -> bool:
    try:
        stored = session.spool.read(RUNNING, here.name)
    except (DamagedRecordError, OSError):
        put_back(session, here, name)  # its claim finds out what it is
        return False
    item, last = stored.record, stored.record.standing().last
    # A run that was dragged out of running/ may be alive, and an ended job is to run again: their claims decide.
    if not item.extras.unique or (last is not None and (last.event == STARTED or last.to == DONE)):
        put_back(session, here, name)
        return False
    with contextlib.suppress(BlockingIOError):
        _end(session, here, stored.data, item, [replaced(session.clock.now(), by)], -1)
        return True
    put_back(session, here, name)
    return False


def _end(session: Session, here: Located, data: bytes, item: Record, events: list[dict[str, Any]], fd: int) -> Skipped:
    tail = record.append(len(data), events, empty=not item.history)
    disk.append(here.path, tail, sync=session.syncs_all, fd=fd)
    return Skipped(session.spool.move(here, DONE, record_name(item.id)), events[-1]["reason"])


def name_in(session: Session, spec: dict[str, Any], events: list[dict[str, Any]]) -> str:
    """Return the name in pending/ of a job that is taken in."""
    item = record.decode(record.frame(spec, events))
    return name_for(item, item.standing(), session.clock.now())


def replacement(session: Session, item: Record) -> str:
    """Return the job that took the place of one that would be tried again, "" if none has.

    The key is not locked: a replacement that comes just now waits for this job, whose next claim finds the note.
    """
    if item.extras.unique_until == UNTIL_STARTED:
        return ""
    note = key_notes.read(session.spool, item.extras.unique)
    return note.id if note is not None and note.id != item.id and _holds(session, note) else ""


def settled(session: Session, item: Record, to: str, name: str) -> None:
    """Put the note of a job right that has moved on: its new name, or nothing. A lock that is busy is left alone."""
    spool, terms = session.spool, terms_of(item)
    with key_notes.locked(spool, terms.key, patience_s=key_notes.GLANCE_S) as is_locked:
        note = key_notes.read(spool, terms.key) if is_locked else None
        if note is None or note.id != item.id:
            return
        if to == DONE and note.until == UNTIL_DELETED:
            return  # until its record is deleted; the sweep of the notes ends it
        if to != PENDING or terms.until == UNTIL_STARTED:
            give_up(session, terms, note)
        elif note.name != name and name != names.held_name(note.name):
            key_notes.write(spool, terms.key, uniqueness.renamed(note, name), sync=False)
