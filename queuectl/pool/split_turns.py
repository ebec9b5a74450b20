"""Which file of many jobs is to be split further, and when. Knows nothing of files but their names; does no I/O.

One step at a time is made in a pool, by whichever worker has least to do. While jobs wait, as much time passes between
two steps as the last one took, so they get half of one worker's time at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from queuectl.jobs import batch
from queuectl.system.clock import Clock

# A file that cannot be read, or at which a worker fails, is tried again so much later.
_STUCK_AGAIN_S = 5.0
# A step at which somebody else is takes about so long.
_BUSY_AGAIN_S = 0.05
_LONGEST_WAIT_S = 1.0


class Splits:
    """The splits of one spool that are not over, by their keys (`batch.key_of`)."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}
        """When each is to go on (monotonic); infinity while a worker makes its step."""
        self._stuck: set[str] = set()

    @property
    def empty(self) -> bool:
        """True where nothing is left to do, but for files that cannot be split now."""
        return self._stuck.issuperset(self._next)

    @property
    def at_work(self) -> bool:
        """True while a worker makes a step."""
        return math.inf in self._next.values()

    def next_s(self) -> float | None:
        """When a step is to be made that is not due yet (monotonic), or None."""
        now_s = self._clock.monotonic()
        later = [due_s for due_s in self._next.values() if now_s < due_s < math.inf]
        return min(later, default=None) if not self.at_work else None

    def meet(self, listed: Iterable[str]) -> None:
        """Take over a listing of the files in taken/ that are not split to their ends."""
        for taken in listed:
            self._next.setdefault(batch.key_of(taken), self._clock.monotonic())

    def take(self) -> str | None:
        """The split whose step is due, to be given to a worker; None where there is none, or one is at work."""
        if not self._next or self.at_work:
            return None
        key = min(self._next, key=self._next.__getitem__)
        if self._next[key] > self._clock.monotonic():
            return None
        self._next[key] = math.inf
        return key

    def put_back(self, key: str) -> None:
        """No worker is at it now: it is due."""
        self._next[key] = self._clock.monotonic()

    def stepped(self, key: str, *, took_s: float, has_made: bool, jobs_wait: bool) -> None:
        """A step was made, or somebody else was at one, and more is to come."""
        self._stuck.discard(key)
        wait_s = _BUSY_AGAIN_S if not has_made else min(took_s, _LONGEST_WAIT_S) if jobs_wait else 0.0
        self._next[key] = self._clock.monotonic() + wait_s

    def cannot(self, key: str) -> bool:
        """It cannot be split now; True where that is new."""
        is_new = key not in self._stuck
        self._stuck.add(key)
        self._next[key] = self._clock.monotonic() + _STUCK_AGAIN_S
        return is_new

    def drop(self, key: str) -> None:
        """It is split to its end, or gone."""
        self._next.pop(key, None)
        self._stuck.discard(key)
