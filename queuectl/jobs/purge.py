"""Delete a dead or finished job and its logs (P7).

Delete the logs first, so that a crash leaves a job without logs, which can be purged again, never logs without a job.
"""

from __future__ import annotations

from queuectl.errors import DamagedRecordError
from queuectl.jobs import error_text
from queuectl.model.lifecycle import DLQ, DONE
from queuectl.spool import lookup, victims
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.spool.stripes import held
from queuectl.system import disk


def purge(session: Session, job_id: str) -> None:
    """Delete a job in dlq/ or done/ permanently.

    Raises:
        UnknownJobError: there is no such job.
        QueuectlError: the job is waiting or running.
        SpoolUnavailableError: a worker holds the job for too long, or the disk refuses the change.
    """
    with held(session, job_id):
        found = lookup.find_in(session, job_id, (DLQ, DONE), "purged")
        for log in _own_logs(session, job_id, found):
            disk.unlink(log)
        disk.unlink(found.path)
        if found.state == DLQ:
            error_text.forget(session.spool, found.name)
        if victims.has_any(session.spool):
            victims.forget_all(session.spool, job_id)  # its children stay dead


def _own_logs(session: Session, job_id: str, found: Located) -> list[str]:
    spool = session.spool
    try:
        starts = spool.read(found.state, found.name).record.standing().starts
        logs = spool.output_paths(job_id, starts)
    except DamagedRecordError:
        logs = spool.listed_outputs(job_id)
    if spool.others(job_id, found.path):
        return []  # another job has this id, and the logs may belong to it
    return logs
