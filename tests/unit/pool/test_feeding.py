"""feeding: when the loop wakes to suggest names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from queuectl.jobs.verdict import Busy
from queuectl.pool.feeding import Feeding
from tests.unit.pool.conftest import StillPool


def pause(pool: StillPool) -> None:
    """Have the pool paused."""
    pool.parts.control.is_paused = True


def stop(pool: StillPool) -> None:
    """Have the pool wait for its running jobs."""
    pool.parts.core.shutdown.begin(pool.clock.monotonic(), 3600.0)


def trip(pool: StillPool) -> None:
    """Have the pool wait for the machine."""
    pool.parts.core.breaker.trip("disk full")


@pytest.mark.parametrize("block", [pause, stop, trip])
def test_no_loop_without_a_wait_while_nothing_may_start(pool: StillPool, block: Callable[[StillPool], None]) -> None:
    """A name that is to be tried again would be due all the time, because nobody takes it."""
    core, parts = pool.parts.core, pool.parts
    feeding = Feeding(core, parts._early_judge, parts.scanner, parts.control)
    core.dispatcher.passed(None, "report.json", Busy())
    pool.clock.advance(5.0)
    due_s = feeding.due_s()
    assert due_s is not None and due_s <= pool.clock.monotonic()
    block(pool)
    feeding.step(pool.clock.monotonic())
    assert feeding.due_s() is None
    assert not core.dispatcher.is_empty
