"""drain: when a pool ends by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from queuectl.model.notice import INFO, Notice
from queuectl.model.settings import Settings
from queuectl.pool.drain import Drain
from queuectl.pool.notices import Event
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk
from tests.unit.pool.conftest import StillPool, store_retries

Make = Callable[..., tuple[StillPool, Drain]]


@pytest.fixture
def make(spool: SpoolDir, settings: Settings) -> Iterator[Make]:
    """Makes pools with options, and the duty that ends each."""
    pools: list[StillPool] = []

    def new(*, busy: bool = False, **options: bool | int) -> tuple[StillPool, Drain]:
        pool = StillPool(spool, settings, **options)
        pools.append(pool)
        parts = pool.parts
        return pool, Drain(parts.core, parts.outcomes, parts._rescuer, busy=[lambda: busy], on_end=lambda: None)

    yield new
    for pool in pools:
        pool.close()


def ends(pool: StillPool, drain: Drain) -> bool:
    """Do a step; return whether the end has begun."""
    drain.step(0.0)
    return pool.parts.core.shutdown.has_begun


def test_a_pool_that_drains_ends_with_an_empty_spool(make: Make) -> None:
    """Nothing waits and nothing runs."""
    assert ends(*make(drain=True))


def test_a_pool_that_does_not_drain_goes_on(make: Make) -> None:
    """An empty spool is no reason to end."""
    assert not ends(*make())


def test_the_listing_decides_and_not_the_memory(make: Make, desk: Desk) -> None:
    """P8: a job that came since the last listing is found before the pool ends."""
    pool, drain = make(drain=True)
    desk.enqueue(id="job")
    assert not ends(pool, drain) and len(pool.parts.core.queue) == 1


def test_a_job_that_runs_elsewhere_is_waited_for(make: Make, desk: Desk) -> None:
    """It may come back: its worker may die."""
    desk.start(desk.enqueue(id="job"))
    assert not ends(*make(drain=True))


def test_whoever_is_busy_keeps_a_pool_from_its_end(make: Make) -> None:
    """A pause, a repair, a worker that has not begun, an inbox that was not listed."""
    assert not ends(*make(busy=True, drain=True))


def test_a_pool_ends_after_its_last_run(make: Make) -> None:
    """With `max_jobs`, whatever else waits."""
    pool, drain = make(max_jobs=2)
    pool.parts.outcomes.finished = 1
    assert not ends(pool, drain)
    pool.parts.outcomes.finished = 2
    assert ends(pool, drain)


def told(pool: StillPool, drain: Drain) -> list[Event]:
    """Do some steps; return what they have told."""
    for _ in range(3):
        drain.step(0.0)
    events = pool.told.copy()
    pool.told.clear()
    return events


def test_a_wait_for_delayed_jobs_is_announced_once(make: Make, spool: SpoolDir) -> None:
    """A pool that drains and has only delayed jobs says how many, and when the next is due; again after it ran one."""
    pool, drain = make(drain=True)
    store_retries(spool, 2, at=pool.clock.now(), delay_s=3540.0)
    core = pool.parts.core
    core.queue.update(*spool.waiting(), pool.clock.now())
    notice = Notice(INFO, "waiting", "for 2 delayed jobs, the next in 59m00s; press Ctrl-C to stop")
    assert told(pool, drain) == [notice]
    core.queue.add(["urgent.json"], pool.clock.now())
    assert told(pool, drain) == []
    core.queue.forget(core.queue.take() or "")
    assert told(pool, drain) == [notice]


@pytest.mark.parametrize("facts", [{"drain": False}, {"busy": True}, {"delay_s": 1.4}])
def test_a_wait_is_announced_only_if_it_matters(make: Make, spool: SpoolDir, facts: dict[str, float]) -> None:
    """Not by a pool that goes on anyway or has other work, and not for a delay that is over soon."""
    pool, drain = make(busy=bool(facts.get("busy")), drain=bool(facts.get("drain", True)))
    store_retries(spool, 1, at=pool.clock.now(), delay_s=facts.get("delay_s", 60.0))
    pool.parts.core.queue.update(*spool.waiting(), pool.clock.now())
    assert told(pool, drain) == []
