"""Schedules with real pools: a file in schedules/ makes jobs, and several pools make each of them once (P14)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from queuectl.model import tick_name, times
from queuectl.model.lifecycle import DONE
from queuectl.spool.folder import SpoolDir
from tests.helpers import wait_until
from tests.pool import SUCCEED, Pool


def put(spool: SpoolDir, name: str, content: dict[str, object]) -> Path:
    """Save a schedule as an editor does."""
    os.makedirs(spool.schedules_dir, exist_ok=True)
    temporary = Path(spool.schedule_path(f".{name}.tmp"))
    temporary.write_text(json.dumps(content))
    temporary.replace(spool.schedule_path(name))
    return Path(spool.schedule_path(name))


def ticks(spool: SpoolDir, schedule: str, state: str = DONE) -> list[float]:
    """The ticks of a schedule whose jobs are in a state."""
    found = [name.removesuffix(".json") for name in spool.job_names(state) if name.startswith(f"{schedule}-")]
    return sorted(times.from_name(name.removeprefix(f"{schedule}-")) or 0.0 for name in found)


def _ended(pool: Pool) -> list[str]:
    return [each["id"] for each in pool.events if each["event"] == "succeeded"]


def test_two_pools_run_each_second_once(spool: SpoolDir) -> None:
    """A schedule that is put into the folder of running pools makes one job a second, whichever pool makes it (P14)."""
    with Pool(spool).ready() as first, Pool(spool).ready() as second:
        path = put(spool, "s.json", {"command": SUCCEED, "every": 1, "overlap": "allow"})
        wait_until(lambda: len(ticks(spool, "s")) >= 5)
        path.unlink()
        wait_until(
            lambda: (
                not any(
                    name.endswith(tick_name.NOTE_ENDING) and "making" in name
                    for name in os.listdir(spool.schedules_dir)
                )
            )
        )
        made = ticks(spool, "s")
        ended = wait_until(lambda: len(found := _ended(first) + _ended(second)) >= len(made) and found)
    assert len(ended) == len(set(ended))
    made = ticks(spool, "s")
    assert made == [made[0] + number for number in range(len(made))]


def test_a_pool_catches_up_when_it_starts_and_a_drain_does_not_wait(spool: SpoolDir) -> None:
    """A tick that passed without a pool is made up for by the next pool, which drains although a next tick comes."""
    put(spool, "nightly.json", {"command": SUCCEED, "cron": "0 2 * * *", "zone": "UTC"})
    day = time.time() // 86400 * 86400
    note = tick_name.Note("nightly", day - 5 * 86400 + 7200, day - 4 * 86400 + 7200)
    Path(spool.schedule_path(note.name)).write_text("cron 0 2 * * * in UTC\n")
    with Pool(spool, "--drain") as pool:
        assert pool.wait() == 0
    (tick_at,) = ticks(spool, "nightly")
    assert time.time() - 86400 <= tick_at <= time.time()
    assert [each["event"] for each in pool.events].count("missed") == 1


def test_a_job_of_a_schedule_may_not_overlap(spool: SpoolDir) -> None:
    """With the default a job that takes longer than a tick runs alone, and ticks are counted instead."""
    with Pool(spool).ready():
        put(spool, "slow.json", {"command": "sleep 2.5" if os.name != "nt" else "ping -n 4 127.0.0.1", "every": 1})
        wait_until(lambda: len(ticks(spool, "slow")) >= 2)
        note = next(
            note for name in os.listdir(spool.schedules_dir) if (note := tick_name.parse_note(name)) is not None
        )
    first, second = ticks(spool, "slow")[:2]
    assert second - first >= 3
    assert note.skipped >= 2
