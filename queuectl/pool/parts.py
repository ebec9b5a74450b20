"""Create and connect the parts of one pool, start, finish and close them, and list its sources and duties."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from queuectl.jobs.triage import Triage
from queuectl.maintenance.rescuer import Rescue
from queuectl.maintenance.sweeper import sweep_pools
from queuectl.model.needs import Choice
from queuectl.model.notice import INFO, WARNING, Notice
from queuectl.model.run_queue import RunQueue
from queuectl.pool import worker_process
from queuectl.pool.adjustment import Adjustment
from queuectl.pool.arrivals import Arrivals
from queuectl.pool.breaker import Breaker
from queuectl.pool.cancellations import Cancellations
from queuectl.pool.control import Control
from queuectl.pool.core import Core
from queuectl.pool.counters import Counters
from queuectl.pool.crew import Crew
from queuectl.pool.dashboard import Dashboard
from queuectl.pool.dispatcher import Dispatcher
from queuectl.pool.drain import Drain
from queuectl.pool.drops import Drops
from queuectl.pool.early_judge import EarlyJudge
from queuectl.pool.feeding import Feeding, Promotion, PromptFeeding
from queuectl.pool.first_look import FirstLook
from queuectl.pool.hooks import Hooks
from queuectl.pool.housekeeping import Housekeeping
from queuectl.pool.notices import Event
from queuectl.pool.options import Options, spread
from queuectl.pool.outcomes import Outcomes
from queuectl.pool.parent_watch import ParentWatch
from queuectl.pool.presence import Presence
from queuectl.pool.queue_watch import QueueWatch
from queuectl.pool.rate_watch import RateWatch
from queuectl.pool.scanner import Scanner
from queuectl.pool.schedule_watch import ScheduleWatch
from queuectl.pool.shutdown import Shutdown
from queuectl.pool.ticks import Plan, Step, Ticks
from queuectl.pool.worker_process import WorkerProcess
from queuectl.spool import stamps
from queuectl.spool.counts import DIED, DRAINED, STOPPED, Ended
from queuectl.spool.pools import Pool, StopSummary
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk

if TYPE_CHECKING:
    from queuectl.pool.inbox_processes import InboxProcesses
    from queuectl.pool.supervisor import Duty, Source


class Parts:
    """Everything that one pool is made of."""

    def __init__(self, session: Session, options: Options, notify: Callable[[Event], None]) -> None:
        # The pool changes its queues in place (`queue_watch`).
        session = session._replace(settings=session.settings._replace(queues=dict(session.settings.queues)))
        spool, settings, clock, _ = session
        workers = [WorkerProcess(slots) for slots in spread(options.slots, settings.worker_processes)]
        if options.cluster_slots:
            takes_plain = settings.cluster_take == "all"
            workers.append(WorkerProcess(0, cluster_slots=options.cluster_slots, takes_plain=takes_plain))
        self.pool = Pool(
            session,
            count=options.slots,
            processes=len(workers),
            cwd=options.cwd,
            queues=options.queues,
            cluster_slots=options.cluster_slots,
        )
        arrivals = Arrivals(spool, settle_s=settings.settle_s, clock=clock)
        choice = Choice(
            frozenset(options.queues),
            plain=bool(options.slots) or settings.cluster_take == "all",
            needing=bool(options.cluster_slots),
        )
        queue = RunQueue(settings.queues, slots=options.slots + options.cluster_slots, choice=choice)
        dispatcher = Dispatcher(workers, queue, arrivals, clock=clock, notify=notify)
        dispatcher.jobs_left = options.max_jobs
        breaker = Breaker(spool.root, clock=clock, notify=notify)
        shutdown = Shutdown(workers, settings)
        self.core = core = Core(session, options, notify, queue, workers, dispatcher, breaker, shutdown)
        self._stripes = Stripes(spool)
        triage = Triage(session, self._stripes)
        self._rescuer = Rescue(session, self._stripes, notify=notify)
        self._housekeeping = Housekeeping(session, self._stripes, breaker, notify=notify)
        counters = Counters(session)
        self._dashboard = Dashboard(session, counters, is_busy=lambda: bool(len(queue)) and not dispatcher.is_slow)
        self.hooks = Hooks(session, cwd=options.cwd, notify=notify)
        self.control = Control(core, self.pool)
        self.presence = Presence(core)
        self.scanner = Scanner(core, self.presence, self.control, self.hooks)
        self.cancellations = Cancellations(core, triage)
        self.outcomes = Outcomes(core, self.hooks, self.cancellations, self._rescuer, counters)
        self._drops = Drops(core, arrivals, triage)
        self.crew = Crew(core, self.pool.name, close_inherited=self._close_inherited)
        self._early_judge = EarlyJudge(
            triage, queue, lambda name, verdict: self.outcomes.passed(None, name, verdict), clock=clock
        )
        self._parent_watch = ParentWatch(core, self._stripes, is_local=self.scanner.is_local)
        self.outcomes.on_end = self._parent_watch.ended
        self._queue_watch = QueueWatch(core, self.pool, self.crew)
        self._schedules = ScheduleWatch(core, self.presence, is_local=self.scanner.is_local)
        self._inboxes: InboxProcesses | None = None

    # ------------------------------------------------------------------------------------------ sources and duties

    def sources(self) -> list[Source]:
        """Return the sources that the loop waits for."""
        inboxes = [] if self._inboxes is None else self._inboxes.sources(self.core.dispatcher.add)
        sources = self.crew.sources(self.outcomes)
        sources += [self.control, *inboxes, self.scanner]
        return sources

    def duties(self) -> list[Duty]:
        """Return the duties of the loop after each wait, in order."""
        ticks = Ticks(
            Plan(
                first=self.control.check_stop_file,
                is_in_place=self._check_presence,
                steps=self._steps(),
                without_spool=self.crew.find_silent,
            )
        )
        self.crew.on_lost = ticks.soon
        busy = [
            lambda: self.control.is_paused,
            lambda: self._housekeeping.is_repairing,
            lambda: self.crew.has_unready,
            lambda: self._inboxes is not None and not self._inboxes.is_drained,
        ]
        feeding = Feeding(self.core, self._early_judge, self.scanner, self.control)
        return [
            PromptFeeding(self.core, self.scanner, feeding),
            Promotion(self.core),
            ticks,
            self._schedules,
            self.scanner,
            RateWatch(self.core),
            feeding,
            FirstLook(self.core, self.crew, self._housekeeping),
            self.control,
            Drain(
                self.core,
                self.outcomes,
                self._rescuer,
                busy=busy,
                on_end=self._pause_inboxes,
                look_at_parents=self._parent_watch.look,
            ),
        ]

    def _steps(self) -> list[Step]:
        """Return the steps of a tick while the spool is in place, in order."""
        return [
            self._step_inboxes,
            self.control.check_pause,
            self._queue_watch.step,
            self._parent_watch.step,
            Adjustment(self.core, self.pool, self.crew).step,
            self._drops.step,
            self.cancellations.step,
            self.outcomes.rescue,
            self.crew.step,
            lambda _: self.hooks.step(),
            self.outcomes.fire_if_idle,
            lambda _: self._housekeeping.step(),
            self._step_dashboard,
            self.scanner.due_times.step,
        ]

    def _check_presence(self, now_s: float) -> bool:
        is_in_place = self.presence.check(now_s)
        if self.presence.has_restored:
            self.scanner.scan_soon()
        return is_in_place

    def _pause_inboxes(self) -> None:
        if self._inboxes is not None:
            self._inboxes.pause()

    def _step_inboxes(self, _now_s: float) -> None:
        if self._inboxes is not None:
            self._inboxes.step(fork=self.crew.may_fork, close_inherited=self._close_inherited)

    def _step_dashboard(self, _now_s: float) -> None:
        if trouble := self._dashboard.step():
            self.core.notify(Notice(WARNING, "dashboard", trouble))

    def is_over(self) -> bool:
        """True once the end has begun and every worker has ended."""
        return self.core.shutdown.is_over

    # ---------------------------------------------------------------------------------------------- begin and end

    def begin(self) -> None:
        """Enter the spool as a pool, start the processes, and list the spool for the first time.

        Raises:
            OSError: the pool cannot be started.
        """
        self.presence.begin(self.pool.lock, is_local=self.scanner.is_local)
        if sweep_pools(self.core.session.spool):
            self._housekeeping.start_repair()
        if (wait_s := stamps.wait_s(self.core.session.spool)) > 0:
            text = f"starts no job for {wait_s:.0f} s: this machine has just started, and nodes may still run commands"
            self.core.breaker.hold(wait_s, text)
        worker_process.prepare()
        self._prepare_inboxes()
        self.crew.start()
        self.core.notify(Notice(INFO, "pool_started", self.pool.name))
        self._housekeeping.compare_clock()
        self.scanner.scan()
        self.scanner.due_times.step()

    def _prepare_inboxes(self) -> None:
        """Create the inbox processes, if the settings name inboxes or a former inbox has left files."""
        session = self.core.session
        if not session.settings.inboxes and not session.spool.has_inbox_traces():
            return
        from queuectl.pool.inbox_processes import InboxProcesses

        self._inboxes = InboxProcesses(session, notify=self.core.notify)
        with self.core.breaker.guard():
            self._inboxes.clean_up()

    def finish(self) -> None:
        """Wait for the hooks of the last jobs."""
        control = self.control
        self.outcomes.finish_hooks(is_stopped=control.is_stop_asked, is_urgent=lambda: control.is_urgent)

    def summary(self) -> StopSummary:
        """Return a summary of the pool's work.

        Raises:
            SpoolUnavailableError: the spool was taken from this pool.
        """
        self.presence.raise_if_displaced()
        return self.outcomes.summary

    def close(self) -> None:
        """End everything that runs, leave the spool, and close all handles."""
        self.scanner.close()
        self.hooks.close()
        self.crew.kill()
        if self._inboxes is not None:
            self._inboxes.close()
        self.presence.close()
        if self.presence.is_displaced:  # the spool at this path no longer belongs to this pool
            self.pool.close_inherited()
            self._dashboard.close_inherited()
            self._close_locks()
            return
        session = self.core.session
        with contextlib.suppress(OSError):
            self._housekeeping.sweep_leases()  # leases that another process held for an instant
        with contextlib.suppress(OSError):
            # After this, no record makes the next pool look for torn ends, so first make sure that there are none.
            if self.outcomes.finished and session.syncs_accepted:
                disk.sync_files(session.spool.root, [])
        ended = Ended(self.pool.name, self._how(), session.clock.now())
        self.pool.leave(self.outcomes.summary, clean=self._housekeeping.is_clean)
        self._dashboard.close(ended)
        self._close_locks()

    def _how(self) -> str:
        """Return how this pool ends."""
        if not self.core.shutdown.has_begun:
            return DIED  # by an error
        options = self.core.options
        is_enough = options.max_jobs is not None and self.outcomes.finished >= options.max_jobs
        return DRAINED if options.drain and not is_enough and not self.control.is_stop_asked else STOPPED

    def _close_locks(self) -> None:
        self.scanner.close_inherited()
        self._stripes.close()
        self._queue_watch.close()
        self._schedules.close()
        self.control.close()

    def _close_inherited(self) -> None:
        """Close every handle of this process. A forked process calls this first."""
        for worker in self.core.workers:
            worker.close_inherited()
        if self._inboxes is not None:
            self._inboxes.close_inherited()
        self.scanner.close_inherited()
        self.control.close()
        self._stripes.close()
        self._queue_watch.close()
        self._schedules.close()
        self._dashboard.close_inherited()
        self.pool.close_inherited()
        self.presence.close()
