"""Folds a long history: replaces most of its events by one event that counts them. Computes only.

So the history of a job that runs a hundred thousand times has a limit. The record is rewritten once, when its job is
claimed (FORMAT.md, section 3).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from queuectl.model import history, lifecycle, record
from queuectl.model.history import Event, describe
from queuectl.model.lifecycle import FOLDED

# A claim folds a history of more bytes than this. This many of its last events stay, and a few before the first start.
FOLD_BYTES = 256 * 1024
FOLD_KEEPS = 100
_FOLD_KEEPS_FIRST = 10
# A fold that keeps more than this share of the record is not worth a rewrite.
_FOLD_SHARE = 0.75
_OTHER = "other"


def fold(data: bytes, item: record.Record) -> bytes | None:
    """Return the record with one event instead of most of its history, or None if the history is short enough.

    `item` is the decoded `data`. `history.standing` is the same for both. The first events stay (the job as it was
    enqueued), and the last events from a `started` on.
    """
    start, end = data.rfind(record.HISTORY) + len(record.HISTORY), len(data) - len(record.CLOSING)
    if end - start <= FOLD_BYTES:
        return None
    events = item.history
    first = next((at for at, event in enumerate(events) if event.event in (lifecycle.STARTED, FOLDED)), 0)
    first = min(first, _FOLD_KEEPS_FIRST)
    cut = len(events) - FOLD_KEEPS
    while cut > first and events[cut].event != lifecycle.STARTED:
        cut -= 1
    lines = [line.removesuffix(b",") for line in record.lines_between(data, start, end)]
    if cut - first < 2 or len(lines) != len(events):
        return None
    folded = record.encode_event(_folded(events[:first], events[first:cut]))
    kept = [*lines[:first], b"  " + folded, *lines[cut:]]
    made = data[:start] + b",".join(b"\n" + line for line in kept) + record.CLOSING
    return made if len(made) <= _FOLD_SHARE * len(data) and record.exact(made) is not None else None


def _folded(before: list[Event], some: list[Event]) -> dict[str, Any]:
    """Return the event that replaces `some`, which follow `before`."""
    counts: Counter[str] = Counter()
    for item in some:
        counts.update(item.counts if item.event == FOLDED else {_kind_of(item): 1})
    failed = next((item for item in reversed(some) if item.event in lifecycle.COUNTED or item.event == FOLDED), None)
    facts = {
        "counts": dict(counts),
        "failures": history.standing([*before, *some]).failures,
        "first_at": some[0].first_at or some[0].at,
    }
    row = history.row([*before, *some])
    facts |= {key: value for key, value in row._asdict().items() if value and (row.snoozes or key == "since_at")}
    if failed is not None:  # the last failure, for `Standing.error`
        facts["reason"] = failed.reason if failed.event == FOLDED else describe(failed)
    return {"at": some[-1].at, "event": FOLDED, **facts}


def _kind_of(item: Event) -> str:
    """Return the name under which an event is counted."""
    is_known = (
        item.event in (lifecycle.ENQUEUED, lifecycle.REQUEUED, lifecycle.WARNING, lifecycle.STARTED)
        or item.event in lifecycle.ENDINGS
    )
    return item.event if is_known else _OTHER
