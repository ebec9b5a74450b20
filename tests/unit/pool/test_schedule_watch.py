"""When a pool looks at schedules/: every 2 s, at once when a tick is due, and for nothing without schedules."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from queuectl.model.lifecycle import PENDING
from queuectl.model.settings import defaults
from queuectl.pool import schedule_watch
from queuectl.pool.schedule_watch import LOOK_EVERY_S, ScheduleWatch
from queuectl.spool import schedule_files
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from tests.helpers import FakeClock


class RunningClock(FakeClock):
    """A clock on which each question takes a microsecond."""

    def monotonic(self) -> float:
        """Return the time, and let a little pass."""
        self.advance(1e-6)
        return self.monotonic_s


@pytest.fixture
def clock() -> FakeClock:
    """A clock that never stands still."""
    return RunningClock()


def make_watch(spool: SpoolDir, clock: FakeClock, added: list[str]) -> ScheduleWatch:
    """A duty of a pool that has nothing else."""
    core: Any = SimpleNamespace(
        session=Session(spool, defaults(), clock, random.Random(1)),
        shutdown=SimpleNamespace(has_begun=False),
        dispatcher=SimpleNamespace(add=added.extend),
        notify=lambda _: None,
    )
    return ScheduleWatch(core, SimpleNamespace(is_in_place=True), is_local=True)  # type: ignore[arg-type]


def put(spool: SpoolDir, keys: dict[str, object]) -> None:
    """Write a schedule."""
    os.makedirs(spool.schedules_dir, exist_ok=True)
    Path(spool.schedule_path("a.json")).write_text(json.dumps({"command": "true", **keys}))


def test_the_loop_wakes_for_a_tick_and_makes_it_in_that_round(spool: SpoolDir, clock: FakeClock) -> None:
    """The step at the instant for which the loop was woken makes the job, and the next wake is the next tick."""
    put(spool, {"every": 10, "overlap": "allow"})
    added: list[str] = []
    watch = make_watch(spool, clock, added)
    watch.step(clock.monotonic())
    while watch.due_s() - clock.monotonic_s > 1:  # the looks in between
        clock.advance(watch.due_s() - clock.monotonic_s)
        watch.step(clock.monotonic())
        if added:
            break
    assert len(added) == 1 or clock.now_at % 10 > 8
    while not added:
        clock.advance(max(0.0, watch.due_s() - clock.monotonic_s))
        watch.step(clock.monotonic())
    assert clock.now_at % 10 < 0.01
    assert spool.job_names(PENDING) == added
    watch.close()


def test_each_tick_is_made_in_its_own_round(spool: SpoolDir, clock: FakeClock) -> None:
    """A schedule of each second makes a job a second: no tick waits for the next look."""
    put(spool, {"every": 1, "overlap": "allow"})
    added: list[str] = []
    watch = make_watch(spool, clock, added)
    watch.step(clock.monotonic())
    for number in range(1, 6):
        rounds = 0
        while len(added) < number:
            clock.advance(max(0.0, watch.due_s() - clock.monotonic_s))
            watch.step(clock.monotonic())
            rounds += 1
        assert rounds == 1
        assert clock.now_at % 1 < 0.01
    watch.close()


def test_a_pool_without_schedules_looks_every_two_seconds_and_imports_nothing(
    spool: SpoolDir, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty schedules/, or none, costs a look now and then."""
    watch = make_watch(spool, clock, [])
    monkeypatch.setattr(schedule_files, "entries", lambda _: pytest.fail("read"))
    for _ in range(3):
        now_s = clock.monotonic()
        watch.step(now_s)
        assert watch.due_s() == now_s + LOOK_EVERY_S
        clock.advance(LOOK_EVERY_S)
    watch.close()


def test_a_pool_and_a_command_import_no_time_zones_without_schedules() -> None:
    """cronsim, zoneinfo and tzlocal are loaded where schedules are, and nowhere else."""
    program = (
        "import sys; import queuectl.pool.parts, queuectl.api, queuectl.monitor.status, queuectl.cli.commands.status;"
        "print([name for name in ('cronsim', 'zoneinfo', 'tzlocal', 'queuectl.jobs.ticker') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_trouble_is_reported_once_and_tried_again_at_the_next_look(
    spool: SpoolDir, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick that cannot be made now (a full disk) keeps the loop from nothing else, and stops no other job (P9)."""
    put(spool, {"every": 1, "overlap": "allow"})
    told: list[Any] = []
    watch = make_watch(spool, clock, [])
    watch._core.notify = told.append  # type: ignore[misc]
    watch.step(clock.monotonic())
    monkeypatch.setattr("queuectl.jobs.enqueue.Producer.publish", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    clock.advance(1)
    for _ in range(3):
        now_s = clock.monotonic()
        watch.step(now_s)
        assert watch.due_s() >= now_s + schedule_watch.LOOK_EVERY_S - 0.1
        clock.advance(LOOK_EVERY_S)
    assert len(told) == 1
    monkeypatch.undo()
    watch.step(clock.monotonic())
    assert spool.job_names(PENDING)
    watch.close()
