"""Say whether the parents of a job let it start. Only looks (promise P13).

The folder is the truth: a parent in done/ succeeded, one in dlq/ failed, and anywhere else it has not ended. Two stats
a parent, and no record of a parent is read. The list is walked from the parent that the job waits for to the front; the
parents behind that one are met, and are not asked again. A job of the same file that the job waits for with `*` counts
as done if it is in no folder: somebody deleted it.
"""

from __future__ import annotations

from typing import NamedTuple

from queuectl.model import parents
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, SKIPPED, UNMET
from queuectl.model.parents import Asked, Progress
from queuectl.model.record import Record
from queuectl.spool.folder import SpoolDir

# More parents than this are asked by one listing of the folders: that takes less time then.
_STATS_AT_MOST = 1000
_GONE, _UNKNOWN = "gone", "unknown"


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
    known: dict[str, str] = {}
    if item.extras.after == (blocked.pointer,):  # the usual case: one parent that must succeed
        state = known[blocked.pointer] = state_of(spool, blocked.pointer)
        if state == DONE:
            return None
    return look_from(spool, parents.of(item.extras.after), blocked, known)


def look_from(spool: SpoolDir, asked: Asked, blocked: Progress, known: dict[str, str]) -> Waits | Over | None:
    """Return the same as `look` for the parents `asked`, of which the job waits for `blocked.pointer`.

    `known` has states of parents that were looked at just before, and gets those that are looked at here.
    """
    at = asked.find(blocked.pointer)
    ended: dict[str, str] | None = None
    there: set[str] | None = None
    for index in range(at, -1, -1):
        parent = asked[index]
        if at - index == _STATS_AT_MOST:
            ended = _listed(spool, (DONE, DLQ))
        if ended is not None:
            state = ended.get(parent.id, "")
        elif (state := known.get(parent.id, _UNKNOWN)) is _UNKNOWN:
            state = known[parent.id] = state_of(spool, parent.id)
        if not state:
            if not (blocked.missing_since and asked.is_member(blocked.pointer) and asked.is_member(parent.id)):
                return Waits(parent.id, len(asked) - 1 - index)
            # A member of a range that is nowhere counts as done. Asked once more last, because it may end meanwhile.
            there = _waiting_or_running(spool) if there is None else there
            state = "" if parent.id in there else state_of(spool, parent.id) or _GONE
            if not state:
                return Waits(parent.id, len(asked) - 1 - index)
        if state != _GONE and not parents.is_met(parent, state):
            return _over(parent.id, state)
    return None


def _listed(spool: SpoolDir, states: tuple[str, ...]) -> dict[str, str]:
    """Return the state of each id in some folders: one listing each."""
    return {name.removesuffix(".json"): state for state in states for name in spool.job_names(state)}


def _waiting_or_running(spool: SpoolDir) -> set[str]:
    """Return the ids in pending/ and running/. A job that moves from one to the other is seen in one of them."""
    found: set[str] = set()
    for state in (PENDING, RUNNING, PENDING):
        found.update(name.partition(",")[0].removesuffix(".json") for name in spool.job_names(state))
    return found


def _over(parent: str, state: str) -> Over:
    if state == DONE:
        return Over(SKIPPED, parent, f"it was to run if {parent} is dead, and {parent} succeeded")
    return Over(UNMET, parent, f"it waits for {parent}, which is dead")
