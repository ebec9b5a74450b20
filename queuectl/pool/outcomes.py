"""Act on reports of workers and on rescued jobs: queue retries, fire hooks, count runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from queuectl.jobs.verdict import Dead, Declined, Skipped
from queuectl.maintenance.rescuer import Rescue
from queuectl.model.lifecycle import CANCELLED, DLQ, DONE, PENDING, RELEASED
from queuectl.model.notice import INFO, WARNING, Notice
from queuectl.pool import notices
from queuectl.pool.cancellations import Cancellations
from queuectl.pool.core import Core
from queuectl.pool.counters import Counters
from queuectl.pool.hooks import DEAD, HALT, IDLE, Hooks
from queuectl.pool.worker_process import WorkerProcess
from queuectl.spool.pools import StopSummary
from queuectl.worker.messages import (
    Defect,
    Finished,
    Halted,
    Left,
    Offers,
    Passed,
    Places,
    Remark,
    Report,
    Restored,
    Started,
    Trouble,
    Vanished,
)

# An ending pool waits this long for the hooks of its last jobs, the limit of one hook. A stopped pool waits less.
_HOOKS_WITHIN_S = 30.0
_HOOKS_STOPPED_WITHIN_S = 3.0


class Outcomes:
    """Handles the reports of one pool's workers, and the jobs that its rescuer finds."""

    def __init__(
        self, core: Core, hooks: Hooks, cancellations: Cancellations, rescuer: Rescue, counters: Counters
    ) -> None:
        self.on_end: Callable[[str], None] = lambda _name: None
        """Called with the name of each job that has moved to done/ or dlq/."""
        self._core = core
        self._counters = counters
        self._hooks = hooks
        self._cancellations = cancellations
        self._rescuer = rescuer
        self._is_idle_fired = True
        self._released: list[str] = []
        self._left: list[str] = []
        self._left_s = 0.0
        self.finished = 0
        """How many runs have ended."""

    @property
    def summary(self) -> StopSummary:
        """The work of the pool so far."""
        return StopSummary(self._released, self.finished, self._left, self._left_s)

    def take(self, worker: WorkerProcess, report: Report) -> None:
        """Act on a report of a worker, and pass it on if it is for people."""
        match report:
            case Finished():
                self._take_finished(worker, report)
                self._core.notify(report)
            case Started():
                self._core.dispatcher.started(worker, report.name, report.job_id)
                self._core.notify(report)
            case Passed():
                self.passed(worker, report.name, report.declined)
            case Vanished():
                self._core.dispatcher.settled(worker, report.name, counts=True)
                self.finished += 1  # a run, although it is on no record
                self._is_idle_fired = False
                self._core.notify(report)
            case Trouble():
                self._core.breaker.trip(report.text)
            case Places(slots):
                worker.slots = slots
            case Offers(needed):
                self._core.queue.offer(needed)
            case Left(job_ids, within_s):
                self._left, self._left_s = job_ids, within_s
            case Halted(queue):
                self._halted(queue)
            case Remark(text, is_warning):
                self._core.notify(Notice(WARNING if is_warning else INFO, "cluster", text))
            case Restored():
                self._core.notify(notices.restored(report.folder))
            case Defect():
                self._core.dispatcher.settled(worker, report.name, counts=False)
                self._core.notify(report)
            case _:
                assert_never(report)

    def passed(self, worker: WorkerProcess | None, name: str, declined: Declined) -> None:
        """Act on a name that could not be claimed; `worker` None: this process has judged the file."""
        self._core.dispatcher.passed(worker, name, declined)
        if isinstance(declined, Dead):
            self._counters.count(DLQ)
            self._fire(DLQ, declined.name)
        if isinstance(declined, Dead | Skipped):
            self.on_end(declined.name)

    def _take_finished(self, worker: WorkerProcess, report: Finished) -> None:
        dispatcher = self._core.dispatcher
        if self._cancellations.seen:
            self._cancellations.finished(report.job_id, report.attempt)
        released = report.outcome.kind == RELEASED
        dispatcher.settled(worker, report.name, counts=not released, took_s=report.outcome.duration_s)
        if released:
            self._released.append(report.job_id)
        else:
            self.finished += 1
            if self._core.breaker.errors:
                self._core.breaker.reset()
            if report.outcome.kind != CANCELLED and not report.settled.skipped:
                self._counters.count(report.settled.to)
        if report.outcome.kind != CANCELLED and not report.settled.skipped:
            self._fire(report.settled.to, report.settled.name)
        if report.settled.to == PENDING:
            dispatcher.add([report.settled.name])
        elif self._core.queue.blocked.parent_of:
            self.on_end(report.settled.name)

    def rescue(self, now_s: float) -> None:
        """Rescue jobs whose worker died (see `rescuer`)."""
        # Their files need not be read at each tick, nor their leases be tried.
        mine = {job_id for worker in self._core.workers for job_id in worker.job_ids(now_s)}
        with self._core.breaker.guard():
            for rescued in self._rescuer.rescue_all(mine):
                self._core.notify(rescued)
                if not (rescued.settled.cancelled or rescued.settled.skipped):
                    if rescued.settled.to in (DLQ, DONE):
                        self._counters.count(rescued.settled.to)
                    self._fire(rescued.settled.to, rescued.settled.name)
                if rescued.settled.to == PENDING:
                    self._core.dispatcher.add([rescued.settled.name])
                else:
                    self.on_end(rescued.settled.name)
            for queue in self._rescuer.take_halted():
                self._halted(queue)

    # --------------------------------------------------------------------------------------------------- hooks

    def _fire(self, state: str, name: str) -> None:
        """Fire the hook for a job that has moved to a final state."""
        self._is_idle_fired = False
        event = DEAD if state == DLQ else state
        if event in self._hooks.events:
            self._hooks.fire(event, self._core.session.spool.path(state, name))

    def _halted(self, queue: str) -> None:
        """Fire the hook for a queue that a run of this pool has halted."""
        self._hooks.fire(HALT, self._core.session.spool.queue_paused_path(queue))

    def fire_if_idle(self, _now_s: float = 0.0) -> None:
        """Fire the hook `on_idle` once after the last job."""
        if not self._is_idle_fired and self._core.dispatcher.is_empty:
            self._is_idle_fired = True
            self._hooks.fire(IDLE)

    def finish_hooks(self, *, is_stopped: bool, is_urgent: Callable[[], bool]) -> None:
        """Wait for the hooks of the last jobs; a second request to stop (`is_urgent`) ends the wait."""
        self.fire_if_idle()
        within_s = _HOOKS_STOPPED_WITHIN_S if is_stopped else _HOOKS_WITHIN_S
        self._hooks.finish(within_s, hurry=is_urgent)
