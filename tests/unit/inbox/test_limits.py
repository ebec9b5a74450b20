"""limits: how many files of an inbox may be taken in or rejected now."""

from __future__ import annotations

from queuectl.inbox.limits import AT_ONCE, Limits
from queuectl.model.inbox import Inbox
from tests.helpers import FakeClock


def test_jobs_that_wait_fill_the_room() -> None:
    """max_waiting counts what waits already, and what this poll takes in; rejected files need no room."""
    limits = Limits(Inbox(path="/x", owner="anna", mode="trusted", max_waiting=3), clock=FakeClock())
    limits.begin(1)
    limits.count(taken=False)
    limits.count(taken=True)
    assert limits.reached() == ""
    limits.count(taken=True)
    assert limits.reached() == "max_waiting = 3"
    assert limits.may_reject


def test_a_minute_later_the_rate_is_free_again() -> None:
    """max_per_minute counts files that were taken in or rejected, within the last minute of our own clock."""
    clock = FakeClock()
    limits = Limits(Inbox(path="/x", owner="anna", mode="trusted", max_per_minute=2), clock=clock)
    limits.begin(0)
    limits.count(taken=True)
    clock.advance(30)
    limits.count(taken=False)
    assert limits.reached() == "max_per_minute = 2" and not limits.may_reject
    clock.advance(30)
    limits.begin(0)
    assert limits.reached() == "" and limits.may_reject


def test_a_poll_does_a_share_of_the_work() -> None:
    """Without a limit in the settings each poll ends after so many files, and the next one begins anew."""
    limits = Limits(Inbox(path="/x", owner="anna", mode="trusted"), clock=FakeClock())
    limits.begin(0)
    for _ in range(AT_ONCE):
        assert not limits.is_poll_full
        limits.count(taken=False)
    assert limits.is_poll_full and not limits.may_reject
    limits.begin(0)
    assert not limits.is_poll_full
