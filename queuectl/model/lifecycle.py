"""Defines the states of a job and decides its state after an attempt. Computes only.

A state is the folder of a job; an event is a line of its history; an outcome is the event at the end of an attempt.
Only this module spells the names of states and events. `decide` is pure: it reads no clock and no disk. A test compares
the table below with the table in FORMAT.md.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import msgspec

from queuectl.errors import IllegalMoveError
from queuectl.model import retry

PENDING, RUNNING, DONE, DLQ = "pending", "running", "done", "dlq"
REJECTED = "rejected"
STATES = (PENDING, RUNNING, DONE, DLQ)
# Events that move a job.
ENQUEUED, STARTED, REQUEUED = "enqueued", "started", "requeued"
SUCCEEDED, FAILED, TIMED_OUT = "succeeded", "failed", "timed_out"
ABANDONED, RELEASED = "abandoned", "released"
CANCELLED = "cancelled"
"""The job was cancelled: it is in dlq/, and did not fail."""
# Events that move nothing: a note for a person, and one event that replaces many (`folding`).
WARNING, FOLDED = "warning", "folded"
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
    (PENDING, CANCELLED): (DLQ,),
    (RUNNING, CANCELLED): (DLQ,),
    (DLQ, REQUEUED): (PENDING,),
    (DONE, REQUEUED): (PENDING,),
    (PENDING, REJECTED): (REJECTED,),
}

# Between the parts of a reason.
_JOINT = "; "
# Outcomes that use up an attempt of the job.
COUNTED = frozenset({FAILED, TIMED_OUT, ABANDONED})
OUTCOMES = frozenset(event for state, event in TABLE if state == RUNNING)
EVENTS = frozenset({event for _, event in TABLE} | {WARNING, FOLDED})


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


class Decision(NamedTuple):
    """The state after an attempt, the delay in seconds before the next attempt (None: at once), and the reason."""

    to: str
    delay_s: float | None
    reason: str


_SUCCESS = Decision(DONE, None, "")


def decide(outcome: Outcome, *, failures: int, policy: Policy, rng: random.Random) -> Decision:
    """Decide the state after an attempt.

    Args:
        outcome: the outcome of the attempt.
        failures: counted failures since the job was last enqueued or requeued, without this attempt.
        policy: the job's own retry rules.
        rng: for jitter.

    Raises:
        IllegalMoveError: a running job cannot have this outcome.
    """
    kind = outcome.kind
    if kind not in OUTCOMES:
        raise IllegalMoveError(f"{kind!r} is not an outcome of a running job")
    if kind == SUCCEEDED:
        return _SUCCESS
    if kind == RELEASED:
        return Decision(PENDING, None, "")
    if kind == CANCELLED:
        return Decision(DLQ, None, CANCELLED)
    if kind == FAILED and outcome.exit_code is not None and not policy.retries(outcome.exit_code):
        return Decision(DLQ, None, f"exit code {outcome.exit_code} is not retried")
    if outcome.is_final:
        return Decision(DLQ, None, "not retried")
    if failures >= policy.max_retries:
        tried = f"{failures + 1} attempt{'s' if failures else ''}, retries used up"
        return Decision(DLQ, None, f"abandoned; {tried}" if kind == ABANDONED else tried)
    if kind == ABANDONED:
        return Decision(PENDING, None, "")
    delay_s = retry.backoff_s(
        failures + 1, base=policy.backoff_base, longest_s=policy.backoff_max_s, jitter=policy.jitter, rng=rng
    )
    return Decision(PENDING, delay_s or None, "")


def noted(reason: str, decision: Decision) -> str:
    """Return the reason for the record: the outcome's reason, then the decision's."""
    return f"{reason}{_JOINT}{decision.reason}" if reason and decision.reason else reason or decision.reason


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
