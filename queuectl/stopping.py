"""Ending a pool in stages: no new claims; the end of the running jobs; the end of the processes."""

from __future__ import annotations

from queuectl.config import Settings
from queuectl.slots import Slot

# After the grace of a stop and of its kills, how long the processes themselves may take before they are ended.
_LAST_GRACE_S = 5.0


class Stopping:
    """How far the end of a pool is. Times are monotonic seconds."""

    def __init__(self, slots: list[Slot], settings: Settings) -> None:
        self._slots = slots
        self._settings = settings
        self._stage = 0
        self._until_s = 0.0

    @property
    def begun(self) -> bool:
        """True once the workers were told to claim nothing more."""
        return self._stage > 0

    @property
    def over(self) -> bool:
        """True where every worker is gone."""
        return self.begun and not any(slot.alive for slot in self._slots)

    def begin(self, now_s: float) -> None:
        """Tell the workers to end after the job they run."""
        self._stage = 1
        self._until_s = now_s + self._settings.stop_grace_s
        for slot in self._slots:
            slot.send("stop")

    def advance(self, now_s: float, *, hurry: bool) -> None:
        """Go on to the next stage where its time has come, or where somebody is in a hurry."""
        if self._stage == 1 and (hurry or now_s >= self._until_s):
            self._stage = 2
            self._until_s = now_s + self._settings.kill_grace_s + _LAST_GRACE_S
            for slot in self._slots:
                slot.send("kill")
        if self._stage == 2 and now_s >= self._until_s:
            for slot in self._slots:
                slot.kill()
