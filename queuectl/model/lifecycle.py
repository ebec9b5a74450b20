"""What can happen to a job: the state table, and the decision after a run. Computes only.

A state is the folder that a job is in; an event is a line of its history; how a run ended is an outcome, which is an
event. This module alone spells the names of states and events. `decide` is pure: it reads no clock and no disk.
A test compares the table below with the one in FORMAT.md.
"""

from __future__ import annotations

import random
from typing import NamedTuple

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
"""Somebody cancelled the job: it is in dlq/, and did not fail."""
# Events that move nothing: a note for a person, and one event in the place of many (`folding`).
WARNING, FOLDED = "warning", "folded"
# Other queues' words that people type; see also the commands' --state.
STATE_ALIASES = {
    "completed": DONE,
    "processing": RUNNING,
    "dead": DLQ,
    "failed": DLQ,
    "waiting": PENDING,
    "queued": PENDING,
}

# (from, event) -> the states it may lead to. "" is: not in the spool yet.
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
# Outcomes that use up one of the job's runs.
COUNTED = frozenset({FAILED, TIMED_OUT, ABANDONED})
OUTCOMES = frozenset(event for state, event in TABLE if state == RUNNING)
EVENTS = frozenset({event for _, event in TABLE} | {WARNING, FOLDED})


class Policy(NamedTuple):
    """The retry rules that a job carries (backoff_max in seconds, jitter a share from 0 to 1).

    With `retry_exit_codes` only runs that fail with one of these codes are retried (None: with any code).
    """

    max_retries: int
    backoff_base: float
    backoff_max_s: float
    jitter: float
    no_retry_exit_codes: tuple[int, ...] = ()
    retry_exit_codes: tuple[int, ...] | None = None

    def retries(self, exit_code: int) -> bool:
        """Return whether a run that fails with this exit code may be tried again."""
        if self.retry_exit_codes is not None and exit_code not in self.retry_exit_codes:
            return False
        return exit_code not in self.no_retry_exit_codes


class Outcome(NamedTuple):
    """How a run ended.

    `kind` is one of OUTCOMES; `exit_code` is the command's (128 + n if signal n ended it, None if there is none);
    `reason` says more for a person; `duration_s` is None if nobody measured it; `is_final` says that no later run of
    this command could end in another way. `killed` and `left` are pids: processes outside the command's group that
    were ended with it, and processes of the run that live on.
    """

    kind: str
    exit_code: int | None = None
    reason: str = ""
    duration_s: float | None = None
    is_final: bool = False
    killed: tuple[int, ...] = ()
    left: tuple[int, ...] = ()


class Decision(NamedTuple):
    """The state after a run, the delay in seconds before the next run (None: at once), and why."""

    to: str
    delay_s: float | None
    reason: str


def decide(outcome: Outcome, *, failures: int, policy: Policy, rng: random.Random) -> Decision:
    """Decide the state after a run.

    Args:
        outcome: how it ended.
        failures: counted failures since the job was last enqueued or requeued, this one not included.
        policy: the job's own retry rules.
        rng: for jitter.

    Raises:
        IllegalMoveError: the outcome is not one of a running job.
    """
    kind = outcome.kind
    if kind not in OUTCOMES:
        raise IllegalMoveError(f"{kind!r} is not an outcome of a running job")
    if kind == SUCCEEDED:
        return Decision(DONE, None, "")
    if kind == RELEASED:
        return Decision(PENDING, None, "")
    if kind == CANCELLED:
        return Decision(DLQ, None, CANCELLED)
    if kind == FAILED and outcome.exit_code is not None and not policy.retries(outcome.exit_code):
        return Decision(DLQ, None, f"exit code {outcome.exit_code} is not to be retried")
    if outcome.is_final:
        return Decision(DLQ, None, "not to be retried")
    if failures >= policy.max_retries:
        tried = f"{failures + 1} run{'s' if failures else ''}, retries used up"
        return Decision(DLQ, None, f"abandoned; {tried}" if kind == ABANDONED else tried)
    if kind == ABANDONED:
        return Decision(PENDING, None, "")
    delay_s = retry.backoff_s(
        failures + 1, base=policy.backoff_base, longest_s=policy.backoff_max_s, jitter=policy.jitter, rng=rng
    )
    return Decision(PENDING, delay_s or None, "")


def noted(reason: str, decision: Decision) -> str:
    """Return the reason that goes on record: the outcome's, then the decision's."""
    return f"{reason}{_JOINT}{decision.reason}" if reason and decision.reason else reason or decision.reason


def cancel_note(by: str, reason: str = "") -> str:
    """Return the reason of a cancellation: what a person gave, else who did it."""
    return reason or f"by {by}"


def why_cancelled(recorded: str) -> str:
    """Return why a job was cancelled, from the reason on record; "" if that only names the command.

    The inverse of `noted` and `cancel_note`.
    """
    why = recorded.removesuffix(CANCELLED).removesuffix(_JOINT)
    return "" if why == cancel_note("cancel") else why


def check_move(state: str, event: str, to: str) -> None:
    """Check a move against the table; every move passes here.

    Raises:
        IllegalMoveError: the table has no such move.
    """
    if to not in TABLE.get((state, event), ()):
        raise IllegalMoveError(f"no move from {state or 'nothing'} to {to} by {event!r}")
