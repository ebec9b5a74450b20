"""What a job has used of its time, for the decision after a failure or a snooze. Reads records in memory only."""

from __future__ import annotations

from queuectl.jobs.verdict import Claimed
from queuectl.model import history, record, times
from queuectl.model.lifecycle import SNOOZED, Outcome, Policy, Spent
from queuectl.model.settings import Settings


def policy_of(item: record.Record, settings: Settings) -> Policy:
    """Return the retry rules of a job, with the settings for what it leaves open."""
    extras = item.extras
    return item.policy._replace(
        give_up_after_s=settings.give_up_after if extras.give_up_after is None else extras.give_up_after,
        snooze_max_s=settings.snooze_max if extras.snooze_max is None else extras.snooze_max,
    )


def is_snooze(exit_code: int, item: record.Record, settings: Settings) -> bool:
    """Return whether an exit code means: run again later, and do not count the attempt."""
    own = item.extras.snooze_exit_codes
    if own is not None:
        return exit_code in own
    named = (*item.no_retry_exit_codes, *(item.retry_exit_codes or ()))
    return exit_code in settings.snooze_exit_codes and exit_code not in named


def spent(claimed: Claimed, outcome: Outcome, policy: Policy, now_at: float) -> Spent | None:
    """Return what the job has used of its time, or None if the decision does not need it.

    If the command asks for a time that cannot be read, a warning is added to `claimed.given`.
    """
    if outcome.kind != SNOOZED and policy.give_up_after_s is None:
        return None
    row = history.row(record.decode(claimed.data).history)
    again_s = None
    if outcome.kind == SNOOZED and claimed.given.again:
        again_s = _again_s(claimed.given.again, now_at)
        if again_s is None:
            text = f"QUEUECTL_AGAIN is neither a duration nor an instant: {claimed.given.again[:64]!a}"
            claimed.given = claimed.given._replace(warnings=(*claimed.given.warnings, text))
    since_at, snoozing_at = (times.instant(text) for text in (row.since_at, row.snoozing_since_at))
    return Spent(
        now_at,
        now_at if since_at is None else since_at,
        row.snoozes,
        now_at if snoozing_at is None else snoozing_at,
        again_s,
    )


def _again_s(text: str, now_at: float) -> float | None:
    """Return after how many seconds a command wants to run again, by its text; None for another text."""
    try:
        return times.parse_duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError:
        at = times.instant(text)
        return None if at is None else max(0.0, at - now_at)
