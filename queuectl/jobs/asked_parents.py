"""Look at the parents of jobs that are enqueued: which one each waits for, and whether the spool has them.

`enqueue` imports this only for jobs with the key `after` (promise P13).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from queuectl.errors import UnknownParentError
from queuectl.flows import dependencies
from queuectl.jobs import blocking
from queuectl.model import record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.spool import lookup
from queuectl.spool.session import Session


def place(session: Session, spec: dict[str, Any], events: list[dict[str, Any]], now_at: float) -> str:
    """Return the parent that a new job waits for, "" if all are met; add to its events what must be on record.

    Raises:
        OSError: the folders cannot be looked at.
    """
    item = record.decode(record.frame(spec, events))
    verdict = dependencies.look(session.spool, item)
    if verdict is None:
        events.append(blocking.unblocked(now_at))
        return ""
    if isinstance(verdict, dependencies.Waits):
        events += blocking.waiting(verdict, item, now_at)
    return verdict.parent


def refuse_missing(session: Session, asked: Iterable[str], new: set[str]) -> None:
    """Raise UnknownParentError for the first parent that is neither in the spool nor among the new ids."""
    spool = session.spool
    lost = [job_id for job_id in asked if job_id not in new and not spool.holds(job_id, (DONE, DLQ, RUNNING, PENDING))]
    if not lost:
        return
    waiting = {name.partition(",")[0] for name in spool.waiting_names()}
    for job_id in lost:
        # It may have moved on since the first look, or be a drop that no pool has judged.
        if job_id not in waiting and not spool.holds(job_id) and lookup.find_drop(session, job_id) is None:
            raise UnknownParentError(job_id)


def ids_in(after: list[str | dict[str, Any]]) -> list[str]:
    """Return the ids in the key `after` of a record, without those of ranges: these are jobs of the same file."""
    named = [each if isinstance(each, str) else each.get("id", "") for each in after]
    return [each for each in named if each]
