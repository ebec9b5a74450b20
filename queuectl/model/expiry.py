"""Compute whether a job has expired: `expires_at` and `expires_after` say when its last attempt may start.

Both are void once the job was requeued, because somebody wants it done after all. Computes only.
"""

from __future__ import annotations

from queuectl.model import extras, history, times
from queuectl.model.lifecycle import ENQUEUED, FOLDED, REQUEUED
from queuectl.model.record import Record


def expires_at(item: Record) -> float | None:
    """Return the instant after which a job must not start (seconds since 1970), or None without one."""
    keys = item.extras
    if keys is extras.PLAIN or (not keys.expires_at and keys.expires_after is None) or _is_void(item.history):
        return None
    if keys.expires_after is None:
        return times.instant(keys.expires_at)
    begins_at = accepted_at(item.history)
    return None if begins_at is None else begins_at + keys.expires_after


def accepted_at(events: list[history.Event]) -> float | None:
    """Return when a job was taken in, or when it was first due if that is later; None if the history does not say."""
    for event in events:
        if event.event == ENQUEUED and (at := times.instant(event.at)) is not None:
            due_at = times.instant(event.due_at) if event.due_at else None
            return at if due_at is None else max(at, due_at)
    return None


def why_expired(item: Record, now_at: float) -> str:
    """Return why a job must not start any more, for its record, or "" if it may."""
    limit_at = expires_at(item)
    return "" if limit_at is None or now_at <= limit_at else f"no attempt may start after {limit_text(item, limit_at)}"


def limit_text(item: Record, limit_at: float) -> str:
    """Return the instant after which a job must not start, and the key that says so."""
    after_s = item.extras.expires_after
    key = "expires_at" if after_s is None else f"expires_after {times.format_duration(after_s)}"
    return f"{times.to_text(limit_at)} ({key})"


def _is_void(events: list[history.Event]) -> bool:
    return any(
        event.event == REQUEUED or (event.event == FOLDED and bool(event.counts.get(REQUEUED))) for event in events
    )
