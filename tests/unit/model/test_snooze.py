"""lifecycle and history: snoozes in a row, and giving up by time."""

from __future__ import annotations

import random

import pytest

from queuectl.model import history, lifecycle
from queuectl.model.history import Event
from queuectl.model.lifecycle import DLQ, PENDING, Outcome, Policy, Spent, decide

RNG = random.Random(1)
POLICY = Policy(3, 2.0, 3600.0, 0.0, snooze_max_s=7 * 86400.0)
SNOOZED = Outcome("snoozed", 75)
FAILED = Outcome("failed", 1)


def spent(passed_s: float = 0.0, snoozes: int = 0, again_s: float | None = None) -> Spent:
    """What a job has used of its time whose first attempt began `passed_s` ago."""
    return Spent(1000.0 + passed_s, 1000.0, snoozes, 1000.0, again_s)


@pytest.mark.parametrize(("snoozes", "delay_s"), [(0, 2.0), (1, 4.0), (20, 3600.0)])
def test_a_row_of_snoozes_has_its_own_backoff(snoozes: int, delay_s: float) -> None:
    """Failures do not make snoozes slower, nor the other way round."""
    found = decide(SNOOZED, failures=3, policy=POLICY, rng=RNG, spent=spent(snoozes=snoozes))
    assert found == (PENDING, delay_s, "")


@pytest.mark.parametrize(("again_s", "delay_s"), [(0.0, 1.0), (0.2, 1.0), (120.0, 120.0)])
def test_a_command_says_when_it_runs_again(again_s: float, delay_s: float) -> None:
    """A job that asks to run at once does not keep a worker busy."""
    assert decide(SNOOZED, failures=0, policy=POLICY, rng=RNG, spent=spent(again_s=again_s)).delay_s == delay_s


def test_snoozing_ends() -> None:
    """P13: a job does not wait for ever for what does not come."""
    limit_s = POLICY.snooze_max_s
    assert decide(SNOOZED, failures=0, policy=POLICY, rng=RNG, spent=spent(limit_s - 5, again_s=5.0)).to == PENDING
    found = decide(SNOOZED, failures=0, policy=POLICY, rng=RNG, spent=spent(limit_s - 5, again_s=6.0))
    assert found.to == DLQ and "snooze_max, 7d" in found.reason


@pytest.mark.parametrize(("passed_s", "to"), [(58.0, PENDING), (58.1, DLQ)])
def test_a_job_is_given_up_by_time(passed_s: float, to: str) -> None:
    """What counts is when the next attempt would begin."""
    policy = POLICY._replace(give_up_after_s=60.0)
    found = decide(FAILED, failures=0, policy=policy, rng=RNG, spent=spent(passed_s))
    assert found.to == to
    assert ("give_up_after, 1m" in found.reason) == (to == DLQ)


def test_a_row_is_computed_from_the_history() -> None:
    """A row ends with any other outcome than a snooze or a release; a requeue begins a new budget."""

    def at(second: int, kind: str, **facts: object) -> Event:
        return Event(f"2026-11-24T03:15:{second:02}.000Z", kind, **facts)  # type: ignore[arg-type]

    kinds = ("enqueued", "started", "snoozed", "started", "released", "started")
    events = [at(second, kind) for second, kind in enumerate(kinds)]
    assert history.row(events) == (events[1].at, 1, events[1].at)
    assert history.row([*events, at(6, "failed"), at(7, "started")]).snoozes == 0
    assert history.row([*events, at(6, "failed"), at(7, "started")]).snoozing_since_at == at(7, "x").at
    assert history.row([*events, at(6, "requeued"), at(7, "started")]).since_at == at(7, "x").at
    folded = at(8, "folded", since_at="S", snoozes=9, snoozing_since_at="R")
    assert history.row([folded, at(9, "started")]) == ("S", 9, "R")
    assert lifecycle.SNOOZED not in lifecycle.COUNTED
