"""Say in one sentence how a queue is doing, for the page, `status` and `top`. Computes only.

The sentence answers three questions: does anything run, does anything wait, and has anything failed lately? It has no
full stop and no id of a job. The reason of a pause is the only text of somebody else in it; the caller makes it safe.
"""

from __future__ import annotations

from queuectl.model import times
from queuectl.model.lifecycle import PENDING, RUNNING
from queuectl.monitor.snapshot import Snapshot
from queuectl.spool.counts import DIED, DRAINED

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def headline(found: Snapshot) -> str:
    """Return how the queue is doing, in a sentence without a full stop."""
    parts = [*_beginning(found), *_waiting(found), *_failed(found)]
    sentence = ", ".join(parts)
    return sentence[:1].upper() + sentence[1:]


def about(seconds: float) -> str:
    """Return a duration in one unit, rounded down: `45 s`, `3 min`, `2 h`, `5 days`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min"
    if whole < 2 * _DAY_S:
        return f"{whole // _HOUR_S} h"
    return f"{whole // _DAY_S} days"


def _beginning(found: Snapshot) -> list[str]:
    """Return what is done now, and by whom."""
    counts = found.counts
    if found.paused is not None:
        running = counts[RUNNING]
        gone = ["no workers are running"] if not found.pools else [f"{running} still running"] if running else []
        return [_paused(found), *gone]
    if found.pools:
        if not found.workers and found.clusters:
            return ["no way to the cluster" if all(row.lost for row in found.clusters) else "no node takes jobs"]
        busy = min(counts[RUNNING], found.workers)
        if busy:
            return [_busy(busy, found.workers, found.place)]
        return [f"{found.workers} {_word(found.workers, found.place)} idle"]
    return _without_pools(found)


def _without_pools(found: Snapshot) -> list[str]:
    """Return the beginning if no workers run: quiet if all is done, and else what is wrong."""
    counts, ended = found.counts, found.ended_pool
    has_died = ended is not None and ended.how == DIED
    if counts[PENDING] or counts[RUNNING] or has_died:
        gone = "the last workers died" if has_died else "no workers are running"
        left = counts[RUNNING]
        return [gone, *([f"{left} {_word(left, 'job was', 'jobs were')} left running"] if left else [])]
    if not any(counts.values()):
        return ["the queue is empty and no workers are running"]
    if _is_drained(found):
        if found.dead > 0:
            return [f"nothing left to run, {found.dead} {_word(found.dead, 'job is', 'jobs are')} dead"]
        return ["all done: the workers have finished"]  # no age: the page stays as it is
    return ["nothing is waiting and no workers are running"]


def _is_drained(found: Snapshot) -> bool:
    """Return whether no workers run because the last ones have finished everything."""
    counts, ended = found.counts, found.ended_pool
    idle = not found.pools and not counts[PENDING] and not counts[RUNNING]
    return idle and ended is not None and ended.how == DRAINED


def _busy(busy: int, places: int, place: str) -> str:
    if busy < places or places == 1:
        of = "" if busy == places else f" of {places}"
        return f"{busy}{of} {_word(places, place)} busy"
    return f"both {place}s are busy" if places == 2 else f"all {places} {place}s are busy"


def _paused(found: Snapshot) -> str:
    until = "" if found.paused_until is None else f" until {_clock(found.paused_until, found.taken_at)}"
    return f"paused{until}" + (f" ({found.paused})" if found.paused else "")


def _clock(instant_at: float, now_at: float) -> str:
    """Return an instant to come: `16:00 UTC`, with its date unless it is today."""
    text, today = times.to_text(instant_at), times.to_text(now_at)
    day = "" if text[:10] == today[:10] else f"{text[:10]} "
    return f"{day}{text[11:16]} UTC"


def _waiting(found: Snapshot) -> list[str]:
    """Return what waits: jobs that could run, and those that a time, a person or a writer keeps back."""
    parts = []
    could_run = found.ready + found.stopped
    if could_run:
        waited_s = 0.0 if found.oldest_since is None else found.taken_at - found.oldest_since
        since = f" for {about(waited_s)}" if waited_s >= 1 else ""
        parts.append(f"{could_run} waiting{', the oldest' if since and could_run > 1 else ''}{since}")
    if found.later:
        due = "" if found.next_due_at is None else f" in {about(found.next_due_at - found.taken_at)}"
        parts.append(f"{found.later} due{' later, the first' if due and found.later > 1 else ''}{due or ' later'}")
    if found.held:
        parts.append(f"{found.held} held")
    if found.blocked:
        parts.append(f"{found.blocked} {_word(found.blocked, 'waits', 'wait')} for other jobs")
    if found.incomplete:
        parts.append(f"{found.incomplete} {_word(found.incomplete, 'file')} incomplete")
    if not parts and found.pools and found.paused is None:
        return ["nothing is waiting"]
    return parts


def _failed(found: Snapshot) -> list[str]:
    if not found.failed_last_hour or (_is_drained(found) and found.dead > 0 and found.paused is None):
        return []  # the beginning names the dead jobs
    return [f"{found.failed_last_hour} failed in the last hour"]


def _word(number: int, one: str, many: str = "") -> str:
    return one if number == 1 else many or f"{one}s"
