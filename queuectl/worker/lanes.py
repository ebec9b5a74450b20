"""Keeps the names of queues that run few jobs at once in order: the next one is claimed when the one before has ended.

The supervisor says how many jobs of such a queue this worker may run at once (`Feed.at_once`). It may give several
names for each, so that no message goes between two short jobs. Computes only.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from queuectl.model import names, queues


class Lanes:
    """The names of such queues at one worker."""

    def __init__(self) -> None:
        self.queue_of: dict[str, str] = {}
        """The queue of each name; empty if there is nothing to count. A look into it costs no call."""
        self.waiting = 0
        """How many names wait for the end of another one."""
        self._at_once: dict[str, int] = {}
        self._going_on: Counter[str] = Counter()
        """How many of the names of each queue are claimed."""
        self._behind: dict[str, deque[str]] = {}

    def take_in(self, fed: list[str], at_once: dict[str, int]) -> list[str]:
        """Take note of names with limits; return those that waited and may be claimed now, perhaps."""
        self._at_once |= at_once
        for name in fed:
            parts = names.parse(name)
            queue = (parts.queue if parts is not None else "") or queues.DEFAULT
            if queue in at_once:
                self.queue_of[name] = queue
        return [name for queue in at_once for name in self._take(queue)]

    def must_wait(self, name: str) -> bool:
        """Return whether a name must wait for the end of another one, and keep it then; else count it as claimed."""
        queue = self.queue_of.get(name)
        if queue is None:
            return False
        if self._going_on[queue] >= self._at_once[queue]:
            self._behind.setdefault(queue, deque()).append(name)
            self.waiting += 1
            return True
        self._going_on[queue] += 1
        return False

    def ended(self, name: str) -> str | None:
        """Forget a name that was claimed, or declined; return the next one to claim, if it waited for this one."""
        queue = self.queue_of.pop(name, None)
        if queue is None:
            return None
        self._going_on[queue] -= 1
        line = self._behind.get(queue)
        if not line or self._going_on[queue] >= self._at_once[queue]:
            return None
        self.waiting -= 1
        return line.popleft()

    def give_back(self, name: str) -> list[str]:
        """Return the names that wait for the end of a claimed one, and forget them."""
        queue = self.queue_of.get(name)
        found = [] if queue is None else self._take(queue)
        for each in found:
            del self.queue_of[each]
        return found

    def give_all_back(self, unclaimed: Iterable[str] = ()) -> list[str]:
        """Return all names that wait, and forget them and those that are not claimed yet."""
        found = [name for queue in list(self._behind) for name in self._take(queue)]
        if self.queue_of:
            for each in [*found, *unclaimed]:
                self.queue_of.pop(each, None)
        return found

    def _take(self, queue: str) -> list[str]:
        found = list(self._behind.pop(queue, ()))
        self.waiting -= len(found)
        return found
