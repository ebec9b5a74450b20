"""Decide which file of many jobs is split next, and when. Uses only the names of files; does no I/O.

A pool makes one step at a time, at the worker with the least to do. While jobs wait, the pause between two steps is as
long as the last step took, so splitting gets at most half of one worker's time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from queuectl.spool import batch
from queuectl.system.clock import Clock

# A file that cannot be read, or at which a worker fails, is tried again this much later.
_STUCK_AGAIN_S = 5.0
# A step that another pool is making takes about this long.
_BUSY_AGAIN_S = 0.05
_LONGEST_WAIT_S = 1.0


class SplitTurns:
    """The unfinished splits of one spool, by their keys (`batch.key_of`)."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}
        """When each split continues (monotonic); infinity while a worker makes its step."""
        self._stuck: set[str] = set()

    @property
    def is_empty(self) -> bool:
        """True if nothing is left to do, except for files that cannot be split now."""
        return self._stuck.issuperset(self._next)

    @property
    def is_at_work(self) -> bool:
        """True while a worker makes a step."""
        return math.inf in self._next.values()

    def next_s(self) -> float | None:
        """Return when the next step becomes due (monotonic), or None."""
        now_s = self._clock.monotonic()
        later = [due_s for due_s in self._next.values() if now_s < due_s < math.inf]
        return min(later, default=None) if not self.is_at_work else None

    def add(self, listed: Iterable[str]) -> None:
        """Take over a listing of the unfinished files in taken/."""
        for taken in listed:
            self._next.setdefault(batch.key_of(taken), self._clock.monotonic())

    def take(self) -> str | None:
        """Return the split whose step is due, for a worker; None if there is none, or if a worker is making a step."""
        if not self._next or self.is_at_work:
            return None
        key = min(self._next, key=self._next.__getitem__)
        if self._next[key] > self._clock.monotonic():
            return None
        self._next[key] = math.inf
        return key

    def put_back(self, key: str) -> None:
        """Make a step due at once, because no worker makes it."""
        self._next[key] = self._clock.monotonic()

    def stepped(self, key: str, *, took_s: float, has_made: bool, jobs_wait: bool) -> None:
        """Record that a step was made, or that another pool was making one, and that more steps follow."""
        self._stuck.discard(key)
        wait_s = _BUSY_AGAIN_S if not has_made else min(took_s, _LONGEST_WAIT_S) if jobs_wait else 0.0
        self._next[key] = self._clock.monotonic() + wait_s

    def set_stuck(self, key: str) -> bool:
        """Record that a file cannot be split now; return True if that is new."""
        is_new = key not in self._stuck
        self._stuck.add(key)
        self._next[key] = self._clock.monotonic() + _STUCK_AGAIN_S
        return is_new

    def drop(self, key: str) -> None:
        """Forget a file that is split completely, or gone."""
        self._next.pop(key, None)
        self._stuck.discard(key)
