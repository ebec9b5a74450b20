"""Names to suggest again after a moment, because what stood in the way usually ends soon.

A busy stripe or gate, a writer that has the file open, processes that the last run has left: the waits double, from a
short one, because most end at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from queuectl.jobs.verdict import Alive, Busy, Open
from queuectl.system.clock import Clock

# When a name is suggested again, by why it could not be claimed: after 2, 4, 8 ... times the first value, up to the
# second. A writer usually closes its file at once; processes that a run has left usually stay.
_AGAIN_S: dict[type[Busy | Open | Alive], tuple[float, float]] = {
    Busy: (0.01, 1.0),
    Open: (0.001, 0.05),
    Alive: (0.05, 2.0),
}


class LaterTries:
    """The names of one pool that are to be suggested again, each at its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, str]] = []
        self.tries: dict[str, int] = {}
        """How often each name was put off."""

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, name: str) -> bool:
        """Return whether a name has been put off and is not forgotten yet."""
        return name in self.tries

    def put(self, name: str, declined: Busy | Open | Alive) -> None:
        """Put a name off: longer with each try, as long as it is not forgotten."""
        tries = self.tries[name] = self.tries.get(name, 0) + 1
        first_s, longest_s = _AGAIN_S[type(declined)]
        wait_s = min(first_s * 2 ** min(tries, 8), longest_s)
        heapq.heappush(self._due, (self._clock.monotonic() + wait_s, name))

    def next_s(self) -> float | None:
        """Return when the next name is due (monotonic), or None."""
        return self._due[0][0] if self._due else None

    def take_due(self, now_s: float) -> Iterator[str]:
        """Take the names that are due."""
        while self._due and self._due[0][0] <= now_s:
            yield heapq.heappop(self._due)[1]

    def forget(self, name: str) -> None:
        """Forget how often a name was put off."""
        self.tries.pop(name, None)
