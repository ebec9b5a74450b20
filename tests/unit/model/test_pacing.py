"""pacing: a pool suggests no more names than the rates let start, and looks at a log no sooner than it must."""

from __future__ import annotations

from queuectl.model.queues import Queue
from queuectl.model.run_queue import RunQueue

API, KEY = ("api", ""), ("api", "k")


def _queue(*names: str, **limits: Queue) -> RunQueue:
    queue = RunQueue(limits, slots=8)
    queue.add(names, 0.0)
    return queue


def _take(queue: RunQueue) -> list[str]:
    taken = []
    while (name := queue.take()) is not None:
        taken.append(name)
    return taken


def _gated(queue: RunQueue, name: str, where: tuple[str, str], until_s: float) -> None:
    """Do what a dispatcher does if a worker has found the gate shut by a rate."""
    queue.unspent(name)
    queue.forget(name)
    queue.put_behind(name, where, until_s)


def _names(count: int, flags: str = ",q=api") -> list[str]:
    return [f"job{number},in=20261124T0000{number:02d}.000000Z{flags}.json" for number in range(count)]


def test_shut_queue_is_left_out_until_its_instant() -> None:
    """After a worker has found the gate shut, nothing is suggested, and there is one look at the time that it said."""
    listed = _names(5)
    queue = _queue(*listed, api=Queue(rate="3/1m"))
    assert _take(queue) == listed
    for name in listed[3:]:
        _gated(queue, name, API, 60.0)
    assert _take(queue) == []
    assert queue.next_rate_s == 60.0
    assert queue.due_rates(59.9) == []
    assert queue.due_rates(60.0) == [API]
    queue.allow(API, 1, 75.0)
    assert _take(queue) == listed[3:4]
    assert queue.next_rate_s == 75.0
    queue.forget(listed[3])
    assert _take(queue) == []
    queue.allow(API, 3, 135.0)
    assert _take(queue) == listed[4:]
    assert queue.next_rate_s is None


def test_other_queues_pass_a_shut_one() -> None:
    """Only the queue of the rate waits."""
    one, other = _names(1)[0], _names(2, ",q=mail")[1]
    queue = _queue(one, other, api=Queue(rate="3/1m"))
    _gated(queue, queue.take() or "", API, 9.0)
    assert _take(queue) == [other]


def test_default_queue_can_have_a_rate() -> None:
    """Names without a flag wait, too."""
    listed = _names(2, "")
    queue = _queue(*listed, default=Queue(rate="1/1m"))
    assert _take(queue) == listed
    for name in listed:
        _gated(queue, name, ("default", ""), 9.0)
    assert _take(queue) == []
    queue.allow(("default", ""), 1, 20.0)
    assert _take(queue) == listed[:1]


def test_name_that_did_not_start_lets_another_start() -> None:
    """A name that was suggested and is gone, or comes back, is no start."""
    listed = _names(4)
    queue = _queue(*listed, api=Queue(rate="1/1m"))
    _gated(queue, queue.take() or "", API, 9.0)
    queue.allow(API, 1, 20.0)
    assert _take(queue) == listed[:1]
    queue.unspent(listed[0])
    queue.forget(listed[0])
    assert _take(queue) == listed[1:2]
    queue.put_first(listed[1])
    assert _take(queue) == listed[1:2]
    assert _take(queue) == []


def test_key_is_parked_until_its_instant() -> None:
    """A key that has had its starts waits; others, and the end of one of its own jobs, change nothing."""
    listed = _names(4, ",q=api,key=k")
    other = "other,q=api,key=x.json"
    queue = _queue(*listed, other, api=Queue(rate_per_key="2/1m", per_key=3))
    assert set(_take(queue)) == {*listed[:3], other}
    _gated(queue, listed[2], KEY, 60.0)
    queue.forget(listed[0])
    assert _take(queue) == []
    assert queue.due_rates(60.0) == [KEY]
    queue.allow(KEY, 0, 61.0)
    assert _take(queue) == []
    queue.allow(KEY, 1, 120.0)
    assert _take(queue) == listed[2:3]
    assert queue.due_rates(120.0) == [KEY]
    queue.allow(KEY, 2, 180.0)
    assert _take(queue) == listed[3:]
    assert queue.due_rates(1e9) == []


def test_key_without_waiting_names_is_forgotten() -> None:
    """Nobody looks at the log of a key for which nothing waits."""
    (name,) = listed = _names(1, ",q=api,key=k")
    queue = _queue(*listed, api=Queue(rate_per_key="1/1m"))
    assert _take(queue) == listed
    _gated(queue, name, KEY, 5.0)
    queue.allow(KEY, 1, 9.0)
    assert _take(queue) == listed
    assert queue.due_rates(9.0) == [KEY]
    queue.allow(KEY, 1, 12.0)
    assert queue.next_rate_s is None


def test_rate_that_is_gone_opens_the_queue() -> None:
    """Other limits forget what the old ones had shut."""
    listed = _names(2)
    limits = {"api": Queue(rate="1/1h")}
    queue = _queue(*listed, **limits)
    for name in _take(queue):
        _gated(queue, name, API, 3600.0)
    limits["api"] = Queue()
    queue.change_limits(limits, slots=8)
    assert _take(queue) == listed
    assert queue.next_rate_s is None
