"""Read the progress of running jobs from their desks. Only looks."""

from __future__ import annotations

from queuectl.errors import DamagedRecordError
from queuectl.model import progress
from queuectl.model.lifecycle import RUNNING, STARTED
from queuectl.model.progress import Progress
from queuectl.spool import desk
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import record_name


def of_lease(spool: SpoolDir, lease: str) -> Progress | None:
    """Return what the command under a lease says; the lease may belong to another job a moment later."""
    return progress.parse(desk.progress(spool, lease))


def of_job(spool: SpoolDir, job_id: str) -> Progress | None:
    """Return the progress of a job, or None if it does not run or says nothing."""
    lease = _lease_of(spool, job_id)
    found = of_lease(spool, lease) if lease else None
    return found if found is None or _lease_of(spool, job_id) == lease else None


def _lease_of(spool: SpoolDir, job_id: str) -> str:
    try:
        last = spool.read(RUNNING, record_name(job_id)).record.standing().last
    except (OSError, DamagedRecordError):
        return ""
    return last.lease if last is not None and last.event == STARTED else ""
