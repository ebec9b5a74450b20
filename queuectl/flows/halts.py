"""The circuit breaker of a queue: halt the queue if its runs fail, then let one job at a time try it (half-open).

The head of the queue's board has how its last runs ended. Whoever ends a run adds the outcome there, under the lock of
the gate (`gates`). If that reaches a limit of the settings, the queue is halted: PAUSED-QUEUE is published with the
last failure. A pause changes nothing in the head, so when it is over the head is still at the limit, and the gate lets
one job in at a time. A success of such a job empties the head.
"""

from __future__ import annotations

from typing import NamedTuple

from queuectl.flows import boards
from queuectl.model import lifecycle
from queuectl.model.history import Event, describe
from queuectl.model.lifecycle import Outcome
from queuectl.model.queues import Queue
from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir

SUCCESS, FAILURE = "s", "f"
AFTER, SHARE = "halt_after", "halt_share"
_ERROR_CHARS = 200


class Ended(NamedTuple):
    """How a run ended: SUCCESS or FAILURE, the job, and the error in words."""

    mark: str
    job_id: str
    error: str = ""


class Tally:
    """How a run ended, on its way to the head of the board. Each step is made once, however often it is tried."""

    __slots__ = ("has_halted", "is_trial", "outcomes", "run")

    def __init__(self, run: Ended, *, is_trial: bool = False) -> None:
        self.run = run
        self.is_trial = is_trial
        """Whether the job was let in alone, because the limit was reached."""
        self.outcomes: str | None = None
        """The outcomes in the head, once this one is there."""
        self.has_halted = False
        """Whether this outcome has halted the queue."""


def tally(line: bytes, outcome: Outcome, *, is_trial: bool = False) -> Tally | None:
    """Return how a run with this line on the board ended; None for an outcome that says nothing about the queue."""
    entry = boards.entry_of(line)
    run = None if entry is None else ended(entry.job_id, outcome)
    return None if run is None else Tally(run, is_trial=is_trial)


def ended(job_id: str, outcome: Outcome) -> Ended | None:
    """Return how a run ended; None for an outcome that says nothing about the queue."""
    if outcome.kind == lifecycle.SUCCEEDED:
        return Ended(SUCCESS, job_id)
    if outcome.kind not in lifecycle.COUNTED:
        return None
    event = Event("", outcome.kind, exit_code=outcome.exit_code, reason=outcome.reason)
    return Ended(FAILURE, job_id, describe(event))


def failures(outcomes: str) -> int:
    """Return how many of the last runs failed in a row."""
    return len(outcomes) - len(outcomes.rstrip(FAILURE))


def limit_reached(outcomes: str, rules: Queue) -> str:
    """Return the setting whose limit the outcomes have reached, AFTER or SHARE; "" if none.

    A share is that at the last failure: only a failure reaches a limit.
    """
    if rules.halt_after and failures(outcomes) >= rules.halt_after:
        return AFTER
    last = _last(outcomes, rules)
    if rules.halt_share and len(last) == rules.halt_of and last.count(FAILURE) >= rules.halt_share * rules.halt_of:
        return SHARE
    return ""


def added(outcomes: str, mark: str, *, is_trial: bool) -> str:
    """Return the outcomes with one more; `is_trial`: its job was let in while the limit was reached."""
    return mark if is_trial and mark == SUCCESS else outcomes + mark


def halt(spool: SpoolDir, queue: str, outcomes: str, rules: Queue, run: Ended, now_at: float) -> bool:
    """Halt a queue if its outcomes have reached a limit by a failed run; return whether this call has halted it.

    Raises:
        OSError: PAUSED-QUEUE cannot be made. Call this again.
    """
    by = limit_reached(outcomes, rules) if run.mark == FAILURE else ""
    if not by:
        return False
    until_at = None if rules.halt_for is None else now_at + rules.halt_for
    return pause.halt(spool, queue, _reason(by, outcomes, rules, run), until_at=until_at, by=by)


def _last(outcomes: str, rules: Queue) -> str:
    return outcomes.rstrip(SUCCESS)[-rules.halt_of :]


def what_failed(by: str, outcomes: str, rules: Queue) -> str:
    """Return how many runs failed, in words, if the limit of the setting `by` is reached."""
    if by == SHARE:
        return f"{_last(outcomes, rules).count(FAILURE)} of the last {rules.halt_of} runs failed"
    count = failures(outcomes)
    return "a run failed" if count == 1 else f"{count} runs failed in a row"


def _reason(by: str, outcomes: str, rules: Queue, run: Ended) -> str:
    error = " ".join(run.error.split())
    if len(error) > _ERROR_CHARS:
        error = error[: _ERROR_CHARS - 3] + "..."
    return f"{what_failed(by, outcomes, rules)}; the last one was {run.job_id}: {error}"
