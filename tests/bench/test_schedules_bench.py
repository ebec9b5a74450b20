"""What schedules cost a pool: measured and printed, never asserted."""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from pathlib import Path

import pytest

from queuectl.jobs.ticker import Ticker
from queuectl.model import times
from queuectl.model.lifecycle import DONE, STARTED
from queuectl.model.settings import defaults
from queuectl.spool import schedule_files
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from tests.helpers import wait_until
from tests.pool import SUCCEED, Pool

pytestmark = pytest.mark.bench


def _put(spool: SpoolDir, name: str, keys: dict[str, object]) -> None:
    os.makedirs(spool.schedules_dir, exist_ok=True)
    Path(spool.schedule_path(f"{name}.json")).write_text(json.dumps({"command": SUCCEED, **keys}))


def test_cpu_of_a_look_at_a_thousand_schedules(spool: SpoolDir) -> None:
    """The CPU of a look that a pool makes every 2 s while nothing is due; 0.2 % of a core are 4 ms."""
    for number in range(1000):
        _put(spool, f"s{number}", {"cron": f"{number % 60} {number % 24} 1 1 *", "zone": "UTC"})
    ticker = Ticker(Session(spool, defaults(), Clock(), random.Random(1)), notify=lambda _: None)
    listed = schedule_files.names(spool)
    while ticker.look(listed, list_again=lambda: schedule_files.names(spool)) or ticker.is_behind:
        listed = schedule_files.names(spool)
    listed = schedule_files.names(spool)
    for _ in range(30):
        ticker.look(listed, list_again=lambda: listed)
    began_s = time.process_time()
    for _ in range(200):
        ticker.look(listed, list_again=lambda: listed)
    look_ms = (time.process_time() - began_s) / 200 * 1000
    began_s = time.process_time()
    for _ in range(50):
        schedule_files.names(spool)
    listing_ms = (time.process_time() - began_s) / 50 * 1000
    ticker.close()
    print(f"\na look at 1,000 schedules: {look_ms:.2f} ms of CPU, a listing: {listing_ms:.2f} ms")


def test_latency_of_a_tick(spool: SpoolDir) -> None:
    """From the instant of a tick to `started`, for a schedule of each second."""
    with Pool(spool, count=2).ready():
        _put(spool, "s", {"every": 1, "overlap": "allow"})
        wait_until(lambda: len(spool.job_names(DONE)) >= 20)
        names = sorted(spool.job_names(DONE))[1:]
    late_ms = []
    for name in names:
        history = spool.read(DONE, name).record.history
        started_at = times.from_text(next(event.at for event in history if event.event == STARTED))
        late_ms.append((started_at - (times.from_name(name[2:-5]) or 0.0)) * 1000)
    late_ms.sort()
    print(f"\ntick to start, ms: p50 {statistics.median(late_ms):.0f}, max {late_ms[-1]:.0f}")
