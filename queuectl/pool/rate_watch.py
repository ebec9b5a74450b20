"""Open the gates that a rate has shut, at the instant that their logs of starts say. A duty of the pool's loop.

A worker that finds such a gate shut says for how long. Then this looks at the log once, and says to the run queue how
many names may be suggested, and when to look again if those are out. So nothing is tried in between. The gate decides.
"""

from __future__ import annotations

from queuectl.model import queues, rate
from queuectl.pool.core import Core


class RateWatch:
    """Watches the rates of one pool."""

    def __init__(self, core: Core) -> None:
        self._queue = core.queue
        self._spool = core.session.spool
        self._clock = core.session.clock
        self._limits = core.session.settings.queues

    def step(self, now_s: float) -> None:
        """Look at the logs that are due."""
        for queue, key in self._queue.due_rates(now_s):
            from queuectl.flows import rates  # most pools have no rates

            limits = self._limits.get(queue, queues.Queue())
            allowed = rate.of(limits.rate_per_key if key else limits.rate)
            if allowed is None:
                self._queue.forget_rate((queue, key))
                continue
            room = rates.room(self._spool, queue, key, allowed, self._clock.now())
            self._queue.allow((queue, key), room.free, now_s + room.wait_s)

    def due_s(self) -> float | None:
        """Return when the next look is due (monotonic), or None."""
        return self._queue.next_rate_s
