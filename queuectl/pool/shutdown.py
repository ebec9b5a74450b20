"""Ending a pool in stages: no new claims; the end of the running jobs; the end of the processes."""

from __future__ import annotations

import math

from queuectl.model.settings import Settings
from queuectl.pool.worker_process import Slot

# After the grace of a stop and of its kills, how long the processes themselves may take before they are ended.
_LAST_GRACE_S = 5.0


class Stopping:
    """How far the end of a pool is. Times are monotonic seconds."""

    def __init__(self, slots: list[Slot], settings: Settings) -> None:
        self._slots = slots
        self._settings = settings
        self._stage = 0
        self._until_s = math.inf
        self._grace_s = math.inf

    @property
    def begun(self) -> bool:
        """True once the workers were told to claim nothing more."""
        return self._stage > 0

    @property
    def over(self) -> bool:
        """True where every worker is gone."""
        return self.begun and not any(slot.alive for slot in self._slots)

    def ask(self, now_s: float, grace_s: float) -> bool:
        """Have the workers end after the job they run, which may take `grace_s` from now (0: end it; inf: as it takes).

        Asked again, only a shorter grace counts: a stop gets harder, never softer. Returns False for one that does not
        count, so that the same request may be asked at every look.
        """
        if self.begun and grace_s >= self._grace_s:
            return False
        self._grace_s = grace_s
        self._until_s = min(self._until_s, now_s + grace_s)
        if not self.begun:
            self._stage = 1
            for slot in self._slots:
                slot.send("stop")
        return True

    def abandon(self, now_s: float) -> None:
        """Have the workers end what they run, write nothing any more, and end."""
        self._stage = 2
        self._until_s = now_s + self._settings.kill_grace_s + _LAST_GRACE_S
        for slot in self._slots:
            slot.send("abandon")

    def advance(self, now_s: float) -> None:
        """Go on to the next stage where its time has come."""
        if self._stage == 1 and now_s >= self._until_s:
            self._stage = 2
            self._until_s = now_s + self._settings.kill_grace_s + _LAST_GRACE_S
            for slot in self._slots:
                slot.send("kill")
        if self._stage == 2 and now_s >= self._until_s:
            for slot in self._slots:
                slot.kill()
