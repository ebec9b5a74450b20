"""Suggest the names of the run queue to the workers, and act on their answers.

A suggestion decides nothing; the claim decides. A worker whose slots are all busy keeps a name for at most 20 ms before
a worker with an idle slot gets it, too. If a stripe is busy, or a writer has the file open, the name is suggested again
a little later. A file that is still arriving waits until it changes.
"""

from __future__ import annotations

import functools
import math
from typing import assert_never

from queuectl.flows.admission import NEEDS, NO_PLACE, NOT_TAKEN
from queuectl.flows.gates import BUSY, KEY_FULL, KEY_RATE, RATE
from queuectl.jobs.verdict import (
    Alive,
    Arriving,
    Busy,
    Dead,
    Declined,
    Foreign,
    Gated,
    Gone,
    Held,
    Later,
    Many,
    Open,
    Paused,
    Rejected,
    Repaired,
    Returned,
    Skipped,
    Split,
    SplitStuck,
    Splitting,
    Stuck,
    Unreadable,
    Unrecorded,
)
from queuectl.model.lifecycle import SKIPPED
from queuectl.model.needs import NEEDING
from queuectl.model.notice import INFO, WARNING, Notice, Notify
from queuectl.model.run_queue import RunQueue
from queuectl.pool import sharing_out
from queuectl.pool.arrivals import Arrivals
from queuectl.pool.lanes import Lanes
from queuectl.pool.later_tries import LaterTries
from queuectl.pool.pace import Pace
from queuectl.pool.reported import ReportedOnce
from queuectl.pool.split_turns import SplitTurns
from queuectl.pool.worker_process import WorkerProcess
from queuectl.spool import batch
from queuectl.system.clock import Clock
from queuectl.worker.messages import SplitFile

# A name that a busy worker has not taken for this long is suggested to an idle one.
SHARE_AFTER_S = 0.02
# A worker that runs a job for this long returns the names behind it.
LONG_S = 0.05
# Workers that all run jobs for this long are slow (see `is_slow`).
SLOW_S = 0.5
# Final answers for a file. If another worker got the name, too, that worker only finds that the file is gone.
_ENDS = (Later, Gated, Repaired, Rejected, Dead, Skipped, Splitting, Split)


class Dispatcher:
    """Suggests the names of one pool to its workers and takes them back. `notify` gets messages for people."""

    def __init__(
        self, workers: list[WorkerProcess], queue: RunQueue, arrivals: Arrivals, *, clock: Clock, notify: Notify
    ) -> None:
        self._workers = workers
        self._queue = queue
        self._arrivals = arrivals
        self._clock = clock
        self.jobs_left: int | None = None
        """How many runs may still end, or None for any number."""
        self.has_news = False
        """True if names were added since `feed` was called."""
        self._notify = notify
        self._pace = Pace()
        self._again = LaterTries(clock)
        self._unsettled: dict[str, WorkerProcess] = {}
        """Names whose runs have ended, but whose worker cannot record the outcome."""
        self._reported = ReportedOnce(clock, notify, self._is_in_trouble)
        self._split_turns = SplitTurns(clock=clock)
        self._lanes = Lanes(is_used=not any(worker.cluster_slots for worker in workers))
        queue.look_ahead(self._lanes.depth, self._lanes.back)

    @property
    def is_empty(self) -> bool:
        """True if no name waits, is at a worker, or must be tried again."""
        return not self._queue.waiting and self.has_nothing_now

    @property
    def has_nothing_now(self) -> bool:
        """True if nothing is left to do, except names that are due later."""
        return not (
            len(self._queue)
            or len(self._again)
            or len(self._arrivals)
            or self._unsettled
            or not self._split_turns.is_empty
            or any(worker.outstanding for worker in self._workers)
        )

    def trust_listing(self) -> None:
        """If no name is in progress, forget all names except those due later: the next listing brings the others.

        Call this before the queue takes over a listing.
        """
        if (
            not len(self._queue)
            and not len(self._again)
            and not self._unsettled
            and not any(worker.outstanding or worker.unanswered for worker in self._workers)
        ):
            self._queue.forget_taken()

    @property
    def is_slow(self) -> bool:
        """True if every slot has run one job for `SLOW_S`: few names come for each run."""
        until_s = self._clock.monotonic() - SLOW_S
        going_on = [worker for worker in self._workers if not worker.is_retired]
        return all(worker.is_full and worker.running_since_s <= until_s for worker in going_on)

    @property
    def free(self) -> int:
        """How many slots have nothing to do, of workers that may get a drop whose needs nobody knows."""
        return sum(each.free for each in self._workers if each.may_get_names and each.kind != NEEDING)

    def next_s(self) -> float | None:
        """Return when work is due without an event (monotonic), or None."""
        until = [again_s] if (again_s := self._again.next_s()) is not None else []
        if (split_s := self._split_turns.next_s()) is not None:
            until.append(split_s)
        if any(worker.outstanding.keys() - worker.running.keys() for worker in self._workers):
            until.append(self._clock.monotonic() + SHARE_AFTER_S)
        return min(until, default=None)

    # ------------------------------------------------------------------------------------------------- to workers

    def feed(self, *, careful: bool) -> bool:
        """Suggest names, first to the worker with the most room; with `careful`, one each.

        Return True if a slot is idle.
        """
        now_s = self._clock.monotonic()
        self.has_news = False
        for name in self._again.take_due(now_s):
            self._queue.put_first(name)
        for worker in self._workers:
            if worker.is_full and now_s - worker.running_since_s >= LONG_S:
                self.take_back(worker)
        willing = [worker for worker in self._workers if worker.may_get_names]
        if willing and (key := self._split_turns.take()) is not None:
            min(willing, key=sharing_out.load).feed([key], now_s, {})
        for kind, some in sharing_out.by_kind(willing, has_needs=self._queue.has_needs):
            room = sharing_out.rooms(some, self._pace.names_at_once(), careful=careful)
            route = None if self._queue.is_plain else functools.partial(self._route, now_s)
            given = sharing_out.share_out(room, functools.partial(self._queue.take, kind), self._left_to_start(), route)
            for worker, names in given.items():
                worker.feed(names, now_s, self._lanes.at_once(worker, names))
        idle = [worker for worker in willing if worker.free]
        if idle:
            self._share(list(idle), now_s)
        return bool(idle)

    def feed_new(self, name: str) -> bool:
        """Suggest a new name to a worker without any names, if no other name waits; else return False.

        Somebody may wait for the start of this job, and `add` and `feed` take as long as that.
        """
        if name in self._arrivals.files or self._left_to_start() <= 0:
            return False
        for worker in self._workers:
            if not worker.outstanding and worker.may_get_names and worker.kind != NEEDING and worker.slots:
                if not self._queue.take_new(name):
                    return False
                worker.feed([name], self._clock.monotonic(), {})
                return True
        return False

    def _route(self, now_s: float, name: str, worker: WorkerProcess) -> WorkerProcess:
        """Return the worker that gets a name: `worker`, unless another one has a lane of its queue."""
        place = self._queue.narrow(name)
        return worker if place is None else self._lanes.choose(name, place.queue, place.slots, worker, now_s)

    def _left_to_start(self) -> float:
        """Return how many runs may still be started."""
        if self.jobs_left is None:
            return math.inf
        # A shared name counts until both workers have answered, because one finds it gone while the other runs it.
        started: set[str] = set(self._unsettled)
        for worker in self._workers:
            started.update(worker.outstanding, worker.unanswered)
        return self.jobs_left - sum(not batch.taken_of(name) for name in started)

    def take_back(self, worker: WorkerProcess) -> None:
        """Queue the names behind long jobs, or all that a worker has not claimed, again for other workers."""
        stuck = [name for name in worker.outstanding if name not in worker.running]
        for name in reversed(stuck):
            del worker.outstanding[name]
            worker.unanswered.add(name)
            self._put_first(name)

    def _put_first(self, name: str) -> None:
        """Queue a name again that no worker has."""
        if batch.taken_of(name):
            self._split_turns.put_back(name)
        else:
            self._queue.put_first(name)

    def _share(self, idle: list[WorkerProcess], now_s: float) -> None:
        """Suggest the names behind long jobs, or at a suspended worker, to workers with idle slots.

        A second suggestion is harmless: one claim wins.
        """
        for worker in self._workers:
            for name in [name for name in worker.outstanding if name not in worker.running]:
                if batch.taken_of(name) and not worker.running:
                    continue  # the worker makes its step
                if now_s - worker.outstanding[name] >= SHARE_AFTER_S:
                    other = next((each for each in idle if each is not worker and each.may_run(name)), None)
                    if other is None or self._lanes.is_kept(worker, name, now_s):
                        continue
                    idle.remove(other)
                    del worker.outstanding[name]
                    worker.unanswered.add(name)
                    if (place := self._queue.narrow(name)) is not None:
                        self._lanes.back(name)
                        self._lanes.choose(name, place.queue, place.slots, other, now_s)
                    other.feed([name], now_s, self._lanes.at_once(other, [name]))

    def split(self, name: str) -> bool:
        """Tell the least loaded worker to split a file of many jobs; return False if no worker may get names."""
        willing = [worker for worker in self._workers if worker.may_get_names]
        if not willing:
            return False
        worker = min(willing, key=sharing_out.load)
        self._arrivals.drop(name)
        worker.outstanding[name] = self._clock.monotonic()
        worker.send(SplitFile(name))
        return True

    def go_on_splitting(self, listed: list[str]) -> None:
        """Continue the splits that a listing of taken/ shows."""
        self._split_turns.add(listed)

    # --------------------------------------------------------------------------------------------- from workers

    def add(self, names: list[str]) -> None:
        """Add names that may be new: from an event, a retry or a rescue. An arriving file among them has changed."""
        now_at = self._clock.now()
        self.has_news = True
        for name in names:
            if name in self._arrivals:
                self._queue.unskip(name, now_at)
            else:
                self._queue.add([name], now_at)

    def reassign(self, worker: WorkerProcess) -> None:
        """Queue the names of a dead worker again."""
        others = worker.unanswered | worker.running.keys()
        for name in reversed(worker.take_names()):
            self._put_first(name)
        for name in others:
            if not self._is_at_a_worker(name):
                self._queue.release(name)
        for name in [name for name, keeper in self._unsettled.items() if keeper is worker]:
            del self._unsettled[name]
            self._queue.forget(name)

    def started(self, worker: WorkerProcess, name: str, job_id: str) -> None:
        """Record that a command runs which lasts.

        That is an answer, also for a name that another worker was given meanwhile. Otherwise the other slots of the
        worker would get nothing for as long as the command runs.
        """
        worker.running[name] = job_id
        worker.running_since_s = self._clock.monotonic()
        self._lanes.lasts(name)
        if name in worker.unanswered:
            worker.unanswered.discard(name)
            worker.outstanding[name] = worker.running_since_s

    def settled(self, worker: WorkerProcess, name: str, *, counts: bool, took_s: float | None = None) -> None:
        """Record that a run has ended after `took_s`; `counts` is False for a run that was put back."""
        if took_s is not None:
            self._pace.record(took_s)
            if not self._queue.is_plain:
                self._lanes.ended(name, took_s, self._clock.monotonic())
        worker.outstanding.pop(name, None)
        worker.unanswered.discard(name)
        worker.running.pop(name, None)
        self._queue.forget(name)
        # Usually all of these are empty: asking them costs nothing.
        if self._arrivals.files:
            self._arrivals.drop(name)
        if self._again.tries:
            self._again.forget(name)
        if self._reported.known:
            self._reported.forget(name)
        if self._unsettled:
            self._unsettled.pop(name, None)
        if counts and self.jobs_left is not None:
            self.jobs_left -= 1

    def passed(self, worker: WorkerProcess | None, name: str, declined: Declined) -> None:
        """Act on the answer that a name could not be claimed; `worker` is None if the pool itself answers."""
        given_s = self._clock.monotonic()
        self._queue.unspent(name)
        if worker is not None:
            given_s = worker.outstanding.pop(name, given_s)
            if name in worker.unanswered:
                worker.unanswered.discard(name)
                if not isinstance(declined, _ENDS) and any(name in other.outstanding for other in self._workers):
                    return  # another worker has the name now, and its answer counts
        key = name if batch.taken_of(name) else declined.key if isinstance(declined, Splitting | SplitStuck) else ""
        match declined:
            case Paused() | Returned():
                self._put_first(name)
            case _ if key:
                self._split_on(name, key, declined, self._clock.monotonic() - given_s)
            case Busy() | Open():
                self._again.put(name, declined)
            case Alive(why):
                self._again.put(name, declined)
                self._reported.report("alive", name, f"{name} waits: {why}")
            case Arriving() | Unreadable() | Stuck() | Foreign():
                self._wait_for_change(name, declined)
            case Unrecorded(path, why, cure):
                if worker is not None:
                    worker.running.pop(name, None)
                    self._unsettled[name] = worker
                self._report_stuck(path, why, cure, name=name)
            case Held():
                self._queue.skip(name)
            case Gated():
                self._forget(name)
                self._wait_behind_gate(declined)
            case Gone():
                self._forget(name, is_out=self._is_at_a_worker(name))
            case Later() | Repaired() | Rejected() | Dead() | Skipped() | Split():
                self._forget(name)
                self._announce(name, declined)
            case Many() | Splitting() | SplitStuck():  # no worker answers with `Many`; the others have a key
                self._forget(name)
            case _:
                assert_never(declined)

    def _wait_behind_gate(self, gated: Gated) -> None:
        """Keep a job until its queue, or its key, has room (see `gate_watch`)."""
        if gated.why == NOT_TAKEN:
            self._queue.skip(gated.name)
        elif gated.why == NEEDS:  # its name says so now
            self._queue.add([gated.name], self._clock.now())
        elif gated.why == NO_PLACE:
            self._queue.put_needing(gated.name)
        elif gated.why == BUSY:
            self._again.put(gated.name, Busy())
        else:
            key = gated.key if gated.why in (KEY_FULL, KEY_RATE) else ""
            until_s = self._clock.monotonic() + gated.wait_s if gated.why in (RATE, KEY_RATE) else None
            self._queue.put_behind(gated.name, (gated.queue, key), until_s)

    def _wait_for_change(self, name: str, declined: Arriving | Unreadable | Stuck | Foreign) -> None:
        """Skip a file until it changes, or until its next try is due."""
        self._queue.skip(name)
        if not (isinstance(declined, Foreign) and declined.sig is None):  # a job may replace a file, not a folder
            self._arrivals.add(name, declined)
        match declined:
            case Arriving():
                pass
            case Unreadable(_, why):
                self._reported.report("unreadable", name, f"{name}: {why}; queuectl tries again")
            case Stuck(_, path, why, cure):
                self._report_stuck(path, f"{name} waits: {why}", cure, name=name)
            case Foreign(_, why):
                self._reported.report("foreign", name, f"{name} is ignored: {why}")
            case _:
                assert_never(declined)

    def _is_at_a_worker(self, name: str) -> bool:
        """Return whether a worker that got this name, too, may run it."""
        return any(
            name in each.outstanding or name in each.unanswered or name in each.running for each in self._workers
        )

    def _forget(self, name: str, *, is_out: bool = False) -> None:
        """Forget a name that no longer waits, or that was renamed; see `RunQueue.forget`."""
        self._queue.forget(name, is_out=is_out)
        self._arrivals.drop(name)
        self._again.forget(name)
        self._unsettled.pop(name, None)

    def _split_on(self, name: str, key: str, declined: Declined, took_s: float) -> None:
        """Act on an answer about a file of many jobs, which is now in taken/."""
        if name != key:
            self._queue.forget(name)
            self._arrivals.drop(name)
        match declined:
            case Splitting(_, _, names, is_step):
                self._queue.add(names, self._clock.now())
                jobs_wait = len(self._queue) > 0
                self._split_turns.stepped(key, took_s=took_s, has_made=is_step, jobs_wait=jobs_wait)
            case Split() | Rejected() | Gone():
                self._split_turns.drop(key)
                self._announce(name, declined)
            case SplitStuck(_, why) | Foreign(_, why):
                self._cannot_split(key, why)
            case Stuck(_, _, why, cure):
                self._cannot_split(key, why, cure)
            case _:  # not an answer about a split; the step is tried again all the same
                self._cannot_split(key, type(declined).__name__)

    def _cannot_split(self, key: str, why: str, cure: str = "") -> None:
        if self._split_turns.set_stuck(key):
            self._notify(Notice(WARNING, "unreadable", f"{key}: {why}; queuectl tries again{_cure(cure)}"))

    def _announce(self, name: str, declined: Gone | Later | Repaired | Rejected | Dead | Skipped | Split) -> None:
        """Report the result for a file, and queue the new names of its jobs."""
        match declined:
            case Gone():
                pass
            case Skipped(_, why):
                if why:
                    self._notify(Notice(INFO, SKIPPED, f"{name}  {why}"))
            case Later(new_name):
                self._queue.add([new_name], self._clock.now(), verified=True)
            case Repaired():
                self._notify(Notice(WARNING, "mended", f"{name}: its torn end was repaired"))
                self._queue.add([name], self._clock.now())
            case Rejected(_, why):
                self._notify(Notice(WARNING, "rejected", f"{name} was rejected: {why}"))
            case Dead(dead, why):
                self._notify(Notice(WARNING, "dead", f"{dead} moved to dlq/{f': {why}' if why else ''}"))
            case Split(file, count, names, refused):
                self._queue.add(names, self._clock.now())
                jobs = "job" if count == 1 else "jobs"
                self._notify(
                    Notice(INFO, "batch", f"{file} was split into {count} {jobs}{f'; {refused}' if refused else ''}")
                )
            case _:
                assert_never(declined)

    def _report_stuck(self, path: str, text: str, cure: str, *, name: str) -> None:
        self._reported.report(
            "stuck", path, f"{text}; queuectl tries again, and other jobs continue{_cure(cure)}", name=name
        )

    def _is_in_trouble(self, name: str) -> bool:
        return name in self._arrivals or name in self._again


def _cure(cure: str) -> str:
    return f"; to fix this: {cure}" if cure else ""
