"""Run a dead or finished job again: move it from dlq/ or done/ back to pending/ (P2, P4).

Append `requeued` to the record, then move it. A crash in between leaves the job where it was with the event on record,
so it can be requeued again. The jobs that are dead because of it come back, too (`revive`): some here, and all others
as soon as a pool looks.
"""

from __future__ import annotations

import contextlib

from queuectl.errors import DamagedRecordError, QueuectlError
from queuectl.jobs import error_text, repair, uniques
from queuectl.jobs.revive import Reviver
from queuectl.model import history, names, record, taken_file
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REQUEUED
from queuectl.spool import victims
from queuectl.spool.layout import name_for
from queuectl.spool.lookup import Job, find_in, load
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes, held
from queuectl.system import disk, files

# A command brings back so many jobs of one parent, for so long; a pool does the rest.
_REVIVE_AT_MOST = 1000
_REVIVE_S = 0.5


def requeue(session: Session, job_id: str, *, by: str) -> Job:
    """Move a job back to pending/: its retries start from zero, its history is kept.

    Raises:
        UnknownJobError: there is no such job.
        QueuectlError: the job is already waiting or running, or another one has its unique key.
        SpoolUnavailableError: a worker holds the job for too long, or the disk refuses the change.
    """
    with held(session, job_id):
        job = _requeue(session, job_id, by)
    if victims.has_any(session.spool):
        _revive(session, job.id)
    return job


def _requeue(session: Session, job_id: str, by: str) -> Job:
    spool, sync = session.spool, session.syncs_accepted
    found = find_in(session, job_id, (DLQ, DONE), "run again")
    try:
        stored = spool.read(found.state, found.name)
    except DamagedRecordError:
        stored = repair.repaired(session, found)
    item = stored.record
    _check_file(session, item, found.state)
    if item.extras.unique:
        uniques.reclaim(session, item, found.state)
    event = history.event(REQUEUED, session.clock.now(), by=by)
    tail = record.append(len(stored.data), [event], empty=not item.history)
    disk.append(found.path, tail, sync=sync)
    item = record.decode(tail.on(stored.data))
    name = spool.move(found, PENDING, name_for(item, item.standing(), session.clock.now()))
    if found.state == DLQ:
        error_text.forget(spool, found.name)
    if sync:
        disk.sync_folder(spool.folder(PENDING))
    return load(session, PENDING, name)


def _check_file(session: Session, item: record.Record, state: str) -> None:
    """Refuse to run a job again whose file has left the working folder of its inbox, because it would not find it.

    Raises:
        QueuectlError: where the file is now, and what to do.
    """
    taken = taken_file.of(item.history)
    if taken is not None and files.sig_of(taken.path) is None:
        end = taken_file.end_of(session.settings.inboxes, item, state)
        raise QueuectlError(
            f"the file of job {item.id} is no longer in the working folder of its inbox",
            cause=f"{taken.path} was moved when the job ended, so the command would not find it",
            hint=taken.way_back(end, holder=taken_file.holder_of(item, state)),
        )


def _revive(session: Session, job_id: str) -> None:
    """Bring back jobs that are dead because of this one, and because of those, as far as it takes little time."""
    until_s = session.clock.monotonic() + _REVIVE_S
    stripes = Stripes(session.spool)
    reviver = Reviver(session, stripes)
    parents = [job_id]
    try:
        with contextlib.suppress(OSError):
            while parents and session.clock.monotonic() < until_s:
                names_of = reviver.revive(parents.pop(), at_most=_REVIVE_AT_MOST, until_s=until_s)
                parents += [parts.stem for name in names_of if (parts := names.parse(name)) is not None]
    finally:
        stripes.close()
