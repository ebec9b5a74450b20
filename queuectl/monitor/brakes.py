"""Show the rates and the circuit breakers of queues: what they let start, and why not more. Only looks."""

from __future__ import annotations

from typing import NamedTuple

from queuectl.flows import boards
from queuectl.flows.boards import Entry
from queuectl.model import rate, times
from queuectl.model.queues import Place, Queue
from queuectl.monitor.reason import Reason
from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir


class Brakes(NamedTuple):
    """What the rate and the circuit breaker of a queue do now."""

    rate: str = ""
    """As in the settings; "" for none."""
    rate_next_at: float | None = None
    """When the rate lets the next job start; None: now."""
    failures: int = 0
    """How many runs have failed in a row; 0 without a circuit breaker."""
    is_halted: bool = False
    """Whether the circuit breaker has paused the queue."""
    is_half_open: bool = False
    """Whether the circuit breaker lets one job run at a time."""


NONE = Brakes()


def of(spool: SpoolDir, queue: str, limits: Queue, now_at: float) -> Brakes:
    """Return what the rate and the circuit breaker of a queue do now."""
    if not limits.rate and not limits.has_breaker:
        return NONE
    from queuectl.flows import halts  # most spools have no such queues

    outcomes = boards.outcomes(spool, queue) if limits.has_breaker else ""
    is_halted = limits.has_breaker and bool(pause.halted_by(spool, queue))
    is_at_limit = limits.has_breaker and bool(halts.limit_reached(outcomes, limits))
    return Brakes(
        limits.rate,
        _next_at(spool, queue, "", limits.rate, now_at),
        halts.failures(outcomes),
        is_halted,
        is_at_limit and not pause.is_paused(spool, queue),
    )


def reasons(spool: SpoolDir, place: Place, inside: list[Entry], now_at: float) -> list[Reason]:
    """Return why the circuit breaker or a rate lets a job not start; the queue is not paused."""
    rules, queue = place.rules, place.queue
    if rules is None:
        return []
    from queuectl.flows import halts

    made = []
    outcomes = boards.outcomes(spool, queue) if rules.has_breaker else ""
    if inside and (by := halts.limit_reached(outcomes, rules)):
        failed = halts.what_failed(by, outcomes, rules)
        text = f"queue {queue} runs one job at a time until one succeeds, because {failed}"
        change = f"queuectl config set queues.{queue}.{by} 0   (without a circuit breaker)"
        made.append(Reason("half_open", f"{text}: {inside[0].job_id} runs", change))
    for key, text in ((place.key, rules.rate_per_key if place.key else ""), ("", rules.rate)):
        if (next_at := _next_at(spool, queue, key, text, now_at)) is not None:
            made.append(_rate(queue, key, text, next_at, now_at))
    return made


def halted(spool: SpoolDir, queue: str) -> Reason | None:
    """Return why the circuit breaker has paused a queue, and until when; None if it has not."""
    if not pause.is_paused(spool, queue) or not pause.halted_by(spool, queue):
        return None
    until_at = pause.until(spool, queue)
    until = "until somebody resumes it" if until_at is None else f"until {times.to_text(until_at)}"
    text = f"queue {queue} is halted {until}: {pause.reason(spool, queue)}"
    return Reason("queue_halted", text, f"queuectl resume {queue}, or delete {spool.queue_paused_path(queue)}")


def _rate(queue: str, key: str, text: str, next_at: float, now_at: float) -> Reason:
    what = f"key {key} in queue {queue}" if key else f"queue {queue}"
    setting = "rate_per_key" if key else "rate"
    when = f"{times.to_text(next_at)}, in {times.format_duration(max(0.0, next_at - now_at))}"
    starts, _, window = text.partition("/")
    more = f"{min(2 * int(starts), rate.COUNT_LIMIT)}/{window}"
    return Reason(
        f"{setting}_reached",
        f"{what} has had all the starts that its {setting} {text} allows; the next job may start at {when}",
        f"queuectl config set queues.{queue}.{setting} {more}",
    )


def _next_at(spool: SpoolDir, queue: str, key: str, text: str, now_at: float) -> float | None:
    """Return when a rate lets the next job start; None if that is now."""
    allowed = rate.of(text)
    if allowed is None:
        return None
    from queuectl.flows import rates

    room = rates.room(spool, queue, key, allowed, now_at)
    return None if room.free else times.round_up(now_at + room.wait_s)
