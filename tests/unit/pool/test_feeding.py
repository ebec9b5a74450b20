"""feeding: when the loop wakes to suggest names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.jobs.verdict import Busy
from queuectl.model.lifecycle import PENDING
from queuectl.pool.feeding import Feeding, PromptFeeding
from queuectl.spool.folder import SpoolDir
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


@pytest.fixture
def prompt(pool: StillPool) -> PromptFeeding:
    """The first duty of a pool whose worker is ready."""
    parts = pool.parts
    parts.core.workers[0].is_ready = True
    parts.scanner.scan()
    first = parts.duties()[0]
    assert isinstance(first, PromptFeeding)
    return first


@pytest.mark.parametrize(
    "names",
    [["a.json"], ["a,prio=5.json"], ["20261124-031500-000001-aaaa.json", "20261124-031500-000000-aaaa.json"]],
)
def test_the_names_of_events_go_to_workers_before_anything_else(
    pool: StillPool, prompt: PromptFeeding, names: list[str]
) -> None:
    """Whether they go the short way or not; each is there once."""
    core, scanner = pool.parts.core, pool.parts.scanner
    scanner.fresh += names
    prompt.step(pool.clock.monotonic())
    assert list(core.workers[0].outstanding) == [names[-1]]
    assert all(core.queue.knows(name) for name in names) and scanner.fresh == []
    prompt.step(pool.clock.monotonic())
    assert len(core.workers[0].outstanding) == 1 and len(core.queue) == len(names) - 1


@pytest.mark.parametrize("block", [pause, stop, trip])
def test_no_name_of_an_event_goes_to_a_worker_while_nothing_may_start(
    pool: StillPool, prompt: PromptFeeding, block: Callable[[StillPool], None]
) -> None:
    """It waits with the others."""
    block(pool)
    pool.parts.scanner.fresh.append("a.json")
    prompt.step(pool.clock.monotonic())
    assert not pool.parts.core.workers[0].outstanding and len(pool.parts.core.queue) == 1


@pytest.mark.parametrize("flags", ["", ",prio=-9"])
def test_a_listing_that_is_due_comes_before_the_name_of_an_event(
    spool: SpoolDir, pool: StillPool, prompt: PromptFeeding, flags: str
) -> None:
    """A job that has waited for longer, and no event has told of, runs first."""
    parts = pool.parts
    early, late = "20261124-031500-000000-aaaa.json", f"20261124-031500-000001-bbbb{flags}.json"
    Path(spool.path(PENDING, early)).touch()
    parts.scanner.scan_soon()
    parts.scanner.fresh.append(late)
    feeding = next(each for each in parts.duties() if isinstance(each, Feeding))
    for duty in (prompt, parts.scanner, feeding):
        duty.step(pool.clock.monotonic())
    assert list(parts.core.workers[0].outstanding) == [early]
    assert parts.core.queue.knows(late)
