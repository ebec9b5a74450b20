"""counters: what a pool counts in memory and adds to the counts of its spool."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs.verdict import Settled
from queuectl.maintenance.rescuer import Rescued
from queuectl.model.lifecycle import DLQ, DONE, PENDING, Outcome
from queuectl.model.settings import Settings
from queuectl.pool.counters import EVERY_S, Counters
from queuectl.spool import counts
from queuectl.spool.counts import DRAINED, STOPPED, Ended, Row
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import disk
from queuectl.system.locks import FileLock
from queuectl.worker.messages import Finished
from tests.helpers import NOON_AT, FakeClock, full_disk
from tests.unit.pool.conftest import StillPool

Make = Callable[..., Counters]
NOON = int(NOON_AT)


@pytest.fixture
def make(spool: SpoolDir, settings: Settings, clock: FakeClock) -> Iterator[Make]:
    """Makes the counters of pools on one spool."""
    made: list[Counters] = []

    def new(**changed: Any) -> Counters:
        made.append(Counters(Session(spool, settings._replace(**changed), clock, random.Random(1))))
        return made[-1]

    yield new
    for each in made:
        each.close()


def test_two_pools_add_to_one_file(spool: SpoolDir, make: Make) -> None:
    """What each pool counts is in the sum, and so is how the last of them ended."""
    one, other = make(), make()
    for state in (DONE, DONE, DLQ, PENDING):
        one.count(state)
    other.count(DONE)
    one.sample(5, 2)
    one.end(None)
    other.end(Ended("other", STOPPED, NOON_AT))
    found = counts.read(spool)
    assert found is not None
    assert found.minutes == found.quarters == (Row(NOON, 3, 1, 1, 5, 2),)
    assert found.ended == Ended("other", STOPPED, NOON_AT)


def test_it_writes_every_few_seconds_and_only_news(
    spool: SpoolDir, make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand jobs a second cost one write in 5 s, and an idle pool none."""
    writes: list[object] = []
    write = counts.write
    monkeypatch.setattr(counts, "write", lambda *facts: writes.append(facts) or write(*facts))
    made = make()
    for _ in range(150):
        for _ in range(200):
            made.count(DONE)
        clock.advance(0.2)
        made.step(clock.monotonic())
    assert len(writes) == 30 / EVERY_S
    for _ in range(150):
        clock.advance(0.2)
        made.step(clock.monotonic())
    assert len(writes) == 30 / EVERY_S
    found = counts.read(spool)
    assert found is not None and sum(row.done for row in found.minutes) == 150 * 200


def test_a_busy_lock_and_a_full_disk_lose_nothing(
    spool: SpoolDir, make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: what could not be written is written later."""
    made = make()
    made.count(DONE)
    clock.advance(EVERY_S)
    other = FileLock(spool.counts_lock_path)
    assert other.try_acquire()
    made.step(clock.monotonic())
    assert counts.read(spool) is None
    other.close()
    with monkeypatch.context() as full:
        full.setattr(disk, "write_all", full_disk)
        with pytest.raises(OSError, match=os.strerror(28)):
            made.step(clock.monotonic())
    assert os.listdir(spool.tmp_dir) == []
    made.count(DONE)
    made.step(clock.monotonic())
    found = counts.read(spool)
    assert found is not None and sum(row.done for row in found.minutes) == 2


def test_memory_is_bounded_while_the_disk_is_full(spool: SpoolDir, make: Make, clock: FakeClock) -> None:
    """P9: counts that the file would not keep are not kept in memory either."""
    made = make()
    other = FileLock(spool.counts_lock_path)
    assert other.try_acquire()
    for _ in range(3 * 24 * 60):
        made.count(DONE)
        made.sample(1, 1)
        clock.advance(60)
        made.step(clock.monotonic())
    other.close()
    assert max(len(made._ended), len(made._samples)) <= 24 * 60 + 1


@pytest.mark.parametrize("content", [b"torn", b"{}"])
def test_other_content_is_replaced(spool: SpoolDir, make: Make, content: bytes) -> None:
    """A file that a crash or a person left does not stop the counting."""
    Path(spool.counts_path).write_bytes(content)
    made = make()
    made.count(DLQ)
    made.end(None)
    found = counts.read(spool)
    assert found is not None and found.minutes == (Row(NOON, failed=1),)


def test_nothing_is_written_without_a_dashboard(spool: SpoolDir, make: Make, clock: FakeClock) -> None:
    """With `dashboard = "off"` there is neither a file nor a lock."""
    made = make(dashboard="off")
    made.count(DONE)
    made.sample(1, 1)
    clock.advance(60)
    made.step(clock.monotonic())
    made.end(Ended("pool", DRAINED, NOON_AT))
    assert not os.path.exists(spool.counts_path) and not os.path.exists(spool.counts_lock_path)


@pytest.mark.parametrize(
    ("to", "cancelled", "row"),
    [(DONE, False, Row(NOON, done=1)), (DLQ, False, Row(NOON, failed=1)), (DLQ, True, None), (PENDING, False, None)],
)
def test_rescued_jobs_are_counted_where_they_end(
    pool: StillPool, monkeypatch: pytest.MonkeyPatch, to: str, cancelled: bool, row: Row | None
) -> None:
    """A job whose worker died counts when it is done or dead; one that is put back is not known to have failed."""
    rescued = Rescued("job", Settled(to, "job.json", None, None, "", cancelled))
    monkeypatch.setattr(pool.parts.outcomes._rescuer, "rescue_all", lambda _mine: [rescued])
    pool.parts.outcomes.rescue(0.0)
    pool.parts._dashboard._counters.end(None)
    found = counts.read(pool.parts.core.session.spool)
    assert found is not None and found.minutes == (() if row is None else (row,))


@pytest.mark.parametrize(
    ("kind", "to", "row"),
    [
        ("succeeded", DONE, Row(NOON, done=1)),
        ("failed", DLQ, Row(NOON, failed=1)),
        ("failed", PENDING, Row(NOON, retried=1)),
        ("cancelled", DLQ, None),
        ("released", PENDING, None),
    ],
)
def test_outcomes_of_a_pool_are_counted(pool: StillPool, kind: str, to: str, row: Row | None) -> None:
    """Jobs that are done, dead or to be tried again count; cancelled ones and those put back uncounted do not."""
    settled = Settled(to, "job.json", None, None, "")
    report = Finished("job.json", "job", 1, Outcome(kind, 1), settled, 0, 2, "true")
    pool.parts.outcomes.take(pool.parts.core.workers[0], report)
    pool.parts._dashboard._counters.end(None)
    found = counts.read(pool.parts.core.session.spool)
    assert found is not None and found.minutes == (() if row is None else (row,))
