"""The rows of what is shown: one type for each kind of job, file or pool. Facts, not yet words.

Instants are seconds since 1970 UTC. Texts may be cut to a bounded length and are otherwise as they were found: whoever
shows them makes them safe.
"""

from __future__ import annotations

from typing import NamedTuple

# Rows of a table, at most.
ROWS = 200


class PoolRow(NamedTuple):
    """A live pool."""

    pool: str
    host: str
    pid: int
    workers: int
    started_at: float


class RunRow(NamedTuple):
    """A running job. `is_alive` is False if no workers run that could be its own."""

    id: str
    attempt: int
    worker: str
    started_at: float | None
    timeout_s: float | None
    command: str
    is_alive: bool


class FailureRow(NamedTuple):
    """A job in dlq/, and the last lines that its last run printed."""

    id: str
    ended_at: float | None
    attempt: int
    error: str
    command: str
    output: tuple[str, ...]
    cancelled: bool = False


class DueRow(NamedTuple):
    """A job that waits for its time: a retry if `runs` is above 0, else a delay."""

    id: str
    due_at: float
    runs: int
    max_retries: int
    error: str


class NextRow(NamedTuple):
    """A job that could run now. `command` is "" for a drop that no worker has looked at."""

    id: str
    runs: int
    priority: int
    command: str


class RefusalRow(NamedTuple):
    """A file in rejected/, why it is there, and since when."""

    name: str
    why: str
    rejected_at: float | None


class ArrivingRow(NamedTuple):
    """A file in pending/ that is not whole yet: its bytes so far, its last change (None: unknown), what is missing."""

    name: str
    size: int
    changed_at: float | None
    why: str


class Finish(NamedTuple):
    """A job that ended: when, how long its last run took, and whether it ended well."""

    ended_at: float
    duration_s: float | None
    is_good: bool
