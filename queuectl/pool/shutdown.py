"""End a pool in stages: stop new claims, then end the running jobs, then end the processes."""

from __future__ import annotations

import math

from queuectl.model.settings import Settings
from queuectl.pool.worker_process import WorkerProcess
from queuectl.worker.messages import Abandon, Kill, Leave, Stop

# How long the worker processes may take after the grace of a stop and of its kills, before they are killed.
_LAST_GRACE_S = 5.0


class Shutdown:
    """The progress of the end of a pool. Times are monotonic seconds."""

    def __init__(self, workers: list[WorkerProcess], settings: Settings) -> None:
        self._workers = workers
        self.settings = settings
        self._stage = 0
        self._until_s = math.inf
        self._grace_s = math.inf
        self._leaves = False

    @property
    def has_begun(self) -> bool:
        """True once the workers were asked to claim no more jobs."""
        return self._stage > 0

    @property
    def is_over(self) -> bool:
        """True once the end has begun and every worker has ended."""
        return self.has_begun and not any(worker.is_alive for worker in self._workers)

    def begin(self, now_s: float, grace_s: float, *, leaves: bool = False) -> bool:
        """Tell the workers to end after their running jobs, which may take `grace_s` from now (0: none; inf: no limit).

        With `leaves`, the worker of a cluster ends at once, and its commands go on for the next pool. A further call
        can only shorten the grace. Return False if the call changes nothing, so that one request may be passed on at
        every tick.
        """
        is_new = leaves and not self._leaves
        if is_new:
            self._leaves = True
            for worker in self._workers:
                if worker.cluster_slots:
                    worker.send(Leave())
        if self.has_begun and grace_s >= self._grace_s:
            return is_new
        self._grace_s = grace_s
        self._until_s = min(self._until_s, now_s + grace_s)
        if not self.has_begun:
            self._stage = 1
            for worker in self._workers:
                worker.send(Stop())
        return True

    def abandon(self, now_s: float) -> None:
        """Tell the workers to end their running jobs, write nothing more, and end."""
        self._stage = 2
        self._until_s = now_s + self.settings.kill_grace_s + _LAST_GRACE_S
        for worker in self._workers:
            worker.send(Abandon())

    def advance(self, now_s: float) -> None:
        """Continue with the next stage if its time has come."""
        if self._stage == 1 and now_s >= self._until_s:
            self._stage = 2
            self._until_s = now_s + self.settings.kill_grace_s + _LAST_GRACE_S
            for worker in self._workers:
                worker.send(Kill())
        if self._stage == 2 and now_s >= self._until_s:
            for worker in self._workers:
                worker.kill()
