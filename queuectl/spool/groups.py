"""Find the jobs of a group: those of one file, whose ids begin with its token (FORMAT.md, "Workflows and groups").

Names tell the group, so nothing is opened: each folder is listed once. A job that moves meanwhile may be missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from queuectl.model.lifecycle import CANCELLED, DLQ, DONE, PENDING, RUNNING
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import CANCELLED_ENDING

_ID = re.compile(r"(.+-\d{8}T\d{6}-[0-9a-z]{4})-[A-Za-z0-9._-]+")
# A job that moves on meanwhile is seen twice rather than not at all, and counted once.
_ORDER = (PENDING, RUNNING, DLQ, DONE)


class GroupCounts(NamedTuple):
    """The jobs of a group by state."""

    total: int
    done: int
    dead: int
    cancelled: int
    running: int
    waiting: int

    @property
    def text(self) -> str:
        """How far the group is, in words."""
        parts = [f"{self.done:,} of {self.total:,} done"]
        more = ((self.dead, "dead"), (self.cancelled, CANCELLED), (self.running, "run"), (self.waiting, "wait"))
        return ", ".join([*parts, *(f"{count:,} {what}" for count, what in more if count)])


def id_of(name: str) -> str:
    """Return the id of a job that queuectl named, by the name of its file."""
    return name.partition(",")[0].removesuffix(".json")


def token_of(job_id: str) -> str:
    """Return the token of the group that a job belongs to by its id, or "" if its id is no such id."""
    found = _ID.fullmatch(job_id)
    return found[1] if found is not None else ""


def of(names: Iterable[str], token: str) -> list[str]:
    """Return the names of files that belong to a group."""
    prefix = f"{token}-"
    return [name for name in names if name.startswith(prefix)]


def ids(spool: SpoolDir, token: str, states: Iterable[str] = _ORDER) -> list[str]:
    """Return the ids of the jobs of a group in some states, in the order of their names."""
    found = {id_of(name) for state in states for name in of(spool.job_names(state), token)}
    return sorted(found)


def counts(spool: SpoolDir, token: str) -> GroupCounts:
    """Count the jobs of a group; the total is that of the jobs that are there."""
    by_state = {state: {id_of(name) for name in of(spool.job_names(state), token)} for state in _ORDER}
    ended = by_state[DONE] | by_state[DLQ]
    running = by_state[RUNNING] - ended
    waiting = by_state[PENDING] - ended - running
    texts = of(spool.names(spool.folder(DLQ)), token)
    cancelled = {name.removesuffix(CANCELLED_ENDING) for name in texts if name.endswith(CANCELLED_ENDING)}
    dropped = len(cancelled & by_state[DLQ])
    total = len(ended) + len(running) + len(waiting)
    dead = len(by_state[DLQ]) - dropped
    return GroupCounts(total, len(by_state[DONE]), dead, dropped, len(running), len(waiting))
