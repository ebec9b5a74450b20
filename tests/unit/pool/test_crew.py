"""crew: when a worker is started again."""

from __future__ import annotations

import os

import pytest

from queuectl.model.notice import Notice
from queuectl.pool.crew import WorkerSource
from queuectl.pool.worker_process import WorkerProcess
from queuectl.worker.process import WorkerSpec
from tests.unit.pool.conftest import StillPool


def texts(pool: StillPool, kind: str) -> list[str]:
    """The texts of one kind of what a pool has reported."""
    return [event.text for event in pool.told if isinstance(event, Notice) and event.kind == kind]


def test_a_start_that_fails_is_tried_again_after_a_second(pool: StillPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: it is reported once until one succeeds, and the pool goes on meanwhile."""
    tries = []

    def no_more(_self: WorkerProcess, _session: object, spec: WorkerSpec, **_keys: object) -> None:
        tries.append(spec.name)
        raise BlockingIOError(11, os.strerror(11))

    monkeypatch.setattr(WorkerProcess, "start", no_more)
    for now_s in (0.0, 0.2, 0.9, 1.0, 2.0):
        pool.parts.crew.step(now_s)
    assert [name.rpartition("-")[2] for name in tries] == ["1", "2", "3"]
    assert len(texts(pool, "trouble")) == 1


def test_workers_that_die_at_once_are_started_more_slowly(pool: StillPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five deaths within 5 s: the next start waits for a second after the last."""
    started: list[float] = []
    monkeypatch.setattr(WorkerProcess, "start", lambda *_facts, **_keys: started.append(pool.clock.monotonic()))
    (worker,) = pool.parts.core.workers
    for _ in range(5):
        pool.parts.crew.lost(worker)
    died_s = pool.clock.monotonic()
    for _ in range(8):
        pool.parts.crew.step(pool.clock.monotonic())
        pool.clock.advance(0.3)
    assert started[0] == pytest.approx(died_s + 1.2)
    assert len(texts(pool, "worker_lost")) == 5


def test_the_end_of_a_pool_starts_no_worker(pool: StillPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends then is no loss, and nobody reports it."""
    monkeypatch.setattr(WorkerProcess, "start", lambda *_facts, **_keys: pytest.fail("it was started"))
    pool.parts.core.shutdown.begin(0.0, 10.0)
    pool.parts.crew.lost(pool.parts.core.workers[0])
    pool.parts.crew.step(1.0)
    assert texts(pool, "worker_lost") == []


def test_names_of_a_lost_worker_are_queued_again(pool: StillPool) -> None:
    """P5: others get them, in their order; and the next tick comes at once."""
    calls: list[str] = []
    pool.parts.crew.on_lost = lambda: calls.append("tick")
    (worker,) = pool.parts.core.workers
    worker.outstanding.update({"a.json": 0.0, "b.json": 0.0})
    pool.parts.crew.lost(worker)
    assert [pool.parts.core.queue.take() for _ in range(2)] == ["a.json", "b.json"] and calls == ["tick"]


def test_a_worker_that_is_not_wanted_and_not_alive_is_forgotten(
    pool: StillPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that is made smaller while a dead worker waits for its start does not keep it for ever."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    crew = pool.parts.crew
    pool.parts.sources()
    crew.scale(3)
    assert [worker.slots for worker in pool.parts.core.workers] == [1, 1, 1]
    crew.scale(1)
    assert len(pool.parts.core.workers) == 1
    assert sum(isinstance(source, WorkerSource) for source in crew._sources) == 1


def test_a_worker_that_met_a_defect_is_replaced_while_its_other_runs_go_on(
    pool: StillPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P5: others get its names at once; it is no loss when it ends; defects in a row slow the starts as deaths do."""
    crew, workers = pool.parts.crew, pool.parts.core.workers
    pool.parts.sources()
    monkeypatch.setattr(WorkerProcess, "is_alive", True)
    crew.scale(1)
    (worker,) = workers
    worker.outstanding.update({"runs.json": 0.0, "waits.json": 0.0})
    worker.running["runs.json"] = "runs"
    crew.replace(worker)
    crew.replace(worker)
    assert [(each is worker, each.is_retired, each.slots) for each in workers] == [(True, True, 1), (False, False, 1)]
    assert pool.parts.core.queue.take() == "waits.json" and list(worker.outstanding) == ["runs.json"]
    crew.lost(worker)
    assert worker not in workers and texts(pool, "worker_lost") == []
    for _ in range(4):
        crew.replace(workers[-1])
    assert not crew._may_start(pool.clock.monotonic())
