"""Hold a waiting job: a mark in its file's name keeps it from running. Release it, or release it from its parents."""

from __future__ import annotations

from collections.abc import Callable

from queuectl.errors import DamagedRecordError
from queuectl.jobs import error_text, repair
from queuectl.model import history, names, record
from queuectl.model.lifecycle import DLQ, PENDING, REQUEUED, UNBLOCKED, UNMET
from queuectl.spool.layout import Located, name_for
from queuectl.spool.lookup import Job, find_in, load
from queuectl.spool.session import Session
from queuectl.spool.stripes import held
from queuectl.system import disk

_BY = "release"


def hold(session: Session, job_id: str) -> Job:
    """Keep a waiting job from running until `release`.

    Raises:
        UnknownJobError: there is no such job.
        QueuectlError: the job is not waiting.
        SpoolUnavailableError: a worker holds the job for too long, or the disk refuses the change.
    """
    return _rename(session, job_id, names.held_name, "held")


def release(session: Session, job_id: str) -> Job:
    """Let a held job run when it is due; any other job that waits for parents, or died of one, runs without them.

    Raises the same errors as `hold`.
    """
    with held(session, job_id):
        found = session.spool.find(job_id)
        if found is not None and not names.is_held(found.name) and found.state in (PENDING, DLQ):
            released = _release_from_parents(session, found)
            if released is not None:
                return released
    return _rename(session, job_id, names.released_name, "released")


def _release_from_parents(session: Session, found: Located) -> Job | None:
    """Settle the parents of a job, and give it its name among the jobs that may run; None if it has no parents to ask.

    The event comes before the move. After a crash in between, doing it again is right.
    """
    spool = session.spool
    try:
        stored = spool.read(found.state, found.name)
    except DamagedRecordError:
        if found.state == PENDING and names.AFTER not in found.name:
            return None
        stored = repair.repaired(session, found)
    last = stored.record.standing().last
    is_unmet = last is not None and last.event == UNMET
    was_cut_short = last is not None and last.event == REQUEUED and last.by == _BY
    if found.state == DLQ and not (is_unmet or was_cut_short):
        return None
    item, now_at = stored.record, session.clock.now()
    if item.blocked is not None:
        events = [history.event(REQUEUED, now_at, by=_BY)] if is_unmet else []
        events.append(history.event(UNBLOCKED, now_at, by=_BY))
        tail = record.append(len(stored.data), events, empty=not item.history)
        disk.append(found.path, tail, sync=session.syncs_accepted)
        item = record.decode(tail.on(stored.data))
    elif names.AFTER not in found.name and not was_cut_short:
        return None
    name = spool.move(found, PENDING, name_for(item, item.standing(), now_at))
    if found.state == DLQ:
        error_text.forget(spool, found.name)
    if session.syncs_accepted:
        disk.sync_folder(spool.folder(PENDING))
    return load(session, PENDING, name)


def _rename(session: Session, job_id: str, new_name: Callable[[str], str], verb: str) -> Job:
    with held(session, job_id):
        found = find_in(session, job_id, (PENDING,), verb)
        name = new_name(found.name)
        if name != found.name:
            name = session.spool.move(found, PENDING, name)
        return load(session, PENDING, name)
