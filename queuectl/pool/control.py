"""Act on requests to a pool: to stop, by a signal or a file, and to pause, by the file PAUSED."""

from __future__ import annotations

import math
from multiprocessing.connection import Connection

from queuectl.model.notice import INFO, Notice
from queuectl.pool.core import Core
from queuectl.spool import pause
from queuectl.spool.pools import Pool
from queuectl.system.wakeup import Wakeup


class Control:
    """The requests to one pool. As a source of the loop, it wakes the loop after a signal."""

    def __init__(self, core: Core, pool: Pool) -> None:
        self._core = core
        self._clock = core.session.clock
        self._spool = core.session.spool
        self._pool = pool
        self._wakeup = Wakeup()
        self._signals = 0
        self.is_paused = False

    # --------------------------------------------------------------------------------------------------- source

    @property
    def conn(self) -> Connection:
        """The pipe that `signal` writes to."""
        return self._wakeup.conn

    def receive(self) -> None:
        """Empty the pipe: `step` acts on the signal."""
        self._wakeup.clear()

    def signal(self) -> None:
        """Count a signal to stop, and wake the loop. Safe in a signal handler."""
        self._signals += 1
        self._wakeup.wake()

    def close(self) -> None:
        """Close the pipe."""
        self._wakeup.close()

    # ----------------------------------------------------------------------------------------------------- stop

    @property
    def is_stop_asked(self) -> bool:
        """True if somebody asked this pool to stop."""
        return self._signals > 0 or self._pool.stop_request() is not None

    @property
    def is_urgent(self) -> bool:
        """True if somebody asked this pool to stop at once."""
        return self._signals > 1 or ((asked := self._pool.stop_request()) is not None and asked.grace_s == 0)

    def step(self, now_s: float) -> None:
        """Begin the stop that a signal requests, or continue it."""
        if self._signals > 0:
            self._advance(now_s, 0.0 if self._signals > 1 else self._core.session.settings.stop_grace_s)

    def due_s(self) -> None:
        """Return None: a signal wakes the loop."""

    def check_stop_file(self, now_s: float) -> None:
        """Begin the stop that a file requests, or continue a stop."""
        asked = self._pool.stop_request()
        if asked is not None:
            self._advance(now_s, asked.grace_s, leaves=asked.leaves)
        elif self._core.shutdown.has_begun:
            self._advance(now_s, None)

    def _advance(self, now_s: float, grace_s: float | None, *, leaves: bool = False) -> None:
        if grace_s is not None and self._core.shutdown.begin(now_s, grace_s, leaves=leaves):
            running = sum(len(worker.running) for worker in self._core.workers)
            longest = "without a time limit" if math.isinf(grace_s) else f"up to {grace_s:g} s"
            jobs = "job" if running == 1 else "jobs"
            waits = f"waiting for {running} running {jobs}, {longest}" if running and grace_s else "as requested"
            self._core.notify(Notice(INFO, "stopping", waits))
        self._core.shutdown.advance(now_s)

    # ---------------------------------------------------------------------------------------------------- pause

    def check_pause(self, _now_s: float) -> None:
        """Check for PAUSED; end a pause whose time is over."""
        paused = pause.is_paused(self._spool)
        if paused:
            with self._core.breaker.guard():
                paused = not pause.is_over(self._spool, self._clock.now())
        if paused == self.is_paused:
            return
        self.is_paused = paused
        if not paused:
            self._core.notify(Notice(INFO, "unpaused", "no longer paused"))
            return
        reason = pause.reason(self._spool)
        text = f"paused{': ' + reason if reason else ''}; to resume: queuectl resume, or delete PAUSED"
        self._core.notify(Notice(INFO, "paused", text))
