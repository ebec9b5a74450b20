"""Computes the standing of a job (attempts, last error, due time) from the events of its history. Computes only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from queuectl.model import lifecycle, times
from queuectl.model.lifecycle import ABANDONED, ENQUEUED, FOLDED, REQUEUED, SNOOZED, STARTED, TIMED_OUT, UNMET

_Count = Annotated[int, Meta(ge=0, le=2**31)]


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """One line of the history. FORMAT.md lists the keys of each event; absent keys have these defaults."""

    at: str
    event: str
    by: str = ""
    attempt: int = 0
    worker: str = ""
    lease: str = ""
    node: str = ""
    member: str = ""
    exit_code: int | None = None
    duration_s: float | None = None
    reason: str = ""
    to: str = ""
    due_at: str = ""
    delay_s: float | None = None
    text: str = ""
    batch: str = ""
    file: str = ""
    claimed: str = ""
    left: tuple[int, ...] = ()
    killed: tuple[int, ...] = ()
    result_bytes: int | None = None
    progress: str = ""
    counts: dict[str, _Count] = {}
    failures: _Count = 0
    first_at: str = ""
    since_at: str = ""
    snoozes: _Count = 0
    snoozing_since_at: str = ""
    after: str = ""
    met: _Count = 0
    duplicate_of: str = ""
    replaced_by: str = ""


class Standing(msgspec.Struct, frozen=True):
    """The standing of a job: the result of its history."""

    starts: int
    """How many attempts have started; the next attempt has the next number."""
    failures: int
    """Counted failures since the job was last enqueued or requeued."""
    last: Event | None
    """The last event that moved the job; never a warning."""
    last_start: Event | None
    """The last `started`."""
    due_at: float | None
    """The earliest start of the job; None: it may run now."""
    delay_s: float | None
    """The delay from which `due_at` was computed, or None."""
    error: str
    """The last error in words, or ""."""

    @property
    def is_cancelled(self) -> bool:
        """Whether the job was cancelled and not requeued since."""
        return self.last is not None and self.last.event == lifecycle.CANCELLED

    @property
    def ended_to(self) -> str:
        """The state that the last recorded outcome leads to, or "" if the last event is not an outcome.

        The end of a job that does not run counts as an outcome here.
        """
        if self.last is not None and self.last.event in lifecycle.ENDINGS:
            return self.last.to
        return ""


def event(kind: str, now_at: float, **facts: Any) -> dict[str, Any]:
    """Return an event for a history: instant and name first, then the facts that are not None or ""."""
    made: dict[str, Any] = {"at": times.to_text(now_at), "event": kind}
    for key, value in facts.items():
        if value is not None and value != "":
            made[key] = value  # noqa: PERF403  # a comprehension is a call, twice per job
    return made


def started(now_at: float, *, attempt: int, worker: str, lease: str) -> dict[str, Any]:
    """Return the event of a start on this machine, as `event` does, in half the time."""
    return {"at": times.to_text(now_at), "event": STARTED, "attempt": attempt, "worker": worker, "lease": lease}


def succeeded(now_at: float, *, attempt: int, duration_s: float) -> dict[str, Any]:
    """Return the event of a success of which nothing else is to be said, as `event` does, in a third of the time."""
    return {
        "at": times.to_text(now_at),
        "event": lifecycle.SUCCEEDED,
        "attempt": attempt,
        "exit_code": 0,
        "duration_s": round(duration_s, 3),
        "to": lifecycle.DONE,
    }


def standing(history: list[Event]) -> Standing:
    """Compute the values that the record does not repeat: attempts, last error, next due time."""
    starts = failures = 0
    last: Event | None = None
    last_start: Event | None = None
    due_at: float | None = None
    delay_s: float | None = None
    error = ""
    for item in history:
        kind = item.event
        if kind == STARTED:
            starts += 1
            last_start = item
        elif kind in lifecycle.COUNTED:
            failures += 1
            error = describe(item)
        elif kind in (ENQUEUED, REQUEUED):
            failures = 0
        elif kind == FOLDED:
            starts, failures, error = starts + item.counts.get(STARTED, 0), item.failures, item.reason or error
            continue
        elif kind not in lifecycle.ENDINGS:
            continue  # a warning or an event of a later version moves nothing
        last = item
        due_at, delay_s = (_instant(item.due_at), item.delay_s) if item.due_at else (None, None)
    if last is not None and last.event == lifecycle.CANCELLED:
        error = cancelled_text(last.reason)
    elif last is not None and last.event in (SNOOZED, lifecycle.EXPIRED, UNMET) and last.to == lifecycle.DLQ:
        error = describe(last)
    return Standing(starts, failures, last, last_start, due_at, delay_s, error)


class Row(NamedTuple):
    """The time that a job has used, as the texts of its history: see `lifecycle.Spent`."""

    since_at: str
    snoozes: int
    snoozing_since_at: str


def row(history: list[Event]) -> Row:
    """Compute what `standing` does not, because only failures and snoozes need it."""
    since = snoozing = start = ""
    snoozes = 0
    for item in history:
        kind = item.event
        if kind == STARTED:
            start = item.at
            since = since or start
        elif kind == SNOOZED:
            snoozes += 1
            snoozing = snoozing or start
        elif kind in lifecycle.COUNTED or kind == lifecycle.SUCCEEDED:
            snoozes, snoozing = 0, ""
        elif kind in (ENQUEUED, REQUEUED):
            snoozes, snoozing, since = 0, "", ""
        elif kind == FOLDED:
            since, snoozes, snoozing = item.since_at or item.first_at, item.snoozes, item.snoozing_since_at
    return Row(since, snoozes, snoozing or start)


def _instant(text: str) -> float | None:
    try:
        return times.from_text(text)
    except ValueError:
        return None


def starts_in(history: Iterable[dict[str, Any]]) -> int:
    """Return the number of attempts in a history, including folded ones, as `Standing.starts` of its record."""
    return sum(
        1 if event.get("event") == STARTED else int(event.get("counts", {}).get(STARTED, 0))
        for event in history
        if event.get("event") in (STARTED, FOLDED)
    )


def length(history: list[Event]) -> int:
    """Return the number of events in a history, including folded ones."""
    return sum(sum(event.counts.values()) if event.event == FOLDED else 1 for event in history)


def arrived_at(history: list[Event], otherwise_at: float) -> float:
    """Return when a job was enqueued by its history, else `otherwise_at`."""
    for event in history:
        if event.event == ENQUEUED:
            try:
                return times.from_text(event.at)
            except ValueError:
                break
    return otherwise_at


def is_due(due_at: float | None, delay_s: float | None, now_at: float) -> bool:
    """Return whether a job may run now.

    A due time that is further away than its delay counts as due: the clock was set back, and a job must not wait for
    longer than its own delay (P5: no clock may strand a job).
    """
    return due_at is None or due_at <= now_at or (delay_s is not None and due_at - now_at > delay_s + 0.002)


def describe(item: Event) -> str:
    """Return the outcome of an attempt in a few words."""
    if item.event == TIMED_OUT:
        return item.reason or "timed out"
    if item.event == ABANDONED:
        return "abandoned: its worker died"
    if item.event == lifecycle.CANCELLED:
        return cancelled_text(item.reason)
    if item.event == lifecycle.EXPIRED:
        return f"expired: {item.reason}"
    if item.reason and item.exit_code is not None:
        return f"exit {item.exit_code}: {item.reason}"
    return item.reason or (f"exit {item.exit_code}" if item.exit_code is not None else item.event)


def skipped_text(item: Event) -> str:
    """Return why a job is in done/ without having run to a success, "" if that is not its last event."""
    if item.event != lifecycle.SKIPPED:
        return ""
    if item.duplicate_of:
        return f"skipped: same as {item.duplicate_of}"
    return f"skipped: replaced by {item.replaced_by}" if item.replaced_by else f"skipped: {item.reason}"


def cancelled_text(reason: str) -> str:
    """Return `cancelled`, with the reason if the record has more than the name of the command `cancel`."""
    why = lifecycle.why_cancelled(reason)
    if not why:
        return lifecycle.CANCELLED
    return f"{lifecycle.CANCELLED} {why}" if why.startswith("by ") else f"{lifecycle.CANCELLED}: {why}"
