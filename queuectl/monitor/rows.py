"""Define the rows of a snapshot: one type for each kind of job, file or pool. Facts, not yet words.

Instants are seconds since 1970 UTC. Texts may be cut to a bounded length and are otherwise as they were found: whoever
shows them makes them safe.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

# Rows of a table, at most.
ROWS = 200


class WorkerRow(NamedTuple):
    """A worker process of a live pool."""

    name: str
    pid: int
    slots: int
    used: int
    """Slots in which a job runs, as far as the records of the running jobs were read."""
    is_ending: bool
    """True if it claims no more jobs and ends after those that it runs."""


class NodeStateRow(NamedTuple):
    """A node of a cluster, as the worker that leads it last knew it."""

    node: str
    slots: int
    used: int
    """Commands of this spool that run there."""
    resources: dict[str, float]
    heard_at: float | None
    """When it answered last."""
    ends_at: float | None
    """When it ends the commands of this spool if it gets no further message."""
    gone_at: float | None
    """Since when the scheduler does not know it, None if it does."""
    is_silent: bool
    is_draining: bool
    why: str
    """Why it gets no commands, or ""."""


class ClusterRow(NamedTuple):
    """A cluster on which a live pool runs commands."""

    worker: str
    """The worker that leads it."""
    scheduler: str
    there: int
    """Nodes that the scheduler knows."""
    slots: int
    used: int
    heard_at: float | None
    """When a node answered last."""
    ends_at: float | None
    """When the first commands end if no further message arrives."""
    is_silent: bool
    """True if no node answers."""
    lost: str
    """Why there is no way to the scheduler, or ""."""
    lost_at: float | None
    nodes: tuple[NodeStateRow, ...] = ()


class PoolRow(NamedTuple):
    """A live pool."""

    pool: str
    host: str
    pid: int
    workers: int
    started_at: float
    settings_at: float = 0.0
    """When the pool read the settings that it uses."""
    held: tuple[str, ...] = ()
    """Settings that changed since and take effect at the next start."""
    queues: tuple[str, ...] = ()
    """The queues that it takes; none: all."""
    processes: tuple[WorkerRow, ...] = ()
    """Its worker processes; empty just after its start."""
    version: str = ""
    """The version of queuectl that it is; "": one that did not say."""
    clusters: tuple[ClusterRow, ...] = ()
    """What it leads, with what its workers know of the nodes."""

    @property
    def is_shared(self) -> bool:
        """True if slots share a worker process."""
        return any(row.slots > 1 for row in self.processes)


class RunRow(NamedTuple):
    """A running job. `is_alive` is False if no workers run that could be its own."""

    id: str
    attempt: int
    worker: str
    started_at: float | None
    timeout_s: float | None
    command: str
    is_alive: bool
    usual_s: float | None = None
    """How long runs of the same command usually take: the median of those that ended lately."""
    record: str = ""
    """The job's record, relative to the spool."""
    lease: str = ""
    """The lease of the slot that it runs in."""
    percent: float | None = None
    """The share of the work that is done, from 0 to 100, as the command says; None if it does not say."""
    progress: str = ""
    """What the command says about its progress, safe to show."""
    node: str = ""
    """The node of a cluster that it runs on, "" for this machine."""


class FailureRow(NamedTuple):
    """A job in dlq/, and the last lines that its last run printed.

    `progress` is what that run said last about its progress, safe to show. `result` is the first lines of what it gave
    back, if that is JSON or a text. `record`, `log` and `text` are paths relative to the spool: the record, what the
    last run printed, and the text that explains the failure. A path is "" if there is no such file.
    """

    id: str
    ended_at: float | None
    attempt: int
    error: str
    command: str
    output: tuple[str, ...]
    cancelled: bool = False
    record: str = ""
    log: str = ""
    text: str = ""
    progress: str = ""
    result: tuple[str, ...] = ()


class CauseRow(NamedTuple):
    """Dead jobs that failed for the same cause; cancelled jobs do not count.

    `cause` is the error without what differs from job to job. `command` and `output` (last lines) are the newest
    job's, and so are the paths, which are relative to the spool.
    """

    cause: str
    jobs: int
    newest_at: float | None
    oldest_at: float | None
    ids: tuple[str, ...]
    """Some of the jobs, newest first."""
    command: str
    output: tuple[str, ...]
    record: str = ""
    log: str = ""
    text: str = ""


class DueRow(NamedTuple):
    """A job that is due later: a retry if `runs` is above 0, else a delay."""

    id: str
    due_at: float
    runs: int
    max_retries: int
    error: str
    command: str = ""
    record: str = ""
    """The job's file, relative to the spool."""


class NextRow(NamedTuple):
    """A job that could run now. `command` is "" for a drop that no worker has judged."""

    id: str
    runs: int
    """Failed runs so far."""
    priority: int
    command: str
    owner: str = ""
    tags: tuple[str, ...] = ()
    since: float | None = None
    """Since when it has been waiting."""
    record: str = ""
    """The job's file, relative to the spool."""


class HeldRow(NamedTuple):
    """A job that a person holds. `command` is "" for a drop that no worker has judged."""

    id: str
    command: str
    owner: str = ""
    tags: tuple[str, ...] = ()
    since: float | None = None
    """Since when it has been waiting."""
    record: str = ""
    """The job's file, relative to the spool."""


class RefusalRow(NamedTuple):
    """A file in rejected/, why it is there, and since when."""

    name: str
    why: str
    rejected_at: float | None


class ArrivingRow(NamedTuple):
    """An incomplete file in pending/: its bytes so far, its last change (None: unknown), and what is missing."""

    name: str
    size: int
    changed_at: float | None
    why: str


class Finish(NamedTuple):
    """A job that ended: when, how long its last run took, and whether it succeeded.

    The texts are "" in a snapshot of counts. The paths are relative to the spool; `log` and `text` (which explains a
    failure) are "" if there is no such file.
    """

    ended_at: float
    duration_s: float | None
    is_good: bool
    id: str = ""
    command: str = ""
    error: str = ""
    """How the last run failed, or ""."""
    attempt: int = 0
    record: str = ""
    log: str = ""
    text: str = ""
    result: tuple[str, ...] = ()
    """The first lines of what the last run gave back, if that is JSON or a text."""


class GroupRow(NamedTuple):
    """The jobs of one tag or one owner, by state. `dead` does not count cancelled jobs."""

    name: str
    waiting: int
    running: int
    done: int
    dead: int


class GroupProgress(NamedTuple):
    """How far the jobs of one file are, whose ids begin with the token `group`: the jobs that are there, by state."""

    group: str
    total: int
    done: int
    dead: int
    cancelled: int
    running: int
    waiting: int

    @property
    def text(self) -> str:
        """How far it is, in words."""
        from queuectl.spool.groups import GroupCounts  # few spools have groups

        return GroupCounts(*self[1:]).text


class Bucket(NamedTuple):
    """A span of time that begins `at`: the jobs that ended in it, and how many waited and ran at its deepest sample.

    `failed` counts dead jobs, `retried` failed runs that are tried again. `waiting` and `running` are None if nobody
    took a sample.
    """

    at: float
    done: int
    failed: int
    waiting: int | None
    running: int | None
    retried: int = 0


class Load(msgspec.Struct, frozen=True):
    """Throughput and depth of the queue, oldest first. Both are empty if no pool has counted."""

    hour: tuple[Bucket, ...] = ()
    """60 buckets of 1 min."""
    day: tuple[Bucket, ...] = ()
    """96 buckets of 15 min."""


class EndedPool(msgspec.Struct, frozen=True):
    """How the pool that ended last has ended: `drained`, `stopped` or `died`; `at` is None if that is unknown."""

    how: str
    at: float | None
