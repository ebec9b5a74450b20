"""history: what is read off the events of a job."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl.model import history, record, times
from tests.helpers import NOON_AT

SPEC: dict[str, Any] = {"id": "job1", "command": "true", "max_retries": 3, "backoff_base": 2, "backoff_max": 3600}


def _event(kind: str, **facts: Any) -> dict[str, Any]:
    return history.event(kind, NOON_AT, **facts)


def _frame(*events: dict[str, Any], **spec: Any) -> bytes:
    return record.frame({**SPEC, **spec}, list(events))


def _standing(*events: dict[str, Any]) -> history.Standing:
    return record.decode(_frame(*events)).standing()


def test_empty_facts_are_left_out_of_an_event() -> None:
    """An event says only what is known; zero is known."""
    assert _event("failed", exit_code=0, reason="", worker=None, delay_s=0.0) == {
        "at": "2027-01-15T08:00:00.000Z",
        "event": "failed",
        "exit_code": 0,
        "delay_s": 0.0,
    }


def test_the_usual_events_are_those_of_the_general_way() -> None:
    """P4: a start and a plain success are written as any other event is, with the keys in the same order."""
    start = _event("started", attempt=2, worker="w-1", lease="w-1.0")
    assert list(history.started(NOON_AT, attempt=2, worker="w-1", lease="w-1.0").items()) == list(start.items())
    end = _event("succeeded", attempt=2, exit_code=0, duration_s=0.012, reason="", to="done", delay_s=None)
    assert list(history.succeeded(NOON_AT, attempt=2, duration_s=0.0123).items()) == list(end.items())


def test_standing_of_a_new_job() -> None:
    """A job that never ran has no runs, no failures and is due."""
    made = _standing(_event("enqueued", by="drop"))
    assert (made.starts, made.failures, made.due_at, made.error, made.ended_to) == (0, 0, None, "", "")


def test_standing_counts_only_what_uses_up_a_run() -> None:
    """failed, timed_out and abandoned count; released does not (P9)."""
    made = _standing(
        _event("enqueued"),
        _event("started"),
        _event("failed", exit_code=1, to="pending"),
        _event("started"),
        _event("released", to="pending"),
        _event("started"),
        _event("timed_out", reason="timed out after 5 s", to="pending"),
        _event("started"),
        _event("abandoned", to="pending"),
    )
    assert (made.starts, made.failures) == (4, 3)
    assert made.error == "abandoned: its worker died"


def test_requeue_starts_a_fresh_budget_and_keeps_the_number_of_runs() -> None:
    """A job that is run again has all its retries, and its next attempt a number of its own (P7: logs are kept)."""
    made = _standing(
        _event("enqueued"), _event("started"), _event("failed", exit_code=3, to="dlq"), _event("requeued", by="cli")
    )
    assert (made.starts, made.failures, made.ended_to) == (1, 0, "")
    assert made.error == "exit 3"


def test_warnings_and_unknown_events_move_nothing() -> None:
    """An event of a later version, or a warning after the outcome, leaves the job where it is."""
    made = _standing(
        _event("enqueued"),
        _event("started"),
        _event("succeeded", to="done"),
        _event("warning", text="x"),
        _event("polished", attempt=9),
    )
    assert made.ended_to == "done"
    assert made.last is not None
    assert made.last.event == "succeeded"


def test_due_time_counts_only_until_the_next_event() -> None:
    """A retry's due time is gone once the job has started."""
    due_at = times.to_text(NOON_AT + 8)
    failed = _event("failed", exit_code=1, to="pending", due_at=due_at, delay_s=8.0)
    waiting = _standing(_event("enqueued"), _event("started"), failed)
    assert (waiting.due_at, waiting.delay_s) == (NOON_AT + 8, 8.0)
    assert _standing(_event("enqueued"), _event("started"), failed, _event("started")).due_at is None


def test_due_time_that_cannot_be_read_is_now() -> None:
    """A history that somebody edited strands no job."""
    assert _standing(_event("enqueued", due_at="soon")).due_at is None


def test_job_is_due_at_its_time_and_not_before() -> None:
    """A wait is neither cut short nor made longer."""
    assert not history.is_due(NOON_AT + 2, 2.0, NOON_AT)
    assert not history.is_due(NOON_AT + 2, 2.0, NOON_AT + 1.999)
    assert history.is_due(NOON_AT + 2, 2.0, NOON_AT + 2)
    assert history.is_due(None, None, NOON_AT)


def test_due_time_further_away_than_its_delay_is_due() -> None:
    """A clock that was set back a year strands nothing for longer than its own delay (P5)."""
    assert history.is_due(NOON_AT + 2, 2.0, NOON_AT - 31_536_000)
    assert not history.is_due(NOON_AT + 2, None, NOON_AT - 31_536_000)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (history.Event("", "failed", exit_code=3), "exit 3"),
        (history.Event("", "failed", exit_code=143, reason="ended by SIGTERM"), "exit 143: ended by SIGTERM"),
        (history.Event("", "timed_out", exit_code=143, reason="timed out after 5 s"), "timed out after 5 s"),
        (history.Event("", "timed_out"), "timed out"),
        (history.Event("", "abandoned", reason="x"), "abandoned: its worker died"),
        (history.Event("", "failed"), "failed"),
    ],
)
def test_end_of_a_run_is_told_in_a_few_words(event: history.Event, text: str) -> None:
    """A list has room for a few words on what went wrong."""
    assert history.describe(event) == text
