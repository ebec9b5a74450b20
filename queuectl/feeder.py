"""What is to run next: names in run order. Knows nothing of files but their names; does no I/O.

The feeder only suggests. A name may be gone, suggested twice or to two workers: the claim decides, so nothing here
can lose or double a job. Order: priority (high first), then due time, then arrival; within one listing by name.
At equal priority owners take turns, and that is the order within each owner.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from queuectl import names
from queuectl.turns import Turns


class Feeder:
    """The waiting names of one spool, as far as they are known."""

    def __init__(self) -> None:
        # Turns where names of an owner came with this priority; else a plain queue, which takes half the time.
        self._ready: dict[int, deque[str] | Turns] = {}
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

    def update(self, generated: list[str], others: list[str], now_at: float) -> int:
        """Take over a listing of pending/, split by `names.split_generated`; return how many names were new."""
        if self._skipped:
            self._skipped.intersection_update((*generated, *others))
        # Names without flags are all of one kind and are taken at once, the generated ones among them unparsed.
        plain, others = self._fresh(generated), self._fresh(others)
        owned: dict[str, list[str]] = {}  # may run now, with priority 0, like the plain ones
        flagged = set()
        for name in others:
            parts = names.parse(name)
            if parts is None:
                if not names.is_batch(name):
                    flagged.add(name)
            elif parts.due_at is not None or parts.priority or names.is_held(name):
                flagged.add(name)
            elif parts.owner:
                owned.setdefault(parts.owner, []).append(name)
        apart = flagged.union(*owned.values()) if owned else flagged
        plain += [name for name in others if name not in apart]
        plain.sort()
        if plain:
            self._known.update(plain)
            self._extend(plain, 0, "")
        for owner, theirs in sorted(owned.items()):
            theirs.sort()
            self._known.update(theirs)
            self._extend(theirs, 0, owner)
        return len(plain) + sum(map(len, owned.values())) + self.add(sorted(flagged), now_at)

    def _fresh(self, listed: list[str]) -> list[str]:
        """Those that are neither known nor skipped, as a list of its own."""
        if not self._known and not self._skipped:
            return listed.copy()
        return [name for name in listed if name not in self._known and name not in self._skipped]

    def add(self, fresh: Iterable[str], now_at: float) -> int:
        """Take in names (of an event, a retry, a listing); ones that are known already change nothing."""
        count = 0
        overdue: list[tuple[float, str, names.NameParts]] = []
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
            if parts is None or parts.due_at is None:
                self._append(name, parts)
            elif parts.due_at <= now_at:
                overdue.append((parts.due_at, name, parts))
            else:
                heapq.heappush(self._waiting, (parts.due_at, name))
        for _, name, parts in sorted(overdue):
            self._append(name, parts)
        return count

    def _append(self, name: str, parts: names.NameParts | None) -> None:
        self._extend([name], parts.priority if parts else 0, parts.owner if parts else "")

    def _extend(self, fresh: list[str], priority: int, owner: str) -> None:
        queue = self._queue(priority, owner)
        if isinstance(queue, Turns):
            queue.add(owner, fresh)
        else:
            queue.extend(fresh)

    def _queue(self, priority: int, owner: str) -> deque[str] | Turns:
        queue = self._ready.get(priority)
        if queue is None:
            queue = self._ready[priority] = deque()
            self._priorities = sorted(self._ready, reverse=True)
        if owner and not isinstance(queue, Turns):
            queue = self._ready[priority] = Turns(queue)
        return queue

    def promote(self, now_at: float) -> float | None:
        """Make names ready whose time has come; return the instant of the next one, or None."""
        while self._waiting and self._waiting[0][0] <= now_at:
            _, name = heapq.heappop(self._waiting)
            self._append(name, names.parse(name))
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
        owner = parts.owner if parts else ""
        queue = self._queue(parts.priority if parts else 0, owner)
        if isinstance(queue, Turns):
            queue.add_first(owner, name)
        else:
            queue.appendleft(name)

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
            self._append(name, names.parse(name))
        heapq.heapify(rest)
        self._waiting = rest
