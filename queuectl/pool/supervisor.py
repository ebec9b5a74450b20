"""The supervisor of a pool: watches, scans, suggests names to its workers, looks after what they cannot.

One loop, no shared state with the workers but the spool. Everything it tells a worker is a suggestion and everything
it believes may be out of date: correctness is all in the claim, so several pools, or a supervisor that is killed,
never hurt. It never prints: what has happened is handed to `tell` after each round of the loop.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import signal
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from queuectl.errors import DamagedRecordError, SpoolUnavailableError
from queuectl.jobs import batch
from queuectl.jobs.claim import Claims
from queuectl.jobs.verdict import Arriving, Busy, Dead
from queuectl.maintenance import check
from queuectl.maintenance.rejected_files import RejectedFiles
from queuectl.maintenance.rescuer import Rescue, Rescued
from queuectl.maintenance.stale import Stale
from queuectl.model import names
from queuectl.model.history import is_due
from queuectl.model.lifecycle import CANCELLED, DLQ, DONE, PENDING, RUNNING
from queuectl.model.notice import INFO, WARNING, Notice
from queuectl.model.run_queue import RunQueue
from queuectl.model.settings import Settings
from queuectl.pool import hooks, worker_process
from queuectl.pool.arrivals import Arrivals
from queuectl.pool.breaker import Breaker
from queuectl.pool.dashboard import Dashboard
from queuectl.pool.dispatcher import Dispatcher
from queuectl.pool.early_judge import EarlyJudge
from queuectl.pool.hooks import Hooks
from queuectl.pool.housekeeping import Housekeeping
from queuectl.pool.shutdown import Shutdown
from queuectl.pool.worker_process import WorkerProcess
from queuectl.spool import anchor, cancel_requests, pause, pools, trust
from queuectl.spool.anchor import Anchor
from queuectl.spool.folder import SpoolDir
from queuectl.spool.pools import Pool, StopSummary
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, volume
from queuectl.system.clock import Clock
from queuectl.system.selector import Selector
from queuectl.system.wakeup import Wakeup
from queuectl.system.watch import Watch
from queuectl.worker.messages import Cancel, Finished, Passed, Report, Restored, Started, Trouble, Vanished

if TYPE_CHECKING:
    from queuectl.pool.inbox_processes import InboxProcesses

# Stop files, PAUSED, arriving files and orphans are looked at this often; recovery within a second needs no less.
TICK_S = 0.2
# A listing may take up to this share of the time: at a million names one listing is most of a second.
_SCAN_SHARE = 0.05
# With more names than this in memory, events would only tell what the next listing tells at once.
_DISARM_AT = 200
# After a worker could not be started, and after no events could be asked for, that is tried again this much later.
_START_AGAIN_S = 1.0
_ARM_AGAIN_S = 5.0
# Where the file system does not tell of changes pending/ is listed at least this often, by names alone. A slow listing
# is made more seldom all the same (_SCAN_SHARE).
BLIND_SCAN_S = 2.0
# With more names in memory than this a worker is spawned: a copy of this process would keep a copy of them.
_FORK_UNTIL = 100_000
# A pool that has nothing left to do waits for its hooks for as long as one may take; one that is stopped does not.
_HOOKS_WITHIN_S = 30.0
_HOOKS_STOPPED_WITHIN_S = 3.0
# After the clock was set back, so much of each tick goes to the records of waiting jobs, until all were looked at.
_RECHECK_SHARE = 0.2
# They are looked at this often in any case: another machine's clock may have been ahead.
_RECHECK_EVERY_S = 3600.0
# A name that says so much later than its record is wrong.
_NAMED_TOO_LATE_S = 1.0


Event = Report | Rescued | Notice


class Options(NamedTuple):
    """How a pool is to work."""

    workers: int
    cwd: str
    drain: bool = False
    max_jobs: int | None = None


class Supervisor:
    """Runs one pool until it is stopped, drained, or has run `max_jobs`."""

    def __init__(self, session: Session, options: Options, tell: Callable[[list[Event]], None]) -> None:
        spool, settings, clock, rng = session
        self._session = session
        self._spool = spool
        self._settings = settings
        self._options = options
        self._hand_on = tell
        self._untold: list[Event] = []
        self._tell = self._untold.append
        self._clock = clock
        self._rng = rng
        self._stripes = Stripes(spool)
        self._pool = Pool(
            spool,
            count=options.workers,
            cwd=options.cwd,
            now_at=self._clock.now(),
            rng=self._rng,
            graces_s=(settings.stop_grace_s, settings.kill_grace_s),
        )
        self._claims = Claims(session, self._stripes, worker=self._pool.name)
        self._rescue = Rescue(session, self._stripes, notify=self._tell)
        self._rejected = RejectedFiles(session)
        self._breaker = Breaker(spool.root, clock=clock, notify=self._tell)
        self._housekeeping = Housekeeping(session, self._stripes, self._rescue, self._breaker, notify=self._tell)
        self._dashboard = Dashboard(session)
        self._arrivals = Arrivals(spool, settle_s=settings.settle_s, clock=self._clock)
        self._queue = RunQueue()
        self._workers = [WorkerProcess() for _ in range(options.workers)]
        self._dispatcher = Dispatcher(
            self._workers,
            self._queue,
            self._arrivals,
            clock=clock,
            max_jobs=options.max_jobs,
            notify=self._tell,
        )
        self._early_judge = EarlyJudge(
            self._claims, self._queue, lambda name, verdict: self._dispatcher.passed(None, name, verdict), clock=clock
        )
        self._serial = 0
        self._deaths: deque[float] = deque(maxlen=5)
        self._next_start_s = 0.0
        self._cannot_start = False
        self._next_arm_s = 0.0
        self._wakeup = Wakeup()
        self._watch = Watch(spool.folder(PENDING))
        nature = volume.of(spool.folder(PENDING)).nature
        self._is_local = volume.tells_events(nature)
        self._may_arm = volume.tells_events(nature) or nature == volume.UNKNOWN
        self._scan_s = settings.scan_s if volume.tells_events(nature) else min(settings.scan_s, BLIND_SCAN_S)
        self._signalled = 0
        self._shutdown = Shutdown(self._workers, settings)
        self._cancelled: set[tuple[str, int]] = set()
        """Runs whose workers were told to end them."""
        self._hooks = Hooks(session, cwd=options.cwd, notify=self._tell)
        self._stale = Stale(
            session,
            on_stale=lambda name: self._hooks.fire(hooks.STALE, spool.path(PENDING, name)),
        )
        self._inboxes: InboxProcesses | None = None
        self._selector = Selector()
        self._idle_told = True
        self._finished = 0
        self._released: list[str] = []
        self._paused = False
        self._anchor: Anchor | None = None
        self._displaced = ""
        """How the spool was taken from under this pool, or ""."""
        self._in_place = True
        self._next_scan_s = -math.inf  # at once
        self._next_tick_s = 0.0
        self._clock_offset_s = self._clock.now() - self._clock.monotonic()
        self._next_recheck_s = math.inf  # until pending/ was listed
        self._rechecked: Iterator[str] = iter(())
        """Waiting names whose records are still to be looked at: is a job due by its own delay?"""

    @property
    def pool(self) -> str:
        """The name of this pool."""
        return self._pool.name

    def run(self) -> StopSummary:
        """Work until the end.

        Raises:
            OSError: the pool cannot be started (full disk, too many processes).
            SpoolUnavailableError: the spool was deleted, or another one put in its place; what ran was ended.
        """
        self._pool.enter()
        try:
            self._anchor = Anchor(self._spool, self._pool.lock, is_local=self._is_local)
            if pools.sweep(self._spool):
                self._housekeeping.mend()
            worker_process.prepare()
            self._prepare_inboxes()
            for worker in self._workers:
                self._start(worker)
            self._tell(Notice(INFO, "pool_started", self._pool.name))
            self._check()
            self._scan()
            self._recheck_clock()
            while not self._is_over():
                self._tell_round()
                self._hear(self._timeout_s())
                self._work()
            self._finish_hooks()
        finally:
            try:
                self._tell_round()
            finally:
                self._close()
        if self._displaced:
            raise SpoolUnavailableError(
                f"{self._spool.root} was {self._displaced} while this pool worked on it",
                path=self._spool.root,
                cause="its files are not those that this pool holds locks on; what ran was ended and is on no record",
                hint="queuectl worker start, once the spool is as it should be",
            )
        return StopSummary(self._released, self._finished)

    def stop(self, _signal_number: int = 0, _frame: object = None) -> None:
        """Stop gracefully; called a second time, at once. Safe in a signal handler."""
        self._signalled += 1
        self._wakeup.wake()

    # ----------------------------------------------------------------------------------------------------- loop

    def _tell_round(self) -> None:
        """Hand on what has happened, all of a round at once."""
        if self._untold:
            events = self._untold.copy()
            self._untold.clear()
            self._hand_on(events)

    def _work(self) -> None:
        now_s = self._clock.monotonic()
        self._queue.promote(self._clock.now())
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + TICK_S
            self._tick(now_s)
        if now_s >= self._next_scan_s:
            self._scan()
        if self._early_judge.has_any and self._may_feed():
            with self._breaker.guard():
                self._early_judge.step(self._dispatcher.free)
        if self._may_feed():
            has_idle = self._dispatcher.feed(careful=self._breaker.is_tripped)
            self._arm(has_idle or self._dispatcher.is_slow)
        if self._signalled > 0:
            self._advance_stop(now_s, 0.0 if self._signalled > 1 else self._settings.stop_grace_s)

    def _may_feed(self) -> bool:
        return not self._shutdown.has_begun and not self._paused and not self._breaker.is_open

    def _timeout_s(self) -> float:
        now_s = self._clock.monotonic()
        until = [self._next_tick_s - now_s, self._next_scan_s - now_s]
        due_at = self._queue.promote(self._clock.now())
        if due_at is not None:
            until.append(due_at - self._clock.now())
        dispatch_s = self._dispatcher.next_s()
        if dispatch_s is not None:
            until.append(dispatch_s - now_s)
        if self._early_judge.has_any and self._may_feed():
            judging_s = self._early_judge.next_s(self._dispatcher.free)
            if judging_s is not None:
                until.append(judging_s - now_s)
        return max(0.0, min(until))

    def _hear(self, timeout_s: float) -> None:
        """Wait for a worker, an event of the file system, or the time; take in what the workers report."""
        sources: dict[object, WorkerProcess | None] = {
            worker.conn: worker for worker in self._workers if worker.is_alive
        }
        sources[self._wakeup.conn] = None
        receiving = self._inboxes.conns if self._inboxes is not None else []
        sources.update(dict.fromkeys(receiving))
        if (watched := self._watch.source) is not None:
            sources[watched] = None
        for source in self._selector.wait(list(sources), timeout_s):
            worker = sources[source]
            if worker is None:
                if source is self._wakeup.conn:
                    self._wakeup.clear()
                elif self._inboxes is not None and source in receiving:
                    self._dispatcher.add(self._inboxes.receive(source))
                else:
                    self._dispatcher.add(self._watch.names())
                continue
            try:
                for report in worker.receive():
                    self._take(worker, report)
                worker.is_ready = True  # also by an empty report, its first
            except EOFError:
                self._lost(worker)

    def _tick(self, now_s: float) -> None:
        request_s = self._pool.stop_request()
        if request_s is not None or self._shutdown.has_begun:
            self._advance_stop(now_s, request_s)
        self._in_place = self._is_in_place(now_s)
        if not self._in_place:
            for worker in self._workers:
                if worker.is_silent:
                    self._lost(worker)
            return
        if self._inboxes is not None:
            self._inboxes.step(fork=self._may_fork(), close_inherited=self._close_inherited)
        self._check_paused()
        for name in self._arrivals.changed():
            self._queue.look_again(name, self._clock.now())
        for name, arriving in self._arrivals.quiet():
            self._settle_arrival(name, arriving)
        self._cancel_runs()
        mine = {job_id for worker in self._workers for job_id in worker.running.values()}
        with self._breaker.guard():
            for rescued in self._rescue.look(mine):
                self._tell(rescued)
                if not rescued.settled.cancelled:
                    self._fire(rescued.settled.to, rescued.settled.name)
                if rescued.settled.to == PENDING:
                    self._dispatcher.add([rescued.settled.name])
        for worker in self._workers:
            if worker.is_silent:
                self._lost(worker)
            if not worker.is_alive and not self._shutdown.has_begun and self._may_start(now_s):
                self._start_again(worker, now_s)
        self._hooks.step()
        self._tell_idle()
        self._housekeeping.step()
        if trouble := self._dashboard.step():
            self._tell(Notice(WARNING, "dashboard", trouble))
        self._recheck_clock()

    def _is_in_place(self, now_s: float) -> bool:
        """True where the spool is the one that this pool began with; else the pool waits for it, or ends."""
        where = self._anchor.look() if self._anchor is not None else anchor.IN_PLACE
        if where == anchor.AWAY:
            self._breaker.trip(f"the spool is not at {self._spool.root}")
            return False
        if where != anchor.IN_PLACE:
            if not self._displaced:
                self._displaced = where
                text = f"{self._spool.root} was {where} while this pool worked on it; ending the pool and what it runs"
                self._tell(Notice(WARNING, "displaced", text))
                self._shutdown.abandon(now_s)
            return False
        with self._breaker.guard():
            self._spool.restore_folders()
        if self._spool.restored:
            self._scan_soon()
        while self._spool.restored:
            self._tell_restored(self._spool.restored.pop())
        return True

    def _tell_restored(self, folder: str) -> None:
        text = f"{folder}/ was missing and is made again; what was in it is gone"
        self._tell(Notice(WARNING, "restored", text))

    def _cancel_runs(self) -> None:
        """Have the workers end the runs that somebody asked to cancel."""
        with self._breaker.guard():
            for job_id, attempt in cancel_requests.waiting(self._spool):
                worker = next((worker for worker in self._workers if job_id in worker.running.values()), None)
                if worker is None or (job_id, attempt) in self._cancelled:
                    continue
                try:
                    request = cancel_requests.find(self._spool, job_id, attempt)
                except OSError as error:
                    fault = self._claims.blame.fault(error, self._spool.cancel_dir)
                    if fault is None:
                        raise
                    self._cancelled.add((job_id, attempt))  # and so it is reported once
                    cure = f"; to cure it: {fault.cure}, then cancel once more" if fault.cure else ""
                    self._tell(
                        Notice(WARNING, "stuck", f"cannot read a request to cancel {job_id}: {fault.text}{cure}")
                    )
                    continue
                if request is not None:
                    self._cancelled.add((job_id, attempt))
                    worker.send(Cancel(job_id, attempt, request.text))

    def _check(self) -> None:
        """Tell what a cheap look at the spool finds (see `check.quick`)."""
        with self._breaker.guard():
            for found in check.quick(self._session):
                level = WARNING if found.severity == "problem" else INFO
                self._tell(Notice(level, "check", f"{found.path}: {found.text}"))

    def _scan(self) -> None:
        """List pending/ (and what is beside it): the truth that events only hint at (promise P8)."""
        started_s = self._clock.monotonic()
        if not self._in_place:
            self._next_scan_s = started_s + TICK_S
            return
        with self._breaker.guard():
            generated, others = self._spool.waiting()
            self._dispatcher.trust_listing()
            self._queue.update(generated, others, self._clock.now())
            if self._next_recheck_s == math.inf:
                self._next_recheck_s = started_s
            self._stale.look(generated + others, paused=self._paused)
            for name in self._rejected.readmit():
                self._tell(Notice(INFO, "healed", f"{name} is a valid job now: back from rejected/ to pending/"))
                self._dispatcher.add([name])
            self._dispatcher.go_on_splitting(batch.unfinished(self._spool))
        took_s = self._clock.monotonic() - started_s
        self._next_scan_s = self._clock.monotonic() + max(self._scan_s, took_s / _SCAN_SHARE)

    def _scan_soon(self) -> None:
        """Have pending/ listed in this round of the loop."""
        self._next_scan_s = -math.inf

    # -------------------------------------------------------------------------------------------------- events

    def _arm(self, calm: bool) -> None:
        """Ask for events only while there is little to do; list once more after arming.

        Also while all workers are at long jobs: a drop is judged then as soon as it comes.

        Not on network and user-space file systems: some events of ours would come there, and none of others'.
        """
        if not self._may_arm:
            return
        if self._options.drain and self._dispatcher.is_empty:
            return  # it ends now: watchdog need not be loaded for that
        if len(self._queue) > _DISARM_AT:
            self._watch.disarm()
        elif calm and not self._watch.armed and (now_s := self._clock.monotonic()) >= self._next_arm_s:
            if self._watch.arm():
                self._scan_soon()
            else:
                self._next_arm_s = now_s + _ARM_AGAIN_S

    # ------------------------------------------------------------------------------------------------- reports

    def _take(self, worker: WorkerProcess, report: Report) -> None:
        """Take in what a worker reports."""
        if isinstance(report, Passed):
            self._dispatcher.passed(worker, report.name, report.declined)
            if isinstance(report.declined, Dead):
                self._fire(DLQ, report.declined.name)
            return
        if isinstance(report, Trouble):
            self._breaker.trip(report.text)
            return
        if isinstance(report, Restored):
            self._tell_restored(report.folder)
            return
        if isinstance(report, Started):
            worker.running[report.name] = report.job_id
            worker.running_since_s = self._clock.monotonic()
        elif isinstance(report, Finished):
            self._take_finished(worker, report)
        elif isinstance(report, Vanished):
            self._dispatcher.vanished(worker, report.job_id)
            self._finished += 1  # a run, although nobody can look it up
            self._idle_told = False
        self._tell(report)

    def _take_finished(self, worker: WorkerProcess, report: Finished) -> None:
        if (run := (report.job_id, report.attempt)) in self._cancelled:
            self._cancelled.discard(run)
            cancel_requests.remove(self._spool, *run)
        released = report.outcome.kind == "released"
        self._dispatcher.settled(worker, report.name, counts=not released, took_s=report.outcome.duration_s)
        if released:
            self._released.append(report.job_id)
        else:
            self._finished += 1
            self._breaker.reset()
        if report.outcome.kind != CANCELLED:
            self._fire(report.settled.to, report.settled.name)
        if report.settled.to == PENDING:
            self._dispatcher.add([report.settled.name])

    def _settle_arrival(self, name: str, declined: Arriving) -> None:
        """A file that has been quiet for long enough: many jobs, or none."""
        if names.is_batch(name) and not declined.why:
            self._dispatcher.split(name)
        elif declined.sig is not None:
            with self._breaker.guard():
                try:
                    verdict = self._claims.reject_quiet(name, declined.sig, declined.why, declined.hint)
                except OSError as error:
                    stuck = self._claims.stuck(name, error)
                    if stuck is None:
                        raise
                    verdict = stuck
                if not isinstance(verdict, Arriving | Busy):  # else it changed just now, or is looked at: next time
                    self._dispatcher.passed(None, name, verdict)

    # --------------------------------------------------------------------------------------------------- hooks

    def _fire(self, state: str, name: str) -> None:
        """Have the hook started for a job that has moved to where it stays."""
        self._idle_told = False
        if state in (DLQ, DONE):
            self._hooks.fire(hooks.DEAD if state == DLQ else DONE, self._spool.path(state, name))

    def _tell_idle(self) -> None:
        if not self._idle_told and self._dispatcher.is_empty:
            self._idle_told = True
            self._hooks.fire(hooks.IDLE)

    def _finish_hooks(self) -> None:
        """What the last jobs asked for is done before the pool ends; a second request to stop cuts it short."""
        stopped = self._signalled > 0 or self._pool.stop_request() is not None
        self._tell_idle()
        within_s = _HOOKS_STOPPED_WITHIN_S if stopped else _HOOKS_WITHIN_S
        self._hooks.finish(within_s, hurry=lambda: self._signalled > 1 or self._pool.stop_request() == 0)

    # ------------------------------------------------------------------------------------------------ pause, clock

    def _check_paused(self) -> None:
        paused = pause.is_paused(self._spool)
        if paused and (until_at := pause.until(self._spool)) is not None and until_at <= self._clock.now():
            with self._breaker.guard():
                paused = not pause.resume(self._spool) and pause.is_paused(self._spool)
        if paused != self._paused:
            self._paused = paused
            reason = pause.reason(self._spool) if paused else ""
            text = (
                f"paused{': ' + reason if reason else ''}; to go on: queuectl resume, or delete PAUSED"
                if paused
                else "no longer paused"
            )
            self._tell(Notice(INFO, "paused" if paused else "unpaused", text))

    def _recheck_clock(self) -> None:
        """Look whether waiting jobs are due by their records, some at each tick.

        A clock may have been set back, and whoever named a file may have been wrong.
        """
        offset_s = self._clock.now() - self._clock.monotonic()
        moved_s, self._clock_offset_s = offset_s - self._clock_offset_s, offset_s
        now_at, now_s = self._clock.now(), self._clock.monotonic()
        if moved_s <= -1.0 or now_s >= self._next_recheck_s:
            self._next_recheck_s = now_s + _RECHECK_EVERY_S
            self._rechecked = iter(self._queue.recheck_waiting(now_at))
        until_s = now_s + TICK_S * _RECHECK_SHARE
        due: set[str] = set()
        for name in itertools.chain(self._rechecked, iter(self._queue.next_unverified, None)):
            with contextlib.suppress(OSError):
                if not self._waits_as_named(name, now_at):
                    due.add(name)
            if self._clock.monotonic() >= until_s:
                break
        if due:
            self._queue.advance(due, now_at)

    def _waits_as_named(self, name: str, now_at: float) -> bool:
        """False where a record says another time than its name: a claim then runs it, or gives it the right name."""
        try:
            now = self._spool.read(PENDING, name).record.standing()
        except DamagedRecordError:
            return True  # a drop: nothing contradicts its name
        if now.due_at is None or is_due(now.due_at, now.delay_s, now_at):
            return False
        parts = names.parse(name)
        return parts is not None and parts.due_at is not None and parts.due_at - now.due_at <= _NAMED_TOO_LATE_S

    # --------------------------------------------------------------------------------------------- start, stop

    def _prepare_inboxes(self) -> None:
        """Have the inboxes of the settings received from, where there are any or where one has left something."""
        if not self._settings.inboxes and not self._spool.has_inbox_traces():
            return
        from queuectl.pool.inbox_processes import InboxProcesses

        self._inboxes = InboxProcesses(self._session, notify=self._tell)
        with self._breaker.guard():
            self._inboxes.clean_up()

    def _start(self, worker: WorkerProcess) -> None:
        self._serial += 1
        name = f"{self._pool.name}-{self._serial}"
        worker.start(
            self._session, name, cwd=self._options.cwd, fork=self._may_fork(), close_inherited=self._close_inherited
        )

    def _may_fork(self) -> bool:
        return worker_process.can_fork() and len(self._queue) + self._queue.waiting < _FORK_UNTIL

    def _start_again(self, worker: WorkerProcess, now_s: float) -> None:
        """Start a worker in the place of one that is gone. Where that cannot be, the others go on."""
        try:
            self._start(worker)
        except OSError as error:
            self._next_start_s = now_s + _START_AGAIN_S
            if not self._cannot_start:
                self._cannot_start = True
                text = f"cannot start a worker: {error.strerror or error}; trying again by itself"
                self._tell(Notice(WARNING, "trouble", text))
        else:
            self._cannot_start = False

    def _close_inherited(self) -> None:
        """Close whatever this supervisor has open: called in a worker that was forked."""
        for worker in self._workers:
            worker.close_inherited()
        if self._inboxes is not None:
            self._inboxes.close_inherited()
        self._watch.close_inherited()
        self._wakeup.close()
        self._stripes.close()
        self._dashboard.close_inherited()
        self._stale.close_inherited()
        self._pool.close_inherited()
        if self._anchor is not None:
            self._anchor.close()

    def _may_start(self, now_s: float) -> bool:
        """False while workers die as fast as they are started, and for a while after one could not be started."""
        if now_s < self._next_start_s:
            return False
        return len(self._deaths) < 5 or now_s - self._deaths[0] > 5.0 or now_s - self._deaths[-1] > 1.0

    def _lost(self, worker: WorkerProcess) -> None:
        """A worker is gone: what it had is suggested to others; its job is found by its freed lease."""
        self._dispatcher.reassign(worker)
        self._next_tick_s = 0.0
        if not self._shutdown.has_begun:
            self._deaths.append(self._clock.monotonic())
            code = worker.exit_code
            how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
            self._tell(Notice(WARNING, "worker_lost", f"worker {worker.name} ended {how}; starting another"))

    def _advance_stop(self, now_s: float, grace_s: float | None) -> None:
        if grace_s is not None and self._shutdown.begin(now_s, grace_s):
            running = sum(len(worker.running) for worker in self._workers)
            longest = "however long they take" if math.isinf(grace_s) else f"up to {grace_s:g} s"
            waits = f"waiting for {running} running, {longest}" if running and grace_s else "asked to"
            self._tell(Notice(INFO, "stopping", waits))
        self._shutdown.advance(now_s)

    def _is_over(self) -> bool:
        if self._shutdown.has_begun:
            if self._inboxes is not None:
                self._inboxes.pause()
            return self._shutdown.is_over
        maximum = self._options.max_jobs
        enough = maximum is not None and self._finished >= maximum
        if enough or (self._options.drain and self._is_drained()):
            self._shutdown.begin(self._clock.monotonic(), self._settings.stop_grace_s)
        return False

    def _is_drained(self) -> bool:
        if not self._dispatcher.is_empty or self._paused or self._housekeeping.is_mending:
            return False
        if any(worker.is_alive and not worker.is_ready for worker in self._workers):
            return False
        if self._inboxes is not None and not self._inboxes.is_drained:
            return False
        with self._breaker.guard():
            # What the memory says is not enough to go home on.
            self._dispatcher.go_on_splitting(batch.unfinished(self._spool))
            self._dispatcher.trust_listing()
            return (
                self._queue.update(*self._spool.waiting(), self._clock.now()) == 0
                and self._rescue.left_alone.issuperset(self._spool.job_names(RUNNING))
                and self._dispatcher.is_empty
            )
        return False

    def _close(self) -> None:
        self._watch.close()
        self._hooks.close()
        for worker in self._workers:
            if worker.is_alive:
                worker.kill()
                worker.take_names()
        if self._inboxes is not None:
            self._inboxes.close()
        if self._anchor is not None:
            self._anchor.close()
        if self._displaced:  # nothing of it is this pool's any more
            self._pool.close_inherited()
            self._dashboard.close_inherited()
            self._close_locks()
            return
        with contextlib.suppress(OSError):
            self._rescue.sweep_leases()  # what workers left to others for an instant, while somebody looked at it
        with contextlib.suppress(OSError):
            # The record that tells the next pool to look for torn ends goes; so first there are to be none.
            if self._finished and self._settings.durability != "off":
                disk.sync_files(self._spool.root, [])
        self._pool.leave(StopSummary(self._released, self._finished), clean=self._housekeeping.is_clean)
        self._dashboard.close()
        self._close_locks()

    def _close_locks(self) -> None:
        self._stale.close_inherited()
        self._stripes.close()
        self._wakeup.close()


def run_pool(spool: SpoolDir, settings: Settings, options: Options, tell: Callable[[list[Event]], None]) -> StopSummary:
    """Run a pool in this process until it ends; SIGINT, SIGTERM, SIGHUP and SIGBREAK stop it gracefully, twice at once.

    Raises:
        UntrustedSpoolError, InvalidSettingsError: others could have the pool run what they like (P10).
        OSError: it cannot be started.
    """
    trust.check(spool)
    trust.check_all(spool, settings)
    spool.complete()
    made = Supervisor(Session(spool, settings, Clock(), random.Random()), options, tell)
    old = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        # What was ignored at the start stays so: that is how nohup asks to go on after a hang-up.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            old[number] = signal.signal(number, made.stop)
    try:
        return made.run()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
