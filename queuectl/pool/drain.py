"""End a pool whose work is done: it has run `max_jobs`, or it drains and nothing is left."""

from __future__ import annotations

from collections.abc import Callable

from queuectl.maintenance.rescuer import Rescue
from queuectl.model import times
from queuectl.model.lifecycle import RUNNING
from queuectl.model.notice import INFO, WARNING, Notice
from queuectl.pool.core import Core
from queuectl.pool.outcomes import Outcomes
from queuectl.spool import batch

# A wait is announced if it lasts at least this long: the report of a failure has told a short delay already.
_LONG_S = 5.0


class Drain:
    """A duty of the loop: begin the end of the pool if its work is done, and announce that it waits for delayed jobs.

    Args:
        core: the values that the parts of the pool share.
        outcomes: counts the runs.
        rescuer: knows the files in running/ that no pool waits for.
        busy: functions; if one returns True, work is left.
        on_end: called in each round after the end has begun.
        look_at_parents: looks for blocked jobs that can go on, and returns whether there are any.
    """

    def __init__(
        self,
        core: Core,
        outcomes: Outcomes,
        rescuer: Rescue,
        *,
        busy: list[Callable[[], bool]],
        on_end: Callable[[], None],
        look_at_parents: Callable[[], bool] = lambda: False,
    ) -> None:
        self._core = core
        self._spool = core.session.spool
        self._clock = core.session.clock
        self._outcomes = outcomes
        self._rescuer = rescuer
        self._busy = busy
        self._on_end = on_end
        self._look_at_parents = look_at_parents
        self._has_told = False

    def step(self, _now_s: float) -> None:
        """Begin the end if the work is done."""
        if self._core.shutdown.has_begun:
            self._on_end()
            return
        maximum = self._core.options.max_jobs
        is_enough = maximum is not None and self._outcomes.finished >= maximum
        if self._core.options.drain:
            self._tell_of_delayed()
        if is_enough or (self._core.options.drain and self._find_nothing_left()):
            self._core.shutdown.begin(self._clock.monotonic(), self._core.session.settings.stop_grace_s)

    def due_s(self) -> None:
        """Return None: a drain ends at a tick."""

    def _tell_of_delayed(self) -> None:
        """Send one notice each time the pool begins to wait for jobs that are all due later."""
        queue = self._core.queue
        if not queue.waiting or not self._core.dispatcher.has_nothing_now:
            self._has_told = False
            return
        if self._has_told or queue.next_due_at is None or any(is_busy() for is_busy in self._busy):
            return
        left_s = queue.next_due_at - self._clock.now()
        if left_s < _LONG_S:
            return
        self._has_told = True
        jobs = "1 delayed job, due" if queue.waiting == 1 else f"{queue.waiting} delayed jobs, the next"
        text = f"for {jobs} in {times.format_duration(round(left_s))}; press Ctrl-C to stop"
        self._core.notify(Notice(INFO, "waiting", text))

    def _find_nothing_left(self) -> bool:
        """List the spool again and take over the listing; return True if nothing is left to do."""
        dispatcher = self._core.dispatcher
        if not dispatcher.is_empty or any(is_busy() for is_busy in self._busy):
            return False
        with self._core.breaker.guard():
            # The names in memory are not enough proof; only a listing is.
            dispatcher.go_on_splitting(batch.unfinished(self._spool))
            dispatcher.trust_listing()
            return (
                self._core.queue.update(*self._spool.waiting(), self._clock.now()) == 0
                and self._rescuer.left_alone.issuperset(self._spool.job_names(RUNNING))
                and not self._look_at_parents()
                and dispatcher.is_empty
                and self._tell_of_blocked()
            )
        return False

    def _tell_of_blocked(self) -> bool:
        """Say how many jobs stay blocked: nothing else is left, so no parent can end without a person. Return True."""
        if count := len(self._core.queue.blocked):
            jobs = (
                "1 job stays blocked: its parent is" if count == 1 else f"{count} jobs stay blocked: their parents are"
            )
            text = f"{jobs} held or not in the spool; to see why: queuectl why ID"
            self._core.notify(Notice(WARNING, "waiting", text))
        return True
