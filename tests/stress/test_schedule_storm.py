"""Schedules under random SIGKILL: three processes make ticks over fake days, and each tick is one job (P14).

The processes share a clock that jumps by hours, and in one test it is wrong by a year at times. `QUEUECTL_LONG=10
pytest -m slow tests/stress/test_schedule_storm.py -s` is a long run, over more than a year.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.jobs.ticker import Ticker
from queuectl.model import tick_name, times, timetable
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.model.settings import defaults
from queuectl.spool import schedule_files
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from tests.helpers import LONG, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")

# 2026-10-24T12:00:00Z: the night after it Berlin sets its clocks back.
START_AT = 1_792_843_200.0
YEAR_S = 365 * 86400.0
CALM_DAYS = 2.4
SCHEDULES = {
    "hourly": ("0 * * * *", "Europe/Berlin"),
    "half": ("*/30 * * * *", "Australia/Lord_Howe"),
    "nightly": ("30 2 * * *", "Europe/Berlin"),
    "odd": ("7,37 1-4 * * *", "Africa/Casablanca"),
}


class SharedClock(Clock):
    """A clock that stands still until somebody moves it, the same for all processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> float:  # type: ignore[override]
        """Return the fake time."""
        return float(self._path.read_text())

    def move(self, now_at: float) -> None:
        """Set the time."""
        temporary = self._path.with_suffix(".new")
        temporary.write_text(str(now_at))
        temporary.replace(self._path)


class Looking:
    """Processes that make ticks, each of which looks without end."""

    def __init__(self, root: str, clock: SharedClock, count: int) -> None:
        self._root, self._clock = root, clock
        self._has_looked = mmap.mmap(-1, count)  # shared with the processes
        self._pids = [0] * count
        self.started = 0
        for place in range(count):
            self._start(place)

    def _start(self, place: int) -> None:
        self.started += 1
        self._has_looked[place] = 0
        self._pids[place] = os.fork()
        if self._pids[place]:
            return
        try:
            spool = SpoolDir.open(self._root)
            rng = random.Random(self.started)
            session = Session(spool, defaults()._replace(durability="off"), self._clock, rng)
            ticker = Ticker(session, notify=lambda _: None)
            while True:
                ticker.look(schedule_files.names(spool), list_again=lambda: schedule_files.names(spool))
                self._has_looked[place] = 1
                time.sleep(rng.uniform(0, 0.002))
        finally:
            os._exit(1)

    def has_looked(self, place: int) -> bool:
        """Return whether a process has finished a look."""
        return bool(self._has_looked[place])

    def replace(self, place: int) -> None:
        """SIGKILL a process and start another in its place."""
        self._kill(place)
        self._start(place)

    def _kill(self, place: int) -> None:
        os.kill(self._pids[place], signal.SIGKILL)
        os.waitpid(self._pids[place], 0)

    def kill(self) -> None:
        """SIGKILL all."""
        for place in range(len(self._pids)):
            self._kill(place)


def _jobs(spool: SpoolDir) -> Iterator[str]:
    for state in (PENDING, RUNNING, DONE, DLQ):
        for name in spool.job_names(state):
            yield name.partition(",")[0].removesuffix(".json")


def _lag_s(spool: SpoolDir, now_at: float) -> float:
    """By how much the pools are behind."""
    notes = [note for name in os.listdir(spool.schedules_dir) if (note := tick_name.parse_note(name)) is not None]
    if len({note.schedule for note in notes}) < len(SCHEDULES):
        return YEAR_S
    return max(now_at - (note.next_at or note.making_at or 0.0) for note in notes)


def _storm(spool: SpoolDir, tmp_path: Path, *, days: float, wrong_clock: bool) -> tuple[int, float]:
    """Let three pools make ticks, kill them at random and move their jobs; return the kills and the end."""
    os.makedirs(spool.schedules_dir, exist_ok=True)
    for name, (cron, zone) in SCHEDULES.items():
        keys = {"command": "true", "cron": cron, "zone": zone, "overlap": "allow", "catch_up": "all"}
        Path(spool.schedule_path(f"{name}.json")).write_text(json.dumps(keys))
    clock = SharedClock(tmp_path / "clock")
    clock.move(now_at := START_AT)
    rng = random.Random(int(os.environ.get("QUEUECTL_STORM_SEED", "1")))
    kills, pools = 0, Looking(spool.root, clock, 3)
    try:
        wait_until(lambda: _lag_s(spool, now_at) < 0)
        while now_at < START_AT + days * 86400:
            time.sleep(rng.uniform(0.001, 0.02))  # between two kills, not for a condition
            place, is_early = rng.randrange(3), rng.random() < 0.05
            # Few are killed in their first look: on a busy machine none would ever come to the end of one.
            if rng.random() < 0.5 and (is_early or pools.has_looked(place)):
                pools.replace(place)
                kills += 1
            for name in spool.job_names(PENDING)[: rng.randrange(3)]:
                target = f"{name.partition(',')[0].removesuffix('.json')}.json"
                with contextlib.suppress(FileNotFoundError):  # it was just published and gets its name
                    os.rename(spool.path(PENDING, name), spool.path(rng.choice([RUNNING, DONE, DLQ]), target))
            if wrong_clock and rng.random() < 0.1:
                clock.move(now_at + rng.choice([YEAR_S, -YEAR_S, 7200.0, -7200.0]))
                time.sleep(0.02)
                clock.move(now_at)
            elif _lag_s(spool, now_at) < 86400:  # catch_up makes a hundred jobs
                clock.move(now_at := now_at + rng.uniform(0, 3 * 3600))
        wait_until(lambda: _lag_s(spool, now_at) < 0)
        if wrong_clock:
            now_at = _go_on(spool, clock, pools, now_at)
    finally:
        pools.kill()
    return kills, now_at


def _go_on(spool: SpoolDir, clock: SharedClock, pools: Looking, now_at: float) -> float:
    """Let CALM_DAYS pass for pools that were started with a clock that is right; return the end.

    A pool that has read a wrong time may write it down later, and another replaces that only when it starts or has seen
    the wrong time too.
    """
    for place in range(3):
        pools.replace(place)
    for _ in range(3):
        wait_until(lambda: not _is_ahead(spool, now_at))
        clock.move(now_at := now_at + CALM_DAYS * 86400 / 3)
        wait_until(lambda: _lag_s(spool, now_at) < 0)
    return now_at


def _is_ahead(spool: SpoolDir, now_at: float) -> bool:
    """Whether a schedule waits for a tick that is not its next one."""
    notes = [note for name in os.listdir(spool.schedules_dir) if (note := tick_name.parse_note(name)) is not None]
    right = {note.schedule for note in notes if note.next_at == timetable.Cron(*SCHEDULES[note.schedule]).after(now_at)}
    return len(right) < len(SCHEDULES)


def _judge(spool: SpoolDir, end_at: float) -> int:
    """Check that each tick has one job; return how many there are."""
    found = Counter(_jobs(spool))
    assert [job_id for job_id, count in found.items() if count > 1] == []
    for name, (cron, zone) in SCHEDULES.items():
        table = timetable.Cron(cron, zone)
        made = [
            times.from_name(job_id.removeprefix(f"{name}-")) or 0.0 for job_id in found if job_id.startswith(f"{name}-")
        ]
        first_at = min(at for at in made if at > START_AT)
        for tick_at in table.since(first_at - 1):
            if tick_at > end_at:
                break
            assert tick_at in made, f"{name} has no job of {times.to_text(tick_at)}"
        assert all(table.after(at - 1) == at for at in made)
    notes = [each for each in os.listdir(spool.schedules_dir) if each.endswith(".tick")]
    assert len(notes) == len(SCHEDULES)
    return len(found)


def test_three_pools_that_are_killed_make_each_tick_once(spool: SpoolDir, tmp_path: Path) -> None:
    """P14: four fake days, kills at random, jobs that move on meanwhile: no tick twice, none missing."""
    kills, end_at = _storm(spool, tmp_path, days=4, wrong_clock=False)
    print(f"{kills} kills, {_judge(spool, end_at)} ticks of {len(SCHEDULES)} schedules, none twice, none missing")
    assert kills > 3


@pytest.mark.slow
def test_a_long_storm_makes_each_tick_once(spool: SpoolDir, tmp_path: Path) -> None:
    """P14: the same for longer."""
    kills, end_at = _storm(spool, tmp_path, days=40 * LONG, wrong_clock=False)
    print(f"{kills} kills, {_judge(spool, end_at)} ticks of {len(SCHEDULES)} schedules, none twice, none missing")


def test_clocks_that_are_wrong_by_a_year_make_no_tick_twice(spool: SpoolDir, tmp_path: Path) -> None:
    """P14: the clock jumps by a year and back while pools are killed: no job is made twice; then none is missing."""
    kills, end_at = _storm(spool, tmp_path, days=3, wrong_clock=True)
    found = Counter(_jobs(spool))
    assert [job_id for job_id, count in found.items() if count > 1] == []
    for name, (cron, zone) in SCHEDULES.items():
        calm = timetable.Cron(cron, zone).newest(end_at - CALM_DAYS * 86400, end_at, 1000)
        assert [tick_at for tick_at in calm if f"{name}-{times.to_name(tick_at)}" not in found] == []
        assert len(calm) >= 2
    print(f"{kills} kills, {len(found)} ticks, none twice")
