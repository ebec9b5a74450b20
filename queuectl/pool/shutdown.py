"""End a pool in stages: no new claims; then the end of the running jobs; then the end of the processes."""

from __future__ import annotations

import math

from queuectl.model.settings import Settings
from queuectl.pool.worker_process import WorkerProcess
from queuectl.worker.messages import Abandon, Kill, Stop

# After the grace of a stop and of its kills, how long the processes themselves may take before they are ended.
_LAST_GRACE_S = 5.0


class Shutdown:
    """How far the end of a pool is. Times are monotonic seconds."""

    def __init__(self, workers: list[WorkerProcess], settings: Settings) -> None:
        self._workers = workers
        self._settings = settings
        self._stage = 0
        self._until_s = math.inf
        self._grace_s = math.inf

    @property
    def has_begun(self) -> bool:
        """True once the workers were asked to claim nothing more."""
        return self._stage > 0

    @property
    def is_over(self) -> bool:
        """True once the end has begun and every worker is gone."""
        return self.has_begun and not any(worker.is_alive for worker in self._workers)

    def begin(self, now_s: float, grace_s: float) -> bool:
        """Have the workers end after their running jobs, which may take `grace_s` from now (0: none; inf: no limit).

        Called again, only a shorter grace counts: a stop gets harder, never softer. Return False if the call changes
        nothing, so that one request may be passed on at every tick.
        """
        if self.has_begun and grace_s >= self._grace_s:
            return False
        self._grace_s = grace_s
        self._until_s = min(self._until_s, now_s + grace_s)
        if not self.has_begun:
            self._stage = 1
            for worker in self._workers:
                worker.send(Stop())
        return True

    def abandon(self, now_s: float) -> None:
        """Have the workers end their running jobs, write nothing any more, and end."""
        self._stage = 2
        self._until_s = now_s + self._settings.kill_grace_s + _LAST_GRACE_S
        for worker in self._workers:
            worker.send(Abandon())

    def advance(self, now_s: float) -> None:
        """Go on to the next stage if its time has come."""
        if self._stage == 1 and now_s >= self._until_s:
            self._stage = 2
            self._until_s = now_s + self._settings.kill_grace_s + _LAST_GRACE_S
            for worker in self._workers:
                worker.send(Kill())
        if self._stage == 2 and now_s >= self._until_s:
            for worker in self._workers:
                worker.kill()
