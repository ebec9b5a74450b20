"""lifecycle: the state table and the decision after a run."""

from __future__ import annotations

import random

import pytest

from queuectl.errors import IllegalMoveError
from queuectl.model import lifecycle
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Decision, Outcome, Policy

POLICY = Policy(max_retries=3, backoff_base=2, backoff_max_s=3600, jitter=0, no_retry_exit_codes=(7, 8))


def _decide(kind: str, *, failures: int = 0, exit_code: int | None = None, policy: Policy = POLICY) -> Decision:
    outcome, rng = Outcome(kind, exit_code), random.Random(1)
    return lifecycle.decide(outcome, failures=failures, policy=policy, rng=rng, spent=lifecycle.Spent(0.0, 0.0))


def test_success_is_done() -> None:
    """A run that exits 0 ends the job."""
    assert _decide("succeeded", exit_code=0) == (DONE, None, "")


@pytest.mark.parametrize("kind", ["failed", "timed_out"])
def test_failures_wait_longer_and_longer_and_then_die(kind: str) -> None:
    """max_retries 3 means four runs, with waits of 2, 4 and 8 seconds between them."""
    assert [_decide(kind, failures=count, exit_code=1).delay_s for count in range(3)] == [2, 4, 8]
    assert all(_decide(kind, failures=count, exit_code=1).to == PENDING for count in range(3))
    last = _decide(kind, failures=3, exit_code=1)
    assert last.to == DLQ
    assert last.reason == "4 attempts, retries used up"


def test_no_retries_means_dead_at_once() -> None:
    """max_retries 0 is one run."""
    assert _decide("failed", exit_code=1, policy=POLICY._replace(max_retries=0)) == (
        DLQ,
        None,
        "1 attempt, retries used up",
    )


def test_abandoned_run_counts_and_is_retried_at_once() -> None:
    """A job that kills its worker is tried again without a wait, but not for ever (P5)."""
    assert _decide("abandoned") == (PENDING, None, "")
    dead = _decide("abandoned", failures=3)
    assert dead.to == DLQ
    assert "abandoned" in dead.reason


def test_released_run_does_not_count() -> None:
    """The worker's trouble is not the job's: back at once, even with all retries used up (P9)."""
    assert _decide("released", failures=99) == (PENDING, None, "")
    assert "released" not in lifecycle.COUNTED


def test_cancelled_run_is_dead() -> None:
    """What a person cancels does not run again by itself."""
    assert _decide("cancelled") == (DLQ, None, "cancelled")


def test_no_retry_exit_codes_are_dead_at_once() -> None:
    """An exit code that the job names is not retried; others are, and a timeout with that code is."""
    assert _decide("failed", exit_code=7).to == DLQ
    assert "7" in _decide("failed", exit_code=7).reason
    assert _decide("failed", exit_code=9).to == PENDING
    assert _decide("timed_out", exit_code=7).to == PENDING


def test_a_run_that_can_never_end_otherwise_is_dead_at_once() -> None:
    """A final outcome is not retried, whatever the job's rules say."""
    final = Outcome("failed", 126, "cmd runs one line only", is_final=True)
    policy = POLICY._replace(max_retries=5, no_retry_exit_codes=(), retry_exit_codes=(126,))
    assert lifecycle.decide(final, failures=0, policy=policy, rng=random.Random(1)) == (DLQ, None, "not retried")


def test_only_the_named_exit_codes_are_retried() -> None:
    """With retry_exit_codes every other code is final; a run without a code of its own is tried again all the same."""
    policy = POLICY._replace(no_retry_exit_codes=(), retry_exit_codes=(75,))
    assert _decide("failed", exit_code=75, policy=policy).to == PENDING
    assert _decide("failed", exit_code=1, policy=policy) == (DLQ, None, "exit code 1 is not retried")
    assert _decide("failed", policy=policy).to == PENDING
    assert _decide("timed_out", exit_code=143, policy=policy).to == PENDING
    assert _decide("abandoned", policy=policy).to == PENDING


def test_base_zero_is_due_at_once() -> None:
    """A wait of zero is no wait, so the name of the file needs no due time."""
    assert _decide("failed", exit_code=1, policy=POLICY._replace(backoff_base=0)) == (PENDING, None, "")


@pytest.mark.parametrize("kind", ["enqueued", "started", "requeued", "rejected", "", "exploded"])
def test_what_is_no_outcome_raises(kind: str) -> None:
    """A bug in the caller raises at once; it is never ignored."""
    with pytest.raises(IllegalMoveError):
        _decide(kind)


@pytest.mark.parametrize("failures", [0, 3, 10**6])
@pytest.mark.parametrize("kind", sorted(lifecycle.OUTCOMES))
def test_every_decision_is_in_the_table(kind: str, failures: int) -> None:
    """The pure decision and the table of moves agree (P2)."""
    lifecycle.check_move(RUNNING, kind, _decide(kind, failures=failures, exit_code=1).to)


@pytest.mark.parametrize(
    ("state", "event", "to"),
    [
        (DONE, "succeeded", DONE),
        (RUNNING, "succeeded", PENDING),
        (RUNNING, "succeeded", DLQ),
        (PENDING, "requeued", PENDING),
        (RUNNING, "enqueued", PENDING),
        (DLQ, "started", RUNNING),
        (RUNNING, "released", DLQ),
        ("nowhere", "started", RUNNING),
    ],
)
def test_moves_outside_the_table_raise(state: str, event: str, to: str) -> None:
    """A disallowed edge raises (P2)."""
    with pytest.raises(IllegalMoveError):
        lifecycle.check_move(state, event, to)


def test_every_state_can_be_reached_and_left() -> None:
    """No state is a trap: from done and dlq a job can be run again."""
    reached = {to for targets in lifecycle.TABLE.values() for to in targets}
    left = {state for state, _ in lifecycle.TABLE if state}
    assert reached == {*lifecycle.STATES, lifecycle.REJECTED}
    assert left == set(lifecycle.STATES)


def test_aliases_name_states() -> None:
    """Other queues' words lead to our folders, and never hide one of them."""
    assert set(lifecycle.STATE_ALIASES.values()) <= set(lifecycle.STATES)
    assert not set(lifecycle.STATE_ALIASES) & set(lifecycle.STATES)
