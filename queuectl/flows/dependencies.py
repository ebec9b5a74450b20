"""Say whether the parents of a job let it start. Only looks (promise P13).

The folder is the truth: a parent in done/ succeeded, one in dlq/ failed, and anywhere else it has not ended. Two stats
a parent, and no record of a parent is read. The list is walked from the parent that the job waits for to the front; the
parents behind that one are met, and are not asked again.
"""

from __future__ import annotations

from typing import NamedTuple

from queuectl.model import parents
from queuectl.model.lifecycle import DLQ, DONE, SKIPPED, UNMET
from queuectl.model.record import Record
from queuectl.spool.folder import SpoolDir


class Waits(NamedTuple):
    """The job waits for a parent that has not ended."""

    parent: str
    met: int
    """How many parents, counted from the last, are met."""


class Over(NamedTuple):
    """The job never starts: `kind` is UNMET or SKIPPED, because of `parent`."""

    kind: str
    parent: str
    reason: str


def state_of(spool: SpoolDir, job_id: str) -> str:
    """Return the state in which a job has ended (done, dlq), or "" if it has not, as far as it is known."""
    return spool.holds(job_id, (DONE, DLQ))


def look(spool: SpoolDir, item: Record) -> Waits | Over | None:
    """Return why a job does not start; None if its parents let it.

    Raises:
        OSError: the folders cannot be looked at.
    """
    blocked = item.blocked
    if blocked is None:
        return None
    asked = parents.of(item.extras.after)
    at = next(index for index, each in enumerate(asked) if each.id == blocked.pointer)
    for index in range(at, -1, -1):
        parent = asked[index]
        state = state_of(spool, parent.id)
        if not state:
            return Waits(parent.id, len(asked) - 1 - index)
        if not parents.is_met(parent, state):
            return _over(parent.id, state)
    return None


def _over(parent: str, state: str) -> Over:
    if state == DONE:
        return Over(SKIPPED, parent, f"it was to run if {parent} is dead, and {parent} succeeded")
    return Over(UNMET, parent, f"it waits for {parent}, which is dead")
