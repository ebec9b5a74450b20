"""The counts of a spool: how many jobs ended, waited and ran, per minute and per quarter of an hour.

One small file, .queuectl/counts, to which every pool adds under a lock (FORMAT.md, section 8). The file is only for
display: no decision depends on it, foreign content is ignored and replaced, and anyone may delete it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files, sharing

MINUTE_S, QUARTER_S = 60, 900
# The minutes of an hour, and the quarters of an hour of a day.
MINUTES, QUARTERS = 60, 96
DRAINED, STOPPED, DIED = "drained", "stopped", "died"
MAX_BYTES = 64 * 1024
# Sums of numbers up to here are exact in every JSON reader.
_Count = Annotated[int, Meta(ge=0, le=2**40)]
_At = Annotated[int, Meta(ge=0, le=2**40)]


class Row(NamedTuple):
    """The counts of a span of time that begins at `at` (seconds since 1970 UTC).

    `waiting` and `running` are the depth at the deepest sample, or None if there was no sample.
    """

    at: _At
    done: _Count = 0
    failed: _Count = 0
    retried: _Count = 0
    waiting: _Count | None = None
    running: _Count | None = None


class Ended(NamedTuple):
    """How a pool ended: DRAINED, STOPPED or DIED."""

    pool: str
    how: str
    at: float


class Totals(NamedTuple):
    """The same sums since the counts began."""

    done: _Count = 0
    failed: _Count = 0
    retried: _Count = 0


class Counts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of the file. Rows are ordered by time."""

    minutes: tuple[Row, ...] = ()
    quarters: tuple[Row, ...] = ()
    ended: Ended | None = None
    totals: Totals = Totals()


def read(spool: SpoolDir) -> Counts | None:
    """Return the counts, or None if the file is missing or has other content. Raises OSError."""
    try:
        content = files.read(spool.counts_path, MAX_BYTES, patience_s=sharing.GLANCE_S)
    except (FileNotFoundError, files.NotRegularError):
        return None
    return None if content.oversize else decode(content.data)


def decode(data: bytes) -> Counts | None:
    """Return the counts in the bytes of a file, or None for other content."""
    try:
        return msgspec.json.decode(data, type=Counts)
    except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: not UTF-8
        return None


def write(spool: SpoolDir, counts: Counts) -> None:
    """Replace the counts in one step. The caller holds the lock. Raises OSError."""
    data = msgspec.json.encode(counts) + b"\n"
    with spool.temporary("counts", data, sync=False, mode=disk.FILE_MODE) as temporary:
        disk.replace(temporary, spool.counts_path, patience_s=sharing.GLANCE_S)


def merge(counts: Counts, fresh: Iterable[Row], now_at: float, ended: Ended | None = None) -> Counts:
    """Return `counts` with `fresh` rows of minutes added and old rows removed. Only computes."""
    rows = list(fresh)
    return Counts(
        minutes=_merged(counts.minutes, rows, now_at, MINUTE_S, MINUTES),
        quarters=_merged(counts.quarters, rows, now_at, QUARTER_S, QUARTERS),
        ended=ended or counts.ended,
        totals=Totals(
            counts.totals.done + sum(row.done for row in rows),
            counts.totals.failed + sum(row.failed for row in rows),
            counts.totals.retried + sum(row.retried for row in rows),
        ),
    )


def start_of(now_at: float, span_s: int) -> int:
    """Return the beginning of the span that contains an instant."""
    return int(now_at // span_s) * span_s


def _merged(known: Iterable[Row], fresh: Iterable[Row], now_at: float, span_s: int, spans: int) -> tuple[Row, ...]:
    last_at = start_of(now_at, span_s)
    found: dict[int, Row] = {}
    for row in (*known, *fresh):
        at = start_of(row.at, span_s)
        # A row in the future comes from a clock that was set back since.
        if last_at - (spans - 1) * span_s <= at <= last_at:
            before = found.get(at)
            found[at] = row._replace(at=at) if before is None else added(before, row)
    return tuple(found[at] for at in sorted(found))


def added(one: Row, other: Row) -> Row:
    """Return two rows of one span as one row: sums, and the deeper of the two samples."""
    deeper = max(one, other, key=_depth)
    return Row(
        one.at,
        one.done + other.done,
        one.failed + other.failed,
        one.retried + other.retried,
        deeper.waiting,
        deeper.running,
    )


def _depth(row: Row) -> int:
    return -1 if row.waiting is None else row.waiting + (row.running or 0)
