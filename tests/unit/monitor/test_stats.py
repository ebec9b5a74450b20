"""stats: throughput, times and failures of a span of time."""

from __future__ import annotations

import pytest

from queuectl.api import Spool
from queuectl.model.lifecycle import Outcome
from queuectl.monitor import stats
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT, Desk

OK = Outcome("succeeded", 0, "", 2.0)


def look(desk: Desk, *, since_s: float = 3600, at_most: int = 100) -> stats.Stats:
    """The figures of the last hour."""
    now_at = desk.clock.now()
    return stats.collect(desk.spool, since_at=now_at - since_s, now_at=now_at, at_most=at_most)


def test_jobs_runs_and_retries_are_counted(desk: Desk) -> None:
    """Done and dead jobs, all their runs, retries, and failures by exit code; jobs that go on are not in it."""
    desk.run(desk.enqueue(id="a"), OK)
    name = desk.enqueue(id="b", max_retries=2, backoff_base=0)
    for outcome in (Outcome("failed", 3, "", 1.0), Outcome("abandoned"), Outcome("failed", 3, "", 1.0)):
        desk.run(name, outcome)
    desk.enqueue(id="waits")
    desk.start(desk.enqueue(id="runs"))
    found = look(desk)
    assert (found.done, found.dead, found.runs, found.retries) == (1, 1, 4, 2)
    assert found.failures == {"3": 2, "abandoned": 1}
    assert not found.was_cut


def test_waiting_is_counted_from_when_a_run_could_start(desk: Desk) -> None:
    """From the enqueueing, the end of a delay or of a backoff to the start; the wait for its time is none."""
    name = desk.enqueue(id="a", delay=50, backoff_base=10)
    desk.clock.advance(53)  # 3 s after its time
    settled = desk.run(name, Outcome("failed", 1, "", 1.0))
    desk.clock.advance(10 + 7)
    desk.run(settled.name, OK)
    found = look(desk)
    assert found.waited == (2, 3.0, 7.0, 7.0)
    assert found.ran == (2, 1.0, 2.0, 2.0)


def test_percentiles_are_measured_values(desk: Desk) -> None:
    """p50 and p95 by nearest rank, and the longest."""
    for number in range(1, 101):
        desk.run(desk.enqueue(), Outcome("succeeded", 0, "", float(number)))
    assert look(desk).ran == (100, 50.0, 95.0, 100.0)


def test_an_empty_span_has_no_figures(desk: Desk) -> None:
    """Nothing ended: zeros, and no percentile."""
    found = look(desk)
    assert (found.done, found.per_hour, found.waited, found.failures) == (0, None, (0, None, None, None), {})


def test_older_jobs_and_runs_are_left_out(desk: Desk) -> None:
    """A job that ended before is not counted, nor is an earlier run of one that ended in the span."""
    desk.run(desk.enqueue(id="old"), OK)
    settled = desk.run(desk.enqueue(id="a", backoff_base=100), Outcome("failed", 1, "", 1.0))
    desk.clock.advance(7200)
    desk.run(settled.name, OK)
    found = look(desk)
    assert (found.done, found.runs, found.failures) == (1, 1, {})


def test_throughput_is_that_of_the_time_that_the_jobs_cover(desk: Desk) -> None:
    """2,000 jobs in 8 s are not 83 an hour because a day was looked at."""
    for _ in range(5):
        desk.clock.advance(2)
        desk.run(desk.enqueue(), OK)
    desk.clock.advance(600)
    found = look(desk)
    assert found.covered_s == pytest.approx(8)
    assert found.per_hour == pytest.approx(4 / 8 * 3600)


def test_very_many_are_cut_and_said_to_be(spool: SpoolDir, desk: Desk) -> None:
    """At most so many records are opened; the throughput is that of the span they reach back."""
    for _ in range(5):
        desk.clock.advance(10)
        desk.run(desk.enqueue(), OK)
    found = look(desk, at_most=3)
    assert found.was_cut
    assert (found.done, round(found.span_s)) == (3, 20)
    assert found.per_hour == pytest.approx(360)
    assert desk.clock.now() > NOON_AT


def test_stopped_runs_are_no_failures(desk: Desk) -> None:
    """A run that was put back uncounted is neither a run nor a retry."""
    settled = desk.run(desk.enqueue(id="a"), Outcome("released", None, "stopped", 1.0))
    desk.run(settled.name, OK)
    found = look(desk)
    assert (found.runs, found.retries, found.failures) == (1, 0, {})


def test_a_job_that_was_cancelled_while_it_waited_never_ran(desk: Desk) -> None:
    """It is neither done nor dead, and no run: it is counted apart."""
    desk.enqueue(id="a")
    Spool(desk.spool.root).cancel("a")
    found = look(desk, since_s=desk.clock.now())
    assert (found.dead, found.cancelled, found.runs, found.per_hour, found.failures) == (0, 1, 0, None, {})
