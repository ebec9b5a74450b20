"""Hold a waiting job: a mark in its file's name keeps it from running. Nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

from queuectl.model import names
from queuectl.model.lifecycle import PENDING
from queuectl.spool.lookup import Job, find_in, load
from queuectl.spool.session import Session
from queuectl.spool.stripes import held


def hold(session: Session, job_id: str) -> Job:
    """Keep a waiting job from running until `release`.

    Raises:
        UnknownJobError: there is no such job.
        QueuectlError: the job is not waiting.
        SpoolUnavailableError: a worker holds the job for too long, or the disk refuses the change.
    """
    return _rename(session, job_id, names.held_name, "held")


def release(session: Session, job_id: str) -> Job:
    """Let a held job run when it is due. Raises the same errors as `hold`."""
    return _rename(session, job_id, names.released_name, "released")


def _rename(session: Session, job_id: str, new_name: Callable[[str], str], verb: str) -> Job:
    with held(session, job_id):
        found = find_in(session, job_id, (PENDING,), verb)
        name = new_name(found.name)
        if name != found.name:
            name = session.spool.move(found, PENDING, name)
        return load(session, PENDING, name)
