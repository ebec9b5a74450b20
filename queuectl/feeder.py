"""What is to run next: names in run order. Knows nothing of files but their names; does no I/O.

The feeder only suggests. A name may be gone, suggested twice or to two workers: the claim decides, so nothing here
can lose or double a job. Order: priority (high first), then due time, then arrival; within one listing by name.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from queuectl import names


class Feeder:
    """The waiting names of one spool, as far as they are known."""

    def __init__(self) -> None:
        self._ready: dict[int, deque[str]] = {}
        self._priorities: list[int] = []  # of _ready, highest first
        self._waiting: list[tuple[float, str]] = []  # heap by due time
        self._known: set[str] = set()
        self._skipped: set[str] = set()  # arriving files and foreign ones: not suggested until they change

    def __len__(self) -> int:
        """Names that could run now."""
        return sum(len(queue) for queue in self._ready.values())

    @property
    def waiting(self) -> int:
        """Names that are due later."""
        return len(self._waiting)

    def update(self, listing: list[str], now_at: float) -> int:
        """Take over a listing of pending/; return how many names were new."""
        fresh = [name for name in listing if name not in self._known and name not in self._skipped]
        if self._skipped:
            self._skipped.intersection_update(listing)
        # Names without flags are all of one kind and are taken at once, the generated ones among them unparsed.
        others = [name for name in fresh if not (name.endswith(".json") and names.is_generated(name[:-5]))]
        flagged = {name for name in others if not _is_plain(name)}
        plain = sorted(name for name in fresh if name not in flagged) if flagged else sorted(fresh)
        if plain:
            self._known.update(plain)
            self._queue(0).extend(plain)
        return len(plain) + self.add(sorted(flagged), now_at)

    def add(self, fresh: Iterable[str], now_at: float) -> int:
        """Take in names (of an event, a retry, a listing); ones that are known already change nothing."""
        count = 0
        overdue: list[tuple[float, str, int]] = []
        for name in fresh:
            if name in self._known:
                continue
            if names.is_held(name):
                self._skipped.add(name)
                continue
            parts = names.parse(name)
            if parts is None and not names.is_batch(name):
                continue
            self._known.add(name)
            count += 1
            if parts is None:
                self._queue(0).append(name)
            elif parts.due_at is None:
                self._queue(parts.priority).append(name)
            elif parts.due_at <= now_at:
                overdue.append((parts.due_at, name, parts.priority))
            else:
                heapq.heappush(self._waiting, (parts.due_at, name))
        for _, name, priority in sorted(overdue):
            self._queue(priority).append(name)
        return count

    def _queue(self, priority: int) -> deque[str]:
        queue = self._ready.get(priority)
        if queue is None:
            queue = self._ready[priority] = deque()
            self._priorities = sorted(self._ready, reverse=True)
        return queue

    def promote(self, now_at: float) -> float | None:
        """Make names ready whose time has come; return the instant of the next one, or None."""
        while self._waiting and self._waiting[0][0] <= now_at:
            _, name = heapq.heappop(self._waiting)
            parts = names.parse(name)
            self._queue(parts.priority if parts else 0).append(name)
        return self._waiting[0][0] if self._waiting else None

    def take(self) -> str | None:
        """The next name to suggest, or None. It stays known until `forget`, so no listing brings it twice."""
        for priority in self._priorities:
            if queue := self._ready[priority]:
                return queue.popleft()
        return None

    def put_first(self, name: str) -> None:
        """Suggest a taken name again, before all others of its priority."""
        parts = names.parse(name)
        self._known.add(name)
        self._queue(parts.priority if parts else 0).appendleft(name)

    def forget(self, name: str) -> None:
        """A taken name is settled, gone or has another name now."""
        self._known.discard(name)

    def skip(self, name: str) -> None:
        """Do not suggest this file again while it stays listed; see `look_again`."""
        self._known.discard(name)
        self._skipped.add(name)

    def look_again(self, name: str, now_at: float) -> None:
        """Suggest a skipped file: it changed."""
        self._skipped.discard(name)
        self.add([name], now_at)

    def recheck_waiting(self, now_at: float) -> list[str]:
        """All names that are due later, in order of their time, for a look at their records (a clock was set)."""
        return [name for due_at, name in sorted(self._waiting) if due_at > now_at]

    def advance(self, wanted: set[str]) -> None:
        """Make waiting names ready at once: their records say that they are due."""
        rest = [item for item in self._waiting if item[1] not in wanted]
        for _, name in sorted(item for item in self._waiting if item[1] in wanted):
            parts = names.parse(name)
            self._queue(parts.priority if parts else 0).append(name)
        heapq.heapify(rest)
        self._waiting = rest


def _is_plain(name: str) -> bool:
    """True where a file may run now, with priority 0, by its name; False for a name that is none of a job, too."""
    parts = names.parse(name)
    if parts is None:
        return names.is_batch(name)
    return parts.due_at is None and parts.priority == 0 and not names.is_held(name)
