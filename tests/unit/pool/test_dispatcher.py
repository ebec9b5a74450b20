"""Names on their way to workers and back."""

from __future__ import annotations

import pytest

from queuectl.jobs.verdict import (
    Alive,
    Arriving,
    Busy,
    Gone,
    Open,
    Paused,
    Returned,
    Split,
    SplitStuck,
    Splitting,
    Stuck,
    Unreadable,
    Unrecorded,
)
from queuectl.model import names
from queuectl.model.queues import Queue
from queuectl.model.run_queue import RunQueue
from queuectl.pool.arrivals import Arrivals
from queuectl.pool.dispatcher import LONG_S, SHARE_AFTER_S, Dispatcher
from queuectl.pool.pace import AHEAD_AT_MOST
from queuectl.pool.reported import REMEMBERED_AT_MOST
from queuectl.pool.worker_process import WorkerProcess
from queuectl.spool import batch
from queuectl.spool.folder import SpoolDir
from tests.helpers import FakeClock


def test_a_name_at_two_workers_counts_until_both_have_answered(spool: SpoolDir, clock: FakeClock) -> None:
    """With `max_jobs` 1 no other name goes out while the first one may still run at its first worker."""
    workers = [WorkerProcess(), WorkerProcess()]
    for worker in workers:
        worker.is_ready = True
    queue = RunQueue()
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatcher = Dispatcher(workers, queue, arrivals, clock=clock, notify=lambda _: None)
    dispatcher.jobs_left = 1
    dispatcher.add(["a.json", "b.json"])
    dispatcher.feed(careful=False)
    first, second = sorted(workers, key=lambda worker: not worker.outstanding)
    assert list(first.outstanding) == ["a.json"]
    clock.advance(SHARE_AFTER_S * 2)
    dispatcher.feed(careful=False)
    assert list(second.outstanding) == ["a.json"]
    dispatcher.passed(second, "a.json", Gone())
    dispatcher.feed(careful=False)
    assert not second.outstanding
    dispatcher.settled(first, "a.json", counts=False)
    dispatcher.feed(careful=False)
    assert sum(len(worker.outstanding) for worker in workers) == 1


def test_a_new_name_goes_to_an_idle_worker_at_once(spool: SpoolDir, clock: FakeClock) -> None:
    """As `add` and `feed` would have it, and only where these would do nothing else."""
    busy, idle = WorkerProcess(), WorkerProcess()
    for worker in (busy, idle):
        worker.is_ready = True
    queue = RunQueue()
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatcher = Dispatcher([busy, idle], queue, arrivals, clock=clock, notify=lambda _: None)
    assert dispatcher.feed_new("a.json") and list(busy.outstanding) == ["a.json"]
    assert not dispatcher.feed_new("a.json"), "it is known"
    assert dispatcher.feed_new("b.json") and list(idle.outstanding) == ["b.json"]
    assert not dispatcher.feed_new("c.json"), "no worker is idle"
    assert not queue.knows("c.json")
    dispatcher.settled(idle, "b.json", counts=True)
    for name in ("x,prio=5.json", "x,q=mail.json", "x,hold.json", ".x.json", "many.jsonl", "x,after=y.json", "x.txt"):
        assert not dispatcher.feed_new(name) and not queue.knows(name)
    queue.skip("skipped.json")
    arrivals.add("half.json", Arriving(None, "it is not complete JSON"))
    assert not dispatcher.feed_new("skipped.json") and not dispatcher.feed_new("half.json")
    dispatcher.add(["first.json"])
    assert not dispatcher.feed_new("second.json"), "another one waits"
    assert queue.take() == "first.json"
    dispatcher.jobs_left = 1  # for the job at the busy worker
    assert not dispatcher.feed_new("d.json")
    dispatcher.jobs_left = 2
    assert dispatcher.feed_new("d.json") and list(idle.outstanding) == ["d.json"]
    assert not queue.add(["d.json"], clock.now()), "a listing does not suggest it again"


def test_a_slow_worker_that_starts_what_another_was_given_gets_names_again(spool: SpoolDir, clock: FakeClock) -> None:
    """Its start is an answer: its other slot must not stay empty for as long as that command runs."""
    slow, other = WorkerProcess(2), WorkerProcess(2)
    slow.is_ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatcher = Dispatcher([slow, other], RunQueue(), arrivals, clock=clock, notify=lambda _: None)
    dispatcher.add(["a.json"])
    dispatcher.feed(careful=False)
    other.is_ready = True
    clock.advance(SHARE_AFTER_S * 2)
    dispatcher.feed(careful=False)
    assert list(other.outstanding) == ["a.json"] and slow.unanswered == {"a.json"}
    dispatcher.started(slow, "a.json", "a")
    dispatcher.passed(other, "a.json", Gone())
    assert (slow.free, other.free) == (1, 2) and not dispatcher.has_nothing_now
    dispatcher.add(["b.json", "c.json", "d.json"])
    dispatcher.feed(careful=False)
    assert (len(slow.outstanding), len(other.outstanding)) == (2, 2)
    dispatcher.settled(slow, "a.json", counts=True)
    assert slow.free == 1 and not slow.running


def test_a_name_at_two_workers_keeps_its_place_in_its_queue(spool: SpoolDir, clock: FakeClock) -> None:
    """The second worker finds the file gone, because the first one runs it: the queue is still full."""
    workers = [WorkerProcess(), WorkerProcess(), WorkerProcess()]
    for worker in workers:
        worker.is_ready = True
    queue = RunQueue({"mail": Queue(slots=1)}, slots=3)
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatcher = Dispatcher(workers, queue, arrivals, clock=clock, notify=lambda _: None)
    dispatcher.add(["a,q=mail.json", "b,q=mail.json"])
    dispatcher.feed(careful=False)
    first = next(worker for worker in workers if worker.outstanding)
    clock.advance(SHARE_AFTER_S * 2)
    dispatcher.feed(careful=False)
    second = next(worker for worker in workers if worker.outstanding)
    assert second is not first and list(second.outstanding) == ["a,q=mail.json"]
    dispatcher.passed(second, "a,q=mail.json", Gone())
    dispatcher.feed(careful=False)
    assert not any(worker.outstanding for worker in workers)
    dispatcher.reassign(first)
    first.is_ready = True
    dispatcher.feed(careful=False)
    assert [name for worker in workers for name in worker.outstanding] == ["b,q=mail.json"]


def test_what_became_of_a_name_at_two_workers_is_not_lost(spool: SpoolDir, clock: FakeClock) -> None:
    """A slow worker splits the file that an idle one was given too: that it was split is reported, and only once."""
    workers = [WorkerProcess(), WorkerProcess()]
    for worker in workers:
        worker.is_ready = True
    told: list[str] = []
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatcher = Dispatcher(workers, RunQueue(), arrivals, clock=clock, notify=lambda notice: told.append(notice.text))
    dispatcher.add(["many.json"])
    dispatcher.feed(careful=False)
    first, second = sorted(workers, key=lambda worker: not worker.outstanding)
    clock.advance(SHARE_AFTER_S * 2)
    dispatcher.feed(careful=False)
    assert list(second.outstanding) == ["many.json"]
    dispatcher.passed(first, "many.json", Split("many.json", 3))
    dispatcher.passed(second, "many.json", Gone())
    assert len(told) == 1 and "was split into 3 jobs" in told[0]


def _one_worker(spool: SpoolDir, clock: FakeClock) -> tuple[WorkerProcess, Dispatcher]:
    worker = WorkerProcess()
    worker.is_ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    return worker, Dispatcher([worker], RunQueue(), arrivals, clock=clock, notify=lambda _: None)


def test_a_name_that_was_lost_is_found_by_the_next_listing(spool: SpoolDir, clock: FakeClock) -> None:
    """P5: where nothing is on its way, what is listed is new, whatever the memory says."""
    worker, queue = WorkerProcess(), RunQueue()
    worker.is_ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatcher = Dispatcher([worker], queue, arrivals, clock=clock, notify=lambda _: None)
    later = names.waiting_name("later", clock.now() + 60, 0)
    assert queue.update([], ["lost.json", later], clock.now()) == 2
    assert queue.take() == "lost.json"  # and nobody is given it
    dispatcher.trust_listing()
    assert queue.update([], ["lost.json", later], clock.now()) == 1
    dispatcher.feed(careful=False)
    dispatcher.trust_listing()
    assert queue.update([], ["lost.json", later], clock.now()) == 0, "its worker has it"
    dispatcher.passed(worker, "lost.json", Busy())
    dispatcher.trust_listing()
    assert queue.update([], ["lost.json", later], clock.now()) == 0, "it is tried again by itself"
    assert queue.waiting == 1


def test_short_jobs_are_suggested_many_at_a_time(spool: SpoolDir, clock: FakeClock) -> None:
    """Jobs of a millisecond: some 30 ms of work lie ready, so that the pipe is not waited for between them."""
    worker, dispatcher = _one_worker(spool, clock)
    dispatcher.add([f"job{number:03d}.json" for number in range(100)])
    given, messages = [], 0
    for number in range(80):
        before = len(worker.outstanding)
        dispatcher.feed(careful=False)
        given.append(len(worker.outstanding))
        messages += given[-1] > before
        dispatcher.settled(worker, f"job{number:03d}.json", counts=True, took_s=0.001)
    assert max(given) == 1 + AHEAD_AT_MOST
    assert min(given) > 0
    assert messages < 20


def test_nothing_lies_ready_behind_long_jobs(spool: SpoolDir, clock: FakeClock) -> None:
    """A job of high priority that comes now is the next one: none of the others was given away before."""
    worker, dispatcher = _one_worker(spool, clock)
    dispatcher.add([f"job{number}.json" for number in range(9)])
    dispatcher.feed(careful=False)
    for name in list(worker.outstanding):
        dispatcher.settled(worker, name, counts=True, took_s=60.0)
    dispatcher.feed(careful=False)
    assert len(worker.outstanding) == 1
    dispatcher.add(["urgent,prio=9.json"])
    (running,) = worker.outstanding
    dispatcher.settled(worker, running, counts=True, took_s=60.0)
    dispatcher.feed(careful=False)
    assert list(worker.outstanding) == ["urgent,prio=9.json"]


@pytest.mark.parametrize(("took_s", "names"), [(0.002, 32), (0.009, 9), (0.03, 3), (0.045, 1), (0.07, 1)])
def test_what_lies_ready_is_work_of_less_than_a_tenth_of_a_second(
    spool: SpoolDir, clock: FakeClock, took_s: float, names: int
) -> None:
    """Nothing is given to lie behind a job that is long enough to have it taken back again."""
    worker, dispatcher = _one_worker(spool, clock)
    dispatcher.add([f"job{number:03d}.json" for number in range(200)])
    most = 0
    for _ in range(100):
        dispatcher.feed(careful=False)
        dispatcher.settled(worker, next(iter(worker.outstanding)), counts=True, took_s=took_s)
    for _ in range(20):
        dispatcher.feed(careful=False)
        most = max(most, len(worker.outstanding))
        dispatcher.settled(worker, next(iter(worker.outstanding)), counts=True, took_s=took_s)
    assert most == names


def test_careful_suggests_one_at_a_time(spool: SpoolDir, clock: FakeClock) -> None:
    """While the machine is in trouble one job is tried at a time."""
    worker, dispatcher = _one_worker(spool, clock)
    dispatcher.add([f"job{number}.json" for number in range(9)])
    dispatcher.feed(careful=True)
    assert len(worker.outstanding) == 1


def test_names_behind_a_long_job_are_queued_again(spool: SpoolDir, clock: FakeClock) -> None:
    """With more waiting than workers, too: what was given to a worker before its long job began is not held up."""
    workers = [WorkerProcess(), WorkerProcess()]
    for worker in workers:
        worker.is_ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatcher = Dispatcher(workers, RunQueue(), arrivals, clock=clock, notify=lambda _: None)
    dispatcher.add([f"job{number:03d}.json" for number in range(200)])
    for _ in range(40):
        dispatcher.feed(careful=False)
        for worker in workers:
            dispatcher.settled(worker, next(iter(worker.outstanding)), counts=True, took_s=0.001)
    dispatcher.feed(careful=False)
    long = workers[0]
    name, *behind = long.outstanding
    long.running[name], long.running_since_s = "long", clock.monotonic()
    clock.advance(LONG_S * 2)
    other = workers[1]
    while other.outstanding:
        dispatcher.settled(other, next(iter(other.outstanding)), counts=True, took_s=0.001)
    dispatcher.feed(careful=False)
    assert list(long.outstanding) == [name]
    assert list(other.outstanding)[: len(behind)] == behind
    assert not long.may_get_names


def test_names_of_a_worker_that_is_gone_keep_their_order(spool: SpoolDir, clock: FakeClock) -> None:
    """They are older than all that waits."""
    worker, dispatcher = _one_worker(spool, clock)
    dispatcher.add([f"job{number}.json" for number in range(9)])
    for name in ("job0.json", "job1.json", "job2.json"):
        worker.outstanding[name] = clock.monotonic()
    queue = dispatcher._queue
    taken = [queue.take() for _ in range(3)]
    assert taken == ["job0.json", "job1.json", "job2.json"]
    dispatcher.reassign(worker)
    assert [queue.take() for _ in range(4)] == ["job0.json", "job1.json", "job2.json", "job3.json"]


def test_a_name_whose_writer_is_at_it_comes_again_soon(spool: SpoolDir, clock: FakeClock) -> None:
    """A writer that closes at once costs 2 ms, and one that does not is asked after every 50 ms."""
    worker, dispatcher = _one_worker(spool, clock)
    dispatcher.add(["a.json"])
    waits_ms = []
    for _ in range(8):
        dispatcher.feed(careful=False)
        dispatcher.passed(worker, "a.json", Open())
        again_s = dispatcher.next_s()
        assert again_s is not None
        assert not dispatcher.is_empty
        waits_ms.append(round((again_s - clock.monotonic()) * 1000))
        clock.advance(again_s - clock.monotonic())
    assert waits_ms == [2, 4, 8, 16, 32, 50, 50, 50]
    dispatcher.feed(careful=False)
    assert list(worker.outstanding) == ["a.json"]


def test_a_job_whose_last_run_lives_on_is_asked_for_more_seldom_and_told_of_once(
    spool: SpoolDir, clock: FakeClock
) -> None:
    """P3: it waits in ever longer steps, 2 s at most, and the others run meanwhile, with one worker too."""
    worker = WorkerProcess()
    worker.is_ready = True
    told: list[str] = []
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatcher = Dispatcher(
        [worker],
        RunQueue(),
        arrivals,
        clock=clock,
        notify=lambda notice: told.append(f"{notice.kind}: {notice.text}"),
    )
    dispatcher.add(["a.json"])
    waits_ms = []
    for number in range(8):
        dispatcher.feed(careful=True)
        assert list(worker.outstanding) == ["a.json"]
        dispatcher.passed(worker, "a.json", Alive("process 7 still runs"))
        dispatcher.add([f"b{number}.json"])
        dispatcher.feed(careful=True)
        assert list(worker.outstanding) == [f"b{number}.json"]
        dispatcher.settled(worker, f"b{number}.json", counts=True, took_s=0.001)
        again_s = dispatcher.next_s()
        assert again_s is not None
        waits_ms.append(round((again_s - clock.monotonic()) * 1000))
        clock.advance(again_s - clock.monotonic())
    assert waits_ms == [100, 200, 400, 800, 1600, 2000, 2000, 2000]
    assert told == ["alive: a.json waits: process 7 still runs"]


def _telling(spool: SpoolDir, clock: FakeClock) -> tuple[WorkerProcess, Dispatcher, list[str]]:
    told: list[str] = []
    worker = WorkerProcess()
    worker.is_ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    made = Dispatcher([worker], RunQueue(), arrivals, clock=clock, notify=lambda notice: told.append(notice.text))
    made.jobs_left = 1
    return worker, made, told


def test_what_was_reported_is_remembered_for_a_bounded_number_of_files(spool: SpoolDir, clock: FakeClock) -> None:
    """However many files are in trouble, so many are named, one line says that there are more, and no more is kept."""
    worker, dispatcher, told = _telling(spool, clock)
    for _ in range(2):
        for number in range(REMEMBERED_AT_MOST + 50):
            dispatcher.passed(worker, f"{number}.json", Unreadable(None, "it cannot be read"))
    assert len(told) == REMEMBERED_AT_MOST + 1
    assert len(dispatcher._reported) == REMEMBERED_AT_MOST
    for number in range(REMEMBERED_AT_MOST + 50):
        dispatcher.passed(worker, f"{number}.json", Gone())
    clock.advance(61)
    dispatcher.passed(worker, "another.json", Unreadable(None, "it cannot be read"))
    assert "another.json" in told[-1] and len(dispatcher._reported) == 1


def test_a_lock_in_trouble_is_reported_once_for_all_its_jobs(spool: SpoolDir, clock: FakeClock) -> None:
    """P9: a thousand jobs of one stripe are one line, with the cure."""
    worker, dispatcher, told = _telling(spool, clock)
    for number in range(1000):
        dispatcher.passed(worker, f"{number}.json", Stuck(None, "/spool/40.lock", "40.lock: denied", "chown it"))
    (line,) = told
    assert "40.lock: denied" in line and line.endswith("to fix this: chown it")


def test_a_run_that_cannot_be_settled_counts_and_leaves_its_worker_free(spool: SpoolDir, clock: FakeClock) -> None:
    """P4: with `max_jobs` 1 nothing else starts, and a pool does not drain, until its outcome is on record."""
    worker, dispatcher, _ = _telling(spool, clock)
    dispatcher.add(["a.json", "b.json"])
    dispatcher.feed(careful=False)
    worker.running["a.json"] = "a"
    dispatcher.passed(worker, "a.json", Unrecorded("/spool/a.json", "cannot record"))
    assert not worker.outstanding and not worker.running and not dispatcher.is_empty
    dispatcher.feed(careful=False)
    assert not worker.outstanding
    dispatcher.settled(worker, "a.json", counts=True)
    dispatcher.feed(careful=False)
    assert not worker.outstanding  # it was the one job


# ----------------------------------------------------------------------------------------------- files of many jobs

KEY = batch.key_of("x-1.jsonl")


def _many(spool: SpoolDir, clock: FakeClock, told: list[str], count: int = 2) -> tuple[list[WorkerProcess], Dispatcher]:
    workers = [WorkerProcess() for _ in range(count)]
    for worker in workers:
        worker.is_ready = True
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatcher = Dispatcher(workers, RunQueue(), arrivals, clock=clock, notify=lambda notice: told.append(notice.text))
    return workers, dispatcher


def _at_it(workers: list[WorkerProcess]) -> list[WorkerProcess]:
    return [worker for worker in workers if KEY in worker.outstanding]


def test_one_worker_at_a_time_makes_a_step(spool: SpoolDir, clock: FakeClock) -> None:
    """P6: a step is given to one worker, is not shared with an idle one, and the others get jobs meanwhile."""
    workers, dispatcher = _many(spool, clock, [])
    dispatcher.go_on_splitting(["x-1.jsonl"])
    dispatcher.add(["a.json", "b.json"])
    dispatcher.feed(careful=False)
    (first,) = _at_it(workers)
    clock.advance(SHARE_AFTER_S * 5)
    dispatcher.go_on_splitting(["x-1.jsonl"])
    dispatcher.feed(careful=False)
    assert _at_it(workers) == [first]
    assert list(workers[1 - workers.index(first)].outstanding) == ["a.json"]


def test_jobs_that_wait_get_as_much_time_as_a_step_took(spool: SpoolDir, clock: FakeClock) -> None:
    """P6: a large file does not keep the only worker from the jobs that wait; where none waits it goes on at once."""
    (worker,), dispatcher = _many(spool, clock, [], count=1)
    dispatcher.go_on_splitting(["x-1.jsonl"])
    dispatcher.add(["a.json"])
    dispatcher.feed(careful=True)
    assert list(worker.outstanding) == [KEY]
    clock.advance(0.3)
    dispatcher.passed(worker, KEY, Splitting(KEY, 500, ("x-1-0001.json",), is_step=True))
    dispatcher.feed(careful=True)
    assert list(worker.outstanding) == ["a.json"]
    assert dispatcher.next_s() is not None
    dispatcher.settled(worker, "a.json", counts=True)
    dispatcher.feed(careful=True)
    dispatcher.settled(worker, "x-1-0001.json", counts=True)
    clock.advance(0.31)
    dispatcher.feed(careful=True)
    assert list(worker.outstanding) == [KEY]
    dispatcher.passed(worker, KEY, Splitting(KEY, 500, is_step=True))
    dispatcher.feed(careful=True)
    assert list(worker.outstanding) == [KEY]


@pytest.mark.parametrize("how", ["lost", "paused", "returned", "behind a long job"])
def test_step_that_was_not_made_is_given_again(spool: SpoolDir, clock: FakeClock, how: str) -> None:
    """P5: a worker that dies, hands the step back, or runs a long job first holds up no split."""
    workers, dispatcher = _many(spool, clock, [])
    dispatcher.go_on_splitting(["x-1.jsonl"])
    dispatcher.feed(careful=False)
    (first,) = _at_it(workers)
    if how == "lost":
        dispatcher.reassign(first)
        workers[1 - workers.index(first)].is_ready = True
    elif how == "behind a long job":
        first.running["long.json"] = "long"
        first.running_since_s = clock.monotonic()
        clock.advance(LONG_S)
    else:
        dispatcher.passed(first, KEY, Paused() if how == "paused" else Returned())
    assert not dispatcher.is_empty
    dispatcher.feed(careful=False)
    assert len(_at_it(workers)) == 1
    assert how not in ("lost", "behind a long job") or _at_it(workers) != [first]


def test_split_that_is_over_tells_what_came_of_it(spool: SpoolDir, clock: FakeClock) -> None:
    """P6: the pool's line tells how many jobs and how many refused lines there are."""
    told: list[str] = []
    (worker, _), dispatcher = _many(spool, clock, told)
    dispatcher.add(["x.json"])
    dispatcher.feed(careful=False)
    text = "2 lines were refused: see rejected/"
    dispatcher.passed(worker, "x.json", Split("x.json", 1, ("x-1-0001.json",), text))
    assert told == ["x.json was split into 1 job; 2 lines were refused: see rejected/"]
    dispatcher.feed(careful=False)
    assert [name for each in (worker, _) for name in each.outstanding] == ["x-1-0001.json"]


def test_split_that_cannot_go_on_is_told_once_and_keeps_nobody_waiting(spool: SpoolDir, clock: FakeClock) -> None:
    """P6: a file in taken/ that cannot be read is tried again now and then, and a pool that drains does not wait."""
    told: list[str] = []
    workers, dispatcher = _many(spool, clock, told)
    for _ in range(3):
        dispatcher.go_on_splitting(["x-1.jsonl"])
        dispatcher.feed(careful=False)
        (worker,) = _at_it(workers)
        dispatcher.passed(worker, KEY, SplitStuck(KEY, "it cannot be read"))
        assert dispatcher.is_empty
        dispatcher.feed(careful=False)
        assert not _at_it(workers)
        clock.advance(10)
    assert told == [f"{KEY}: it cannot be read; queuectl tries again"]
    dispatcher.feed(careful=False)
    dispatcher.passed(_at_it(workers)[0], KEY, Gone())
    clock.advance(10)
    dispatcher.feed(careful=False)
    assert not _at_it(workers)
