"""A queue at one moment, as `queuectl status` and its dashboard show it: facts, not yet words. Computes only.

`survey` takes a snapshot; `page`, `metrics` and `facts` make status.html, queuectl.prom and status.json of it. Texts
may be cut to a bounded length and are otherwise as they were found: whoever shows them makes them safe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from queuectl.model.lifecycle import DLQ
from queuectl.monitor import live
from queuectl.monitor.inboxes import InboxRow
from queuectl.monitor.queues import QueueRow
from queuectl.monitor.rows import (
    ArrivingRow,
    CauseRow,
    ClusterRow,
    DueRow,
    EndedPool,
    FailureRow,
    Finish,
    GroupProgress,
    GroupRow,
    HeldRow,
    Load,
    NextRow,
    PoolRow,
    RefusalRow,
    RunRow,
)
from queuectl.monitor.schedule_rows import ScheduleRow
from queuectl.spool.counts import Totals


class Snapshot(NamedTuple):
    """What is shown of a spool. Instants are seconds since 1970 UTC; counts are files.

    If `is_full` is False, it has no texts of jobs: the rows of jobs and files are empty.
    """

    path: str
    taken_at: float
    is_full: bool
    paused: str | None
    """The reason in PAUSED, None if the spool is not paused."""
    counts: dict[str, int]
    """By folder, `rejected` included."""
    ready: int
    later: int
    held: int
    next_due_at: float | None
    last_due_at: float | None
    oldest_id: str
    oldest_since: float | None
    """Since when the job has waited that has waited longest of those that could run now."""
    longest_since: float | None
    """When the longest of the running jobs started."""
    pools: tuple[PoolRow, ...]
    runs: tuple[RunRow, ...]
    failures: tuple[FailureRow, ...]
    """The newest jobs in dlq/, newest first."""
    dues: tuple[DueRow, ...]
    """By due time."""
    refusals: tuple[RefusalRow, ...]
    """The newest rejected files, newest first."""
    foreign: dict[str, int]
    """Foreign files, by folder."""
    copies: dict[str, int]
    """How many of them have names of unfinished or conflicting copies."""
    arriving: tuple[ArrivingRow, ...]
    """Files in pending/ that are incomplete or unreadable, by name: of a bounded number that was read."""
    finishes: tuple[Finish, ...]
    """The newest jobs in done/ and dlq/ that ran, oldest first."""
    ended_since: dict[str, float] = {}  # noqa: RUF012
    """When the oldest file in done/ and in dlq/ came there. With thousands of ids without a time: of those seen."""
    nexts: tuple[NextRow, ...] = ()
    """What runs next, in this order; only if it was asked for."""
    held_jobs: tuple[HeldRow, ...] = ()
    """The first held jobs by name; only if `nexts` was asked for."""
    inboxes: tuple[InboxRow, ...] = ()
    retention_waits: str = ""
    """Why retention deletes nothing now, or ""."""
    cancelled: int = 0
    """How many files in dlq/ are cancelled jobs, by their text files."""
    paused_until: float | None = None
    """When the pause ends automatically."""
    stopped: int = 0
    """Waiting jobs that could run now if the spool were not paused."""
    incomplete: int = 0
    """Waiting files that cannot run now: those in `arriving`."""
    blocked: int = 0
    """Waiting jobs that wait for another job."""
    settings_changed: bool = False
    """Whether the settings changed after a live pool started: that pool uses the old ones."""
    foreign_names: dict[str, list[str]] = {}  # noqa: RUF012
    """The names of the foreign files, by folder and sorted; only if it was asked for."""
    causes: tuple[CauseRow, ...] = ()
    """Dead jobs by cause, most frequent first: of the newest ones that were read."""
    causes_left: int = 0
    """Dead jobs that are in no row of `causes`, because there are too many jobs or causes."""
    load: Load = Load()
    done_last_hour: int = 0
    failed_last_hour: int = 0
    """Jobs that died in the last hour. Retries and cancelled jobs do not count."""
    skipped_last_hour: int = 0
    """Jobs that were skipped in the last hour, of a bounded number of records."""
    tags: tuple[GroupRow, ...] = ()
    """The tags of most jobs, of a bounded number of records: see `tags_left`."""
    tags_left: int = 0
    """Jobs whose tags were not read, because there are too many jobs."""
    owners: tuple[GroupRow, ...] = ()
    """The owners of most jobs. Jobs without an owner are in no row."""
    owners_left: int = 0
    """Jobs whose owner was not read, because there are too many jobs."""
    totals: Totals | None = None
    """Jobs done and dead, and failed runs that were tried again, since pools count; None if none has counted."""
    queues: tuple[QueueRow, ...] = ()
    """The queues; none if there is only the default one, without a limit or a pause."""
    schedules: tuple[ScheduleRow, ...] = ()
    """The schedules, those with a mistake first, then by their next tick."""
    schedules_left: int = 0
    """Schedules in no row."""
    groups: tuple[GroupProgress, ...] = ()
    """The groups that are not over and those of the last day, newest first: at most `group_tally.GROUPS`."""
    groups_left: int = 0
    """Groups that are not over and in no row."""
    ended_pool: EndedPool | None = None
    """How the last pool ended; None while a pool lives, or if it is unknown."""

    @property
    def dead(self) -> int:
        """Jobs in dlq/ that failed."""
        return self.counts[DLQ] - self.cancelled

    @property
    def held_settings(self) -> str:
        """The names of the settings that take effect when the workers start again, or ""."""
        return ", ".join(sorted({name for pool in self.pools for name in pool.held}))

    @property
    def other_versions(self) -> str:
        """The versions of the live pools if they differ, or "". Not safe."""
        return live.other_versions(pool.version for pool in self.pools)

    @property
    def workers(self) -> int:
        """Slots of all live pools."""
        return sum(pool.workers for pool in self.pools)

    @property
    def clusters(self) -> tuple[ClusterRow, ...]:
        """The clusters that live pools lead."""
        return tuple(row for pool in self.pools for row in pool.clusters)

    @property
    def place(self) -> str:
        """The word for a place where a job runs: `slot` if slots share a worker process anywhere, else `worker`."""
        return "slot" if any(pool.is_shared for pool in self.pools) else "worker"


class Pace(NamedTuple):
    """Throughput and durations of the newest finished jobs. Durations are None if none was measured."""

    jobs: int
    failed: int
    span_s: float
    """From the first end to the last."""
    per_s: float | None
    median_s: float | None
    p95_s: float | None
    longest_s: float | None


def pace(finishes: Sequence[Finish]) -> Pace:
    """Return how fast jobs finish and how long they take."""
    took = sorted(each.duration_s for each in finishes if each.duration_s is not None)
    span_s = finishes[-1].ended_at - finishes[0].ended_at if finishes else 0.0
    return Pace(
        jobs=len(finishes),
        failed=sum(not each.is_good for each in finishes),
        span_s=span_s,
        # The first one only opens the span.
        per_s=(len(finishes) - 1) / span_s if span_s > 0 else None,
        median_s=_quantile(took, 0.5),
        p95_s=_quantile(took, 0.95),
        longest_s=took[-1] if took else None,
    )


def is_same(one: Snapshot, other: Snapshot) -> bool:
    """Return whether two snapshots say the same, whenever they were taken."""
    return _timeless(one) == _timeless(other)


def _timeless(found: Snapshot) -> Snapshot:
    inboxes = tuple(row._replace(listed_at="") for row in found.inboxes)
    return found._replace(taken_at=0.0, inboxes=inboxes, pools=tuple(map(_timeless_pool, found.pools)))


def _timeless_pool(pool: PoolRow) -> PoolRow:
    """Return a pool without the instants of beats, which change all the time; that a node is silent stays."""
    if not pool.clusters:
        return pool
    led = [
        row._replace(
            heard_at=None,
            ends_at=None,
            nodes=tuple(node._replace(heard_at=None, ends_at=None) for node in row.nodes),
        )
        for row in pool.clusters
    ]
    return pool._replace(clusters=tuple(led))


def size_text(size: int) -> str:
    """Return a number of bytes for people."""
    if size < 10_000:
        return f"{size} bytes"
    return f"{size / 1e3:.0f} KB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the quantile of values in order (nearest rank); None if there are none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
