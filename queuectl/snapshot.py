"""A queue at one moment, as its dashboard shows it: facts, not yet words. Computes only.

`survey` takes a snapshot; `page`, `metrics` and `document` here turn it into status.html, queuectl.prom and
status.json. Texts in it are cut to a bounded length and otherwise as they were found: whoever shows them makes them
safe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from queuectl import times
from queuectl.lifecycle import REJECTED, RUNNING

# Raised when a key of status.json is renamed or taken away; a key more is no new version.
VERSION = 1
# The files are written anew at least this often while workers run, whether or not there is anything new ...
HEARTBEAT_S = 30.0
# ... so whoever finds them older than this knows that nobody writes them: three were missed.
STALE_S = 3 * HEARTBEAT_S
# Rows a table, at most.
ROWS = 200


class PoolRow(NamedTuple):
    """A live pool."""

    pool: str
    host: str
    pid: int
    workers: int
    started_at: float


class RunRow(NamedTuple):
    """A running job. `is_alive` is False where no workers run that could be its own."""

    id: str
    attempt: int
    worker: str
    started_at: float | None
    timeout_s: float | None
    command: str
    is_alive: bool


class FailureRow(NamedTuple):
    """A dead job, and the last lines that its last run printed."""

    id: str
    ended_at: float | None
    attempt: int
    error: str
    command: str
    output: tuple[str, ...]


class DueRow(NamedTuple):
    """A job that waits for its time: a retry where `runs` is above 0, else a delay."""

    id: str
    due_at: float
    runs: int
    max_retries: int
    error: str


class RefusalRow(NamedTuple):
    """A file in rejected/, why it is there, and since when."""

    name: str
    why: str
    rejected_at: float | None


class InboxRow(NamedTuple):
    """An inbox as its receiver saw it when it listed it last: files by what is to become of them."""

    owner: str
    path: str
    listed_at: str
    waiting: int
    arriving: int
    held_back: str
    rejected: int
    left_alone: int
    trouble: str
    text: str
    """All of that in a sentence."""


class Finish(NamedTuple):
    """A job that ended: when, how long its last run took, and whether it ended well."""

    ended_at: float
    duration_s: float | None
    is_good: bool


class Snapshot(NamedTuple):
    """All of it. Instants are seconds since 1970 UTC; counts are files.

    Where `is_full` is False there are no texts of jobs in it: the rows of jobs and files are empty.
    """

    path: str
    taken_at: float
    is_full: bool
    paused: str | None
    """The reason in PAUSED, None where the spool is not paused."""
    counts: dict[str, int]
    """By folder, `rejected` included."""
    ready: int
    later: int
    next_due_at: float | None
    last_due_at: float | None
    oldest_id: str
    oldest_since: float | None
    """The one that has waited longest of those that could run now."""
    longest_since: float | None
    """When the run started that has been under way longest."""
    pools: tuple[PoolRow, ...]
    runs: tuple[RunRow, ...]
    failures: tuple[FailureRow, ...]
    """The newest dead jobs, newest first."""
    dues: tuple[DueRow, ...]
    """By due time."""
    refusals: tuple[RefusalRow, ...]
    """The newest rejected files, newest first."""
    foreign: dict[str, int]
    """Files that are no job's, by folder."""
    finishes: tuple[Finish, ...]
    """The newest jobs in done/ and dlq/ that ran, oldest first."""
    inboxes: tuple[InboxRow, ...] = ()

    @property
    def workers(self) -> int:
        """Workers of all live pools."""
        return sum(pool.workers for pool in self.pools)


class Pace(NamedTuple):
    """What the newest finished jobs tell together; the durations are None where none was measured."""

    jobs: int
    failed: int
    span_s: float
    """From the first of them to the last."""
    per_s: float | None
    median_s: float | None
    p95_s: float | None
    longest_s: float | None


def pace(finishes: Sequence[Finish]) -> Pace:
    """How fast jobs finish and how long they take."""
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
    """True where two snapshots tell the same, whenever they were taken."""
    return _timeless(one) == _timeless(other)


def _timeless(found: Snapshot) -> Snapshot:
    return found._replace(taken_at=0.0, inboxes=tuple(row._replace(listed_at="") for row in found.inboxes))


def document(found: Snapshot, *, advice: tuple[str, str]) -> dict[str, Any]:
    """status.json: the keys that `queuectl status --json` has too mean the same. `advice` is a command and why."""
    speed = pace(found.finishes)
    return {
        "version": VERSION,
        "written_at": times.to_text(found.taken_at),
        "stale_after_s": STALE_S,
        "detail": "full" if found.is_full else "counts",
        "spool": found.path,
        "paused": found.paused,
        "counts": found.counts,
        "waiting": {
            "ready": found.ready,
            "later": found.later,
            "next_due_at": _text(found.next_due_at),
            "last_due_at": _text(found.last_due_at),
            "soon": [{**row._asdict(), "due_at": _text(row.due_at)} for row in found.dues],
            "oldest": None
            if found.oldest_since is None
            else {"id": found.oldest_id, "since": _text(found.oldest_since)},
        },
        "workers": found.workers,
        "pools": [{**row._asdict(), "started_at": _text(row.started_at)} for row in found.pools],
        RUNNING: [{**row._asdict(), "started_at": _text(row.started_at)} for row in found.runs],
        "failures": [{**row._asdict(), "ended_at": _text(row.ended_at)} for row in found.failures],
        REJECTED: [{**row._asdict(), "rejected_at": _text(row.rejected_at)} for row in found.refusals],
        "foreign": found.foreign,
        "inboxes": [row._asdict() for row in found.inboxes],
        "finished": speed._asdict(),
        "next": {"command": advice[0], "why": advice[1]},
    }


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that a share of them does not exceed (nearest rank), None of nothing."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _text(instant_at: float | None) -> str | None:
    return None if instant_at is None else times.to_text(instant_at)
