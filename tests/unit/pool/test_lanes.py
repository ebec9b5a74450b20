"""lanes: names of a queue that runs few jobs at once are several deep at few workers."""

from __future__ import annotations

import pytest

from queuectl.jobs.verdict import Returned
from queuectl.model.queues import Queue
from queuectl.model.run_queue import RunQueue
from queuectl.pool.arrivals import Arrivals
from queuectl.pool.dispatcher import SHARE_AFTER_S, Dispatcher
from queuectl.pool.worker_process import WorkerProcess
from queuectl.spool.folder import SpoolDir
from tests.helpers import FakeClock

SHORT_S = 0.002


class Pool:
    """A dispatcher of three workers with two slots each, and what it gave them."""

    def __init__(self, spool: SpoolDir, clock: FakeClock, slots: int) -> None:
        self.workers = [WorkerProcess(2) for _ in range(3)]
        for worker in self.workers:
            worker.is_ready = True
        self.clock = clock
        queue = RunQueue({"mail": Queue(slots=slots)}, slots=6)
        self.dispatcher = Dispatcher(
            self.workers, queue, Arrivals(spool, settle_s=30, clock=clock), clock=clock, notify=lambda _: None
        )
        self.dispatcher.add([f"{number:03d},in=20270101T000000.000000Z,q=mail.json" for number in range(300)])

    def feed(self) -> list[int]:
        """Feed; return how many names of the queue each worker has."""
        self.dispatcher.feed(careful=False)
        return [sum(",q=mail" in name for name in worker.outstanding) for worker in self.workers]

    def run(self, count: int, took_s: float = SHORT_S) -> None:
        """End so many runs, the oldest name of each worker first."""
        for _ in range(count):
            self.feed()
            worker = next(each for each in self.workers if each.outstanding)
            self.clock.advance(took_s)
            self.dispatcher.settled(worker, next(iter(worker.outstanding)), counts=True, took_s=took_s)

    def has_deep_lane(self) -> WorkerProcess:
        """Run short jobs until the pool looks ahead; return the worker that has the lane."""
        self.run(40)
        most = self.feed()
        assert max(most) > 5
        return self.workers[most.index(max(most))]


@pytest.fixture
def serial(spool: SpoolDir, clock: FakeClock) -> Pool:
    """A pool with a queue that runs one job at a time."""
    return Pool(spool, clock, 1)


def test_short_jobs_of_a_serial_queue_lie_deep_at_one_worker(serial: Pool) -> None:
    """The first names go one by one; once jobs are known to be short, several follow at the same worker."""
    assert sorted(serial.feed()) == [0, 0, 1]
    serial.has_deep_lane()
    assert sorted(serial.feed())[:2] == [0, 0]


def test_a_queue_has_no_more_lanes_than_slots(spool: SpoolDir, clock: FakeClock) -> None:
    """With two slots the names are at two places; the workers know how many may run at once (P12)."""
    pool = Pool(spool, clock, 2)
    pool.has_deep_lane()
    lanes = pool.dispatcher._lanes
    at_once = [lanes.at_once(worker, list(worker.outstanding)).get("mail", 0) for worker in pool.workers]
    assert sum(at_once) == 2
    assert all((count > 0) == (at > 0) for count, at in zip(pool.feed(), at_once, strict=True))


def test_long_jobs_are_not_looked_ahead_of(serial: Pool) -> None:
    """Behind jobs that take longer than a message, a place has one name."""
    serial.has_deep_lane()
    serial.run(60, took_s=0.5)
    assert sorted(serial.feed()) == [0, 0, 1]


def test_names_behind_a_run_that_lasts_wait_in_the_pool(serial: Pool) -> None:
    """The worker returns them, and none goes out until that run has ended."""
    worker = serial.has_deep_lane()
    head, *behind = worker.outstanding
    serial.dispatcher.started(worker, head, "000")
    for name in reversed(behind):
        serial.dispatcher.passed(worker, name, Returned())
    assert sorted(serial.feed()) == [0, 0, 1]
    assert list(worker.outstanding) == [head]
    serial.dispatcher.settled(worker, head, counts=True, took_s=0.001)
    serial.feed()
    again = [name for each in serial.workers for name in each.outstanding]
    assert again[: len(behind)] == behind


def test_names_in_a_lane_take_no_room_from_other_queues(serial: Pool) -> None:
    """A worker with a deep lane of one place gets other names for its other slot."""
    worker = serial.has_deep_lane()
    assert worker.free == 1
    serial.dispatcher.add([f"o{number}.json" for number in range(200)])
    serial.feed()
    assert any(name.startswith("o") for name in worker.outstanding)


def test_names_of_a_lane_are_not_suggested_twice_while_it_moves(serial: Pool) -> None:
    """A second worker would find the gate shut for each of them."""
    worker = serial.has_deep_lane()
    before = list(worker.outstanding)
    serial.clock.advance(SHARE_AFTER_S * 3)
    serial.feed()
    assert list(worker.outstanding) == before
    assert not any(each.outstanding for each in serial.workers if each is not worker)


def test_a_suspended_worker_loses_its_lane(serial: Pool) -> None:
    """If nothing is heard of it, others get its names (P8)."""
    worker = serial.has_deep_lane()
    head = next(iter(worker.outstanding))
    serial.clock.advance(1.0)
    serial.feed()
    assert any(head in each.outstanding for each in serial.workers if each is not worker)


def test_a_dead_worker_leaves_nothing_behind(serial: Pool) -> None:
    """Its names go to another worker, and it starts anew."""
    worker = serial.has_deep_lane()
    names = list(worker.outstanding)
    serial.dispatcher.reassign(worker)
    assert worker.behind == 0
    serial.feed()
    again = [name for each in serial.workers for name in each.outstanding]
    assert again[: len(names)] == names


def test_a_pool_with_a_cluster_does_not_look_ahead(spool: SpoolDir, clock: FakeClock) -> None:
    """Slots on nodes come and leave."""
    workers = [WorkerProcess(2), WorkerProcess(0, cluster_slots=4)]
    dispatcher = Dispatcher(
        workers, RunQueue(), Arrivals(spool, settle_s=30, clock=clock), clock=clock, notify=lambda _: None
    )
    assert dispatcher._lanes.choose("a,q=mail.json", "mail", 1, workers[0], 0.0) is workers[0]
    assert dispatcher._lanes.at_once(workers[0], ["a,q=mail.json"]) == {}
