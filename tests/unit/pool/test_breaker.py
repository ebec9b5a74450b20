"""breaker: what the machine cannot do is reported once and waited for (P9)."""

from __future__ import annotations

from queuectl.model.notice import Notice
from queuectl.pool.breaker import Breaker
from tests.helpers import FakeClock


def test_trouble_is_reported_once_and_waited_for_longer_each_time() -> None:
    """Several reports of one trouble, of several workers, cost one wait; only a new try that fails makes it longer."""
    clock = FakeClock()
    told: list[Notice] = []
    breaker = Breaker("/spool", clock=clock, notify=told.append)
    waits = []
    for _ in range(3):
        for _ in range(4):
            breaker.trip("no space: /spool/tmp")
        before_s = clock.monotonic()
        while breaker.is_open:
            clock.advance(0.1)
        waits.append(round(clock.monotonic() - before_s, 1))
    assert waits == [0.5, 1.0, 2.0]
    assert [kind for _, kind, _ in told] == ["trouble"]
    breaker.reset()
    breaker.reset()
    assert [kind for _, kind, _ in told] == ["trouble", "resumed"]
