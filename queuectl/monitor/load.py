"""Throughput and depth of the queue over the last hour and day, from the counts that pools keep (`spool.counts`)."""

from __future__ import annotations

from collections.abc import Sequence

from queuectl.monitor.rows import Bucket, Load
from queuectl.spool import counts
from queuectl.spool.counts import MINUTE_S, MINUTES, QUARTER_S, QUARTERS, Counts, Row
from queuectl.spool.folder import SpoolDir


def read(spool: SpoolDir) -> Counts | None:
    """Return the counts, or None if there are none that can be read now."""
    try:
        return counts.read(spool)
    except OSError:
        return None


def of(known: Counts | None, now_at: float, waiting: int, running: int) -> Load:
    """Return the load until now; `waiting` and `running` are the jobs that do so at this moment."""
    if known is None:
        return Load()
    return Load(
        _buckets(known.minutes, now_at, waiting, running, MINUTE_S, MINUTES),
        _buckets(known.quarters, now_at, waiting, running, QUARTER_S, QUARTERS),
    )


def _buckets(
    rows: Sequence[Row], now_at: float, waiting: int, running: int, span_s: int, spans: int
) -> tuple[Bucket, ...]:
    by_at = {row.at: row for row in rows}
    last_at = counts.start_of(now_at, span_s)
    now = Row(last_at, waiting=waiting, running=running)
    by_at[last_at] = counts.added(by_at.get(last_at, Row(last_at)), now)
    found = (by_at.get(at) or Row(at) for at in range(last_at - (spans - 1) * span_s, last_at + 1, span_s))
    return tuple(Bucket(row.at, row.done, row.failed, row.waiting, row.running, row.retried) for row in found)
