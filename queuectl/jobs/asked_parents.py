"""Look at the parents of jobs that are enqueued: which one each waits for, and whether the spool has them.

`enqueue` imports this only for jobs with the key `after` (promise P13).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from queuectl.errors import UnknownParentError
from queuectl.flows import dependencies
from queuectl.jobs import blocking
from queuectl.model import parents
from queuectl.model.history import Event
from queuectl.model.lifecycle import DLQ, DONE, ENQUEUED, PENDING, RUNNING, WARNING
from queuectl.model.parents import Progress
from queuectl.spool import lookup
from queuectl.spool.session import Session

# Events that say nothing about parents.
_SAYS_NOTHING = (ENQUEUED, WARNING)


def place(
    session: Session, spec: dict[str, Any], events: list[dict[str, Any]], now_at: float, known: dict[str, str]
) -> str:
    """Return the parent that a new job waits for, "" if all are met; add to its events what must be on record.

    `known` has what was seen of parents just before, and gets more. A parent may end meanwhile, because a pool looks at
    each new name.

    Raises:
        OSError: the folders cannot be looked at.
    """
    after = parents.recorded(spec["after"])
    asked = parents.of(after)
    blocked: Progress | None = Progress(asked[-1].id, "")
    if any(each["event"] not in _SAYS_NOTHING for each in events):  # the job has a history
        blocked = parents.progress(after, msgspec.convert(events, list[Event]))
    verdict = None if blocked is None else dependencies.look_from(session.spool, asked, blocked, known)
    if verdict is None or blocked is None:
        events.append(blocking.unblocked(now_at))
        return ""
    if isinstance(verdict, dependencies.Waits) and blocked.pointer != verdict.parent:
        events.append(blocking.waits(verdict, now_at))
    return verdict.parent


def refuse_missing(session: Session, asked: Iterable[str], new: set[str]) -> None:
    """Raise UnknownParentError for the first parent that is neither in the spool nor among the new ids."""
    spool = session.spool
    # In the order in which jobs move, so a job that moves meanwhile is seen.
    lost = [job_id for job_id in asked if job_id not in new and not spool.holds(job_id, (PENDING, RUNNING, DLQ, DONE))]
    if not lost:
        return
    beginnings = {f"{job_id}," for job_id in lost}
    waiting = {
        name[: end - 1]
        for name in spool.names(spool.folder(PENDING))
        if (end := name.find(",") + 1) and name[:end] in beginnings
    }
    for job_id in lost:
        # It may have moved on since the first look, or be a drop that no pool has judged.
        if job_id not in waiting and not spool.holds(job_id) and lookup.find_drop(session, job_id) is None:
            raise UnknownParentError(job_id)


def ids_in(after: list[str | dict[str, Any]]) -> list[str]:
    """Return the ids in the key `after` of a record, without those of ranges: these are jobs of the same file."""
    named = [each if isinstance(each, str) else each.get("id", "") for each in after]
    return [each for each in named if each]
