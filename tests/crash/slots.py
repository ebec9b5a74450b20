"""Operations for the sweeps: two runs of one worker interleaved, its slots changed meanwhile, and a pool that is changed.

The job `two` lasts until the end of `one` is on record. So after a kill amid both, `two` ends only if `one` is rescued
while the command of `two` still holds its lease: by a lease of its own.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from multiprocessing import Pipe

from queuectl.model.settings import RELOADABLE
from queuectl.spool import pools
from queuectl.spool.pools import StopSummary, WorkerInfo
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from queuectl.worker.messages import (
    Feed,
    Finished,
    Order,
    Reload,
    Report,
    Resize,
    Started,
    Stop,
    pack_order,
    unpack,
)
from queuectl.worker.worker import Worker
from tests.crash.driver import COMMAND, Endings, Hands, Operation

_ONCE = "enqueued started succeeded @done"
_AGAIN = "enqueued started abandoned started succeeded @done"
_FAILS = "enqueued started failed started succeeded @done"
_CUT_FAILS = "enqueued started abandoned started failed started succeeded @done"
_ENDS: Endings = {"one": {_ONCE}, "two": {_FAILS}}
_CUT: Endings = {"one": {_ONCE, _AGAIN}, "two": {_AGAIN, _FAILS, _CUT_FAILS}}

Answer = Callable[[Report], list[Order]]


def _two_jobs(hands: Hands) -> None:
    for job_id, env in (("one", {"PASS_AT": "1"}), ("two", {"PASS_AT": "2", "AFTER": "done/one.json"})):
        hands.enqueue(id=job_id, command=COMMAND, backoff_base=0, cwd="/", env=env)


def _work(hands: Hands, first: Order, answer: Answer, *, slots: int) -> None:
    """Have a real worker carry out an order, and what `answer` says to its reports, until both jobs have run."""
    ours, theirs = Pipe()
    os.environ |= {"WITNESS": str(hands.witness), "RUN_S": "0.1"}
    session = Session(hands.spool, hands.settings, Clock(), random.Random())
    worker = Worker(theirs, session, worker=f"{hands.name}-real", cwd=hands.spool.root, slots=slots)
    ours.send_bytes(pack_order(first))

    def supervise() -> None:
        ended = 0
        while ended < 2:
            for report in unpack(ours.recv_bytes()):
                ended += isinstance(report, Finished)
                for order in answer(report):
                    ours.send_bytes(pack_order(order))
        ours.send_bytes(pack_order(Stop()))

    thread = threading.Thread(target=supervise, daemon=True)
    thread.start()
    worker.run()
    thread.join()


def _interleaved(hands: Hands, _: object) -> None:
    _work(hands, Feed(["one.json", "two.json"]), lambda _report: [], slots=2)


def _scaled_up(hands: Hands, _: object) -> None:
    """While the only slot runs `one`, another is asked for, and the settings are read again."""
    values = {field: getattr(hands.settings, field) for field in RELOADABLE}

    def answer(report: Report) -> list[Order]:
        is_time = isinstance(report, Started) and report.job_id == "one"
        return [Resize(2), Reload(values), Feed(["two.json"])] if is_time else []

    _work(hands, Feed(["one.json"]), answer, slots=1)


def _scaled_down(hands: Hands, _: object) -> None:
    """The slot of `one` is closed while `two` runs."""

    def answer(report: Report) -> list[Order]:
        return [Resize(1)] if isinstance(report, Finished) and report.job_id == "one" else []

    _work(hands, Feed(["one.json", "two.json"]), answer, slots=2)


def _changed(hands: Hands, _: object) -> None:
    """A pool enters, is asked for more slots and to read its settings, does both, and leaves."""
    spool = hands.spool
    pool = pools.Pool(hands.session, count=1, cwd="/")
    pool.enter()
    pool.note_workers((WorkerInfo(f"{pool.name}-1", 4711, 1, False),))
    pools.request_scale(spool, pool.name, 3)
    assert pool.scale_request() == (3, False)
    pool.rescaled(count=3, processes=1)
    pools.request_reload(spool, pool.name)
    assert pool.is_reload_asked()
    pool.reloaded(hands.settings, [], read_at=hands.clock.now())
    (info,) = pools.live(spool)
    assert (info.count, info.workers[0].pid) == (3, 4711)
    pool.leave(StopSummary([], 0), clean=True)


OPERATIONS = {
    made.name: made
    for made in (
        Operation("two slots", _two_jobs, lambda _: None, _interleaved, _ENDS, _CUT),
        Operation("two slots: scale up, reload", _two_jobs, lambda _: None, _scaled_up, _ENDS, _CUT),
        Operation("two slots: scale down", _two_jobs, lambda _: None, _scaled_down, _ENDS, _CUT),
        Operation(
            "a pool is changed", lambda hands: hands.enqueue(id="job"), lambda _: None, _changed, {"job": {_ONCE}}
        ),
    )
}
