"""Keeps the waiting names whose time has not come, by that time. Computes only; part of the run queue."""

from __future__ import annotations

import heapq
from collections import deque

# If the due time in a name is further away than this, the pool reads its record.
FAR_S = 60.0


class DueNames:
    """The names that are due later."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._unverified: deque[str] = deque()  # far away by their names, unread

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due_at: float, name: str, *, is_far: bool) -> None:
        """Add a name; `is_far`: its record should be read."""
        heapq.heappush(self._heap, (due_at, name))
        if is_far:
            self._unverified.append(name)

    def add_many(self, found: list[tuple[float, str]], *, far_from_at: float) -> None:
        """Add names with their due times; the records of those that are due after `far_from_at` should be read."""
        self._heap += found
        heapq.heapify(self._heap)
        self._unverified.extend(name for due_at, name in found if due_at > far_from_at)

    @property
    def next_due_at(self) -> float | None:
        """The due time of the next name, or None."""
        return self._heap[0][0] if self._heap else None

    @property
    def names(self) -> list[str]:
        """All names, in no order."""
        return [name for _, name in self._heap]

    def pop(self) -> str:
        """Remove the next name and return it."""
        return heapq.heappop(self._heap)[1]

    def next_unverified(self, known: set[str]) -> str | None:
        """Return a name among the known ones with a distant time and an unread record, each once, or None."""
        while self._unverified:
            name = self._unverified.popleft()
            if name in known:
                return name
        return None

    def recheck(self, now_at: float) -> list[str]:
        """Return all names that are due later, by their time; the caller reads their records."""
        self._unverified.clear()
        return [name for due_at, name in sorted(self._heap) if due_at > now_at]

    def take_out(self, wanted: set[str]) -> list[str]:
        """Remove these names, and return those that were here, by their time."""
        rest = [item for item in self._heap if item[1] not in wanted]
        taken = sorted(item for item in self._heap if item[1] in wanted)
        heapq.heapify(rest)
        self._heap = rest
        return [name for _, name in taken]
