"""Run a dead or finished job again: move it from dlq/ or done/ back to pending/ (P2, P4).

Append `requeued` to the record, then move it. A crash in between leaves the job where it was with the event on record,
so it can be requeued again.
"""

from __future__ import annotations

from queuectl.errors import DamagedRecordError
from queuectl.jobs import error_text, repair
from queuectl.model import history, names, record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REQUEUED
from queuectl.spool.lookup import Job, find_in, load
from queuectl.spool.session import Session
from queuectl.spool.stripes import held
from queuectl.system import disk


def requeue(session: Session, job_id: str, *, by: str) -> Job:
    """Move a job back to pending/: its retries start from zero, its history is kept.

    Raises:
        UnknownJobError: there is no such job.
        QueuectlError: the job is already waiting or running.
        SpoolUnavailableError: a worker holds the job for too long, or the disk refuses the change.
    """
    with held(session, job_id):
        return _requeue(session, job_id, by)


def _requeue(session: Session, job_id: str, by: str) -> Job:
    spool, sync = session.spool, session.syncs_accepted
    found = find_in(session, job_id, (DLQ, DONE), "run again")
    try:
        stored = spool.read(found.state, found.name)
    except DamagedRecordError:
        stored = repair.repaired(session, found)
    item = stored.record
    event = history.event(REQUEUED, session.clock.now(), by=by)
    tail = record.append(len(stored.data), [event], empty=not item.history)
    disk.append(found.path, tail, sync=sync)
    name = spool.move(found, PENDING, names.waiting_name(item.id, None, item.priority, item.owner, place=item.place))
    if found.state == DLQ:
        error_text.forget(spool, found.name)
    if sync:
        disk.sync_folder(spool.folder(PENDING))
    return load(session, PENDING, name)
