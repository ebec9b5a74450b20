"""Whose turn it is: names of one priority, the owners one after another. Knows nothing of files; does no I/O.

Within one owner the order is that of a plain queue. An owner that had a turn goes to the end, and so does one that
comes (back) with work: between two names of one owner there is at most one of each other owner, and an owner with one
name waits for one of each other owner, however many they have (round robin). Names without an owner are one owner's.
"""

from __future__ import annotations

from collections import OrderedDict, deque


class Turns:
    """The ready names of several owners; each call takes the same time, however many owners there are."""

    def __init__(self, unowned: deque[str]) -> None:
        # Every queue in here holds something; the first one's owner has the turn.
        self._queues: OrderedDict[str, deque[str]] = OrderedDict()
        self._count = len(unowned)
        if unowned:
            self._queues[""] = unowned

    def __len__(self) -> int:
        return self._count

    def add(self, owner: str, names: list[str]) -> None:
        """Put names at the end of their owner's."""
        if names:
            self._queue(owner).extend(names)
            self._count += len(names)

    def add_first(self, owner: str, name: str) -> None:
        """Put a name before all others: its owner has the turn (again: nothing came of the last one)."""
        self._queue(owner).appendleft(name)
        self._queues.move_to_end(owner, last=False)
        self._count += 1

    def _queue(self, owner: str) -> deque[str]:
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = deque()
        return queue

    def popleft(self) -> str:
        """The next name. Raises IndexError where there is none."""
        if not self._queues:
            raise IndexError("no names")
        owner, queue = next(iter(self._queues.items()))
        name = queue.popleft()
        self._count -= 1
        if queue:
            self._queues.move_to_end(owner)
        else:
            del self._queues[owner]
        return name
