"""Defines the states of a job and decides its state after an attempt. Computes only.

A state is the folder of a job; an event is a line of its history; an outcome is the event at the end of an attempt.
Only this module spells the names of states and events. `decide` is pure: it reads no clock and no disk. A test compares
the table below with the table in FORMAT.md.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import msgspec

from queuectl.errors import IllegalMoveError
from queuectl.model import retry, times

PENDING, RUNNING, DONE, DLQ = "pending", "running", "done", "dlq"
REJECTED = "rejected"
STATES = (PENDING, RUNNING, DONE, DLQ)
# Events that move a job.
ENQUEUED, STARTED, REQUEUED = "enqueued", "started", "requeued"
SUCCEEDED, FAILED, TIMED_OUT = "succeeded", "failed", "timed_out"
ABANDONED, RELEASED = "abandoned", "released"
SNOOZED = "snoozed"
"""The command asked to run again later: the attempt does not count."""
CANCELLED = "cancelled"
"""The job was cancelled: it is in dlq/, and did not fail."""
EXPIRED = "expired"
"""The job was not started in time: it is in dlq/, and did not run."""
UNMET, SKIPPED = "unmet", "skipped"
"""The job does not run, because of its parents: it is dead (in dlq/), or there is nothing to do (in done/)."""
# Events that move nothing: a note for a person, and one event that replaces many (`folding`).
WARNING, FOLDED = "warning", "folded"
BLOCKED, MISSING, UNBLOCKED = "blocked", "missing", "unblocked"
"""The job waits for another parent now; that parent is in no folder; the job need not ask its parents any more."""
# States as other queues call them; --state accepts them too.
STATE_ALIASES = {
    "completed": DONE,
    "processing": RUNNING,
    "dead": DLQ,
    "failed": DLQ,
    "waiting": PENDING,
    "queued": PENDING,
}

# (from, event) -> the possible next states. "" means: not in the spool yet.
TABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("", ENQUEUED): (PENDING,),
    (PENDING, STARTED): (RUNNING,),
    (RUNNING, SUCCEEDED): (DONE,),
    (RUNNING, FAILED): (PENDING, DLQ),
    (RUNNING, TIMED_OUT): (PENDING, DLQ),
    (RUNNING, ABANDONED): (PENDING, DLQ),
    (RUNNING, RELEASED): (PENDING,),
    (RUNNING, SNOOZED): (PENDING, DLQ),
    (PENDING, CANCELLED): (DLQ,),
    (PENDING, EXPIRED): (DLQ,),
    (PENDING, UNMET): (DLQ,),
    (PENDING, SKIPPED): (DONE,),
    (RUNNING, CANCELLED): (DLQ,),
    (DLQ, REQUEUED): (PENDING,),
    (DONE, REQUEUED): (PENDING,),
    (PENDING, REJECTED): (REJECTED,),
}

# A command that asks to run again at once must not keep a worker busy for days.
SNOOZE_LEAST_S = 1.0
# Between the parts of a reason.
_JOINT = "; "
# Outcomes that use up an attempt of the job.
COUNTED = frozenset({FAILED, TIMED_OUT, ABANDONED})
OUTCOMES = frozenset(event for state, event in TABLE if state == RUNNING)
# Events that say in `to` where the job goes: outcomes, and the ends of jobs that do not run.
ENDINGS = OUTCOMES | {EXPIRED, UNMET, SKIPPED}
EVENTS = frozenset({event for _, event in TABLE} | {WARNING, FOLDED, BLOCKED, MISSING, UNBLOCKED})


class Policy(NamedTuple):
    """The retry rules of a job (backoff_max in seconds, jitter a fraction from 0 to 1).

    With `retry_exit_codes`, only attempts that fail with one of these codes are retried (None: with any code).
    """

    max_retries: int
    backoff_base: float
    backoff_max_s: float
    jitter: float
    no_retry_exit_codes: tuple[int, ...] = ()
    retry_exit_codes: tuple[int, ...] | None = None
    give_up_after_s: float | None = None
    """A failure whose next attempt would begin later than this after the first attempt is the last one."""
    snooze_max_s: float = math.inf
    """The longest unbroken row of snoozes."""

    def retries(self, exit_code: int) -> bool:
        """Return whether an attempt that fails with this exit code may be retried."""
        if self.retry_exit_codes is not None and exit_code not in self.retry_exit_codes:
            return False
        return exit_code not in self.no_retry_exit_codes


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an attempt.

    `kind` is one of OUTCOMES. `exit_code` is the command's (128 + n if signal n ended it, None without one). `reason`
    has details for a person. `duration_s` is None if it was not measured. `is_final` means that every later attempt
    would end in the same way. `killed` and `left` are pids: processes outside the command's group that were ended with
    it, and processes of the attempt that still run.
    """

    kind: str
    exit_code: int | None = None
    reason: str = ""
    duration_s: float | None = None
    is_final: bool = False
    killed: tuple[int, ...] = ()
    left: tuple[int, ...] = ()


class Spent(msgspec.Struct, frozen=True):
    """What a job has used of its time. Instants are seconds since 1970."""

    now_at: float
    since_at: float
    """When its first attempt since it was last enqueued or requeued began."""
    snoozes: int = 0
    """How many snoozes the present row has, without this attempt."""
    snoozing_since_at: float = 0.0
    """When the first attempt of this row began."""
    again_s: float | None = None
    """After how many seconds the command wants to run again; None if it did not say."""


class Decision(NamedTuple):
    """The state after an attempt, the delay in seconds before the next attempt (None: at once), and the reason."""

    to: str
    delay_s: float | None
    reason: str


SUCCESS = Decision(DONE, None, "")
"""What `decide` decides after a success."""


def decide(
    outcome: Outcome, *, failures: int, policy: Policy, rng: random.Random, spent: Spent | None = None
) -> Decision:
    """Decide the state after an attempt.

    Args:
        outcome: the outcome of the attempt.
        failures: counted failures since the job was last enqueued or requeued, without this attempt.
        policy: the job's own retry rules.
        rng: for jitter.
        spent: needed for a snooze, and if the policy has `give_up_after_s`.

    Raises:
        IllegalMoveError: a running job cannot have this outcome.
    """
    kind = outcome.kind
    if kind not in OUTCOMES:
        raise IllegalMoveError(f"{kind!r} is not an outcome of a running job")
    if kind == SUCCEEDED:
        return SUCCESS
    if kind == RELEASED:
        return Decision(PENDING, None, "")
    if kind == CANCELLED:
        return Decision(DLQ, None, CANCELLED)
    if kind == SNOOZED:
        assert spent is not None
        return _snooze(policy, spent, rng)
    if kind == FAILED and outcome.exit_code is not None and not policy.retries(outcome.exit_code):
        return Decision(DLQ, None, f"exit code {outcome.exit_code} is not retried")
    if outcome.is_final:
        return Decision(DLQ, None, "not retried")
    if failures >= policy.max_retries:
        tried = f"{failures + 1} attempt{'s' if failures else ''}, retries used up"
        return Decision(DLQ, None, f"abandoned; {tried}" if kind == ABANDONED else tried)
    delay_s = 0.0 if kind == ABANDONED else _backoff_s(failures + 1, policy, rng)
    limit_s = policy.give_up_after_s
    if spent is not None and limit_s is not None and spent.now_at + delay_s > spent.since_at + limit_s:
        tried = f"{failures + 1} attempt{'s' if failures else ''}"
        return Decision(DLQ, None, f"{tried}, given up because of give_up_after, {times.format_duration(limit_s)}")
    return Decision(PENDING, delay_s or None, "")


def _snooze(policy: Policy, spent: Spent, rng: random.Random) -> Decision:
    """Decide the state after a snooze: the job's own backoff, counted over the snoozes in a row, bounds how often."""
    wanted_s = _backoff_s(spent.snoozes + 1, policy, rng) if spent.again_s is None else spent.again_s
    delay_s = max(SNOOZE_LEAST_S, wanted_s)
    if spent.now_at + delay_s > spent.snoozing_since_at + policy.snooze_max_s:
        longest = times.format_duration(policy.snooze_max_s)
        return Decision(DLQ, None, f"its next attempt would be later than snooze_max, {longest}, allows")
    return Decision(PENDING, delay_s, "")


def _backoff_s(number: int, policy: Policy, rng: random.Random) -> float:
    return retry.backoff_s(
        number, base=policy.backoff_base, longest_s=policy.backoff_max_s, jitter=policy.jitter, rng=rng
    )


def noted(reason: str, decision: Decision) -> str:
    """Return the reason for the record: the outcome's reason, then the decision's."""
    return joined(reason, decision.reason)


def joined(reason: str, more: str) -> str:
    """Return two reasons as one."""
    return f"{reason}{_JOINT}{more}" if reason and more else reason or more


def cancel_note(by: str, reason: str = "") -> str:
    """Return the reason of a cancellation: a person's text, else the command that cancelled."""
    return reason or f"by {by}"


def why_cancelled(recorded: str) -> str:
    """Return why a job was cancelled from the reason on record, or "" if that only names the command.

    The inverse of `noted` and `cancel_note`.
    """
    why = recorded.removesuffix(CANCELLED).removesuffix(_JOINT)
    return "" if why == cancel_note("cancel") else why


def check_move(state: str, event: str, to: str) -> None:
    """Check a move against the table. Every move passes here.

    Raises:
        IllegalMoveError: the table has no such move.
    """
    if to not in TABLE.get((state, event), ()):
        raise IllegalMoveError(f"no move from {state or 'nothing'} to {to} by {event!r}")
