"""What is to run next: names in run order. Knows nothing of files but their names; does no I/O.

The run queue only suggests. A name may be gone, suggested twice or to two workers: the claim decides, so nothing here
can lose or double a job. The order is that of `order`, and at equal priority owners take turns. Everybody who shows an
order takes it from here: see `in_order`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator

from queuectl.model import names, order
from queuectl.model.order import Line
from queuectl.model.round_robin import RoundRobin

# Above every priority that a job can have.
_AHEAD = 10**9
# A name that says a time further away than this is worth a look at its record.
FAR_S = 60.0


class RunQueue:
    """The waiting names of one spool, as far as they are known."""

    def __init__(self) -> None:
        # RoundRobin where names of an owner came with this priority; else a plain line, which takes half the time.
        self._ready: dict[int, Line | RoundRobin] = {}
        self._priorities: list[int] = []  # of _ready, highest first
        self._count = 0  # of the names in _ready
        self._gone: set[str] = set()  # keys in _ready that count no more
        self._waiting: list[tuple[float, str]] = []  # heap by due time
        self._unverified: deque[str] = deque()  # of _waiting: far away by their names alone
        self._known: set[str] = set()
        self._skipped: set[str] = set()  # arriving files and foreign ones: not suggested until they change
        self._untold: dict[str, str] = {}  # keys of ready names that tell no instant: drops, most of them
        self._to_judge: dict[str, None] = {}  # those of them that nobody has looked at; the last one is the next
        self._seen_us = 0
        self._puts = 0  # numbers the keys of names that are put first: a name may be there twice

    def __len__(self) -> int:
        """Names that could run now."""
        return self._count

    @property
    def waiting(self) -> int:
        """Names that are due later."""
        return len(self._waiting)

    def update(self, generated: list[str], others: list[str], now_at: float) -> int:
        """Take over a listing of pending/, split by `names.split_generated`; return how many names were new."""
        if self._skipped:
            self._skipped.intersection_update((*generated, *others))
        return self._take_over(self._fresh(generated), self._fresh(others), now_at)

    def _fresh(self, listed: list[str]) -> list[str]:
        """Those that are neither known nor skipped, as a list of its own."""
        if not self._known and not self._skipped:
            return listed.copy()
        return [name for name in listed if name not in self._known and name not in self._skipped]

    def add(self, fresh: Iterable[str], now_at: float, *, verified: bool = False) -> int:
        """Take in names (of an event, a retry, a listing); ones that are known already change nothing.

        `verified` says that the times in them are those of their records.
        """
        new = [name for name in dict.fromkeys(fresh) if name not in self._known]
        return self._take_over([], new, now_at, verified=verified)

    def _take_over(self, generated: list[str], others: list[str], now_at: float, *, verified: bool = False) -> int:
        """Take in new names; return how many of them are jobs, or may be. Generated ids are their own keys."""
        lines: dict[tuple[int, str], list[str]] = {(0, ""): generated} if generated else {}
        count = len(generated)
        self._known.update(generated)
        seen, untold = self._seen(now_at) if others else "", []
        for name in others:
            parts = names.parse(name)
            if parts is None and not names.is_batch(name):
                continue
            if names.is_held(name):
                self._skipped.add(name)
                continue
            self._known.add(name)
            count += 1
            if parts is not None and parts.due_at is not None and parts.due_at > now_at:
                heapq.heappush(self._waiting, (parts.due_at, name))
                if not verified and parts.due_at - now_at > FAR_S:
                    self._unverified.append(name)
                continue
            key = order.key_of(name, parts)
            if not key:
                key = self._untold[name] = order.key_at(seen, name)
                if parts is not None:
                    untold.append(name)
            lines.setdefault((parts.priority, parts.owner) if parts is not None else (0, ""), []).append(key)
        for keys in lines.values():
            keys.sort()
        for (priority, owner), keys in sorted(lines.items(), key=lambda item: item[1][0]):
            self._extend(keys, priority, owner)
        untold.sort(reverse=True)
        self._to_judge.update(dict.fromkeys(untold))
        return count

    def _seen(self, now_at: float) -> str:
        """The stamp of a look: no two looks have the same, or an earlier one."""
        self._seen_us = max(round(now_at * 1_000_000), self._seen_us + 1)
        return names.stamp(self._seen_us / 1_000_000)

    def _ripen(self, name: str) -> None:
        """Make a name ready that has waited for its time."""
        parts = names.parse(name)
        self._extend([order.key_of(name, parts)], parts.priority if parts else 0, parts.owner if parts else "")

    def _extend(self, keys: list[str], priority: int, owner: str) -> None:
        line = self._line(priority, owner)
        self._count += len(keys)
        if isinstance(line, RoundRobin):
            line.add(owner, keys)
        else:
            line.add(keys)

    def _line(self, priority: int, owner: str) -> Line | RoundRobin:
        line = self._ready.get(priority)
        if line is None:
            line = self._ready[priority] = Line(self._gone)
            self._priorities = sorted(self._ready, reverse=True)
        if owner and not isinstance(line, RoundRobin):
            line = self._ready[priority] = RoundRobin(line, self._gone)
        return line

    def promote(self, now_at: float) -> float | None:
        """Make names ready whose time has come; return the instant of the next one, or None."""
        while self._waiting and self._waiting[0][0] <= now_at:
            self._ripen(heapq.heappop(self._waiting)[1])
        return self._waiting[0][0] if self._waiting else None

    def take(self) -> str | None:
        """The next name to suggest, or None. It stays known until `forget`, so no listing brings it twice."""
        if not self._count:
            return None
        for priority in self._priorities:
            if (key := self._ready[priority].pop()) is not None:
                self._count -= 1
                name = order.name_of(key)
                if name in self._untold:
                    del self._untold[name]
                    self._to_judge.pop(name, None)
                return name
        return None

    def put_first(self, name: str) -> None:
        """Suggest a taken name again, before all others of its priority."""
        parts = names.parse(name)
        self._known.add(name)
        owner = parts.owner if parts else ""
        key = self._key_before_all(name)
        if parts is not None and not order.key_of(name, parts):
            self._untold[name] = key
            self._to_judge[name] = None
        self._put_before(key, parts.priority if parts else 0, owner)

    def _put_before(self, key: str, priority: int, owner: str) -> None:
        line = self._line(priority, owner)
        self._count += 1
        if isinstance(line, RoundRobin):
            line.add_first(owner, key)
        else:
            line.add_first(key)

    def forget(self, name: str) -> None:
        """A taken name is settled, gone or has another name now: where it is listed again, it is a new one."""
        self._known.discard(name)
        self._skipped.discard(name)

    def forget_taken(self) -> None:
        """Nobody has a name any more that was taken, and none is ready: a listing may bring all but the waiting ones.

        So a name that was lost by mistake is found by the next listing (P5).
        """
        assert not self._count
        if len(self._known) != len(self._waiting):
            self._known.intersection_update([name for _, name in self._waiting])
        for memory in (self._ready, self._priorities, self._gone, self._untold, self._to_judge):
            memory.clear()

    def skip(self, name: str) -> None:
        """Do not suggest this file again while it stays listed; see `look_again`."""
        self._known.discard(name)
        self._skipped.add(name)

    def look_again(self, name: str, now_at: float) -> None:
        """Suggest a skipped file: it changed."""
        self._skipped.discard(name)
        self.add([name], now_at)

    # ------------------------------------------------------------------------------------------------- judging

    @property
    def has_unjudged(self) -> bool:
        """True where there are ready names of files that should be looked at before the order of runs is known."""
        return bool(self._to_judge)

    def next_unjudged(self) -> str | None:
        """One of them; each is given once. Of the last listing first: among thousands of old files something urgent
        that came now is found soon.
        """
        return self._to_judge.popitem()[0] if self._to_judge else None

    def judge_again(self, name: str) -> None:
        """Give a name once more that could not be judged, where it is still ready."""
        if name in self._untold:
            self._to_judge[name] = None

    def pull(self, name: str) -> None:
        """Take this very name, as `take` does the next one."""
        if (key := self._untold.pop(name, None)) is not None:
            self._to_judge.pop(name, None)
            self._gone.add(key)
            self._count -= 1

    def put_ahead(self, name: str) -> None:
        """Suggest a taken name before all others, whatever their priority."""
        self._known.add(name)
        self._extend([self._key_before_all(name)], _AHEAD, "")

    def _key_before_all(self, name: str) -> str:
        self._puts += 1
        return order.key_before_all(name, self._puts)

    # --------------------------------------------------------------------------------------------------- clock

    def next_unverified(self) -> str | None:
        """A name whose time is far away, and whose record nobody has looked at; each one once. None: there is none."""
        while self._unverified:
            name = self._unverified.popleft()
            if name in self._known:
                return name
        return None

    def recheck_waiting(self, now_at: float) -> list[str]:
        """All names that are due later, in order of their time, for a look at their records (a clock was set)."""
        self._unverified.clear()
        return [name for due_at, name in sorted(self._waiting) if due_at > now_at]

    def advance(self, wanted: set[str], now_at: float) -> None:
        """Make waiting names ready at once: their records say that they are due, so the times in them do not count."""
        rest = [item for item in self._waiting if item[1] not in wanted]
        for _, name in sorted(item for item in self._waiting if item[1] in wanted):
            parts = names.parse(name)
            key = order.key_at(self._seen(now_at), name)  # one after the other, in the order of their times
            self._extend([key], parts.priority if parts else 0, parts.owner if parts else "")
        heapq.heapify(rest)
        self._waiting = rest


def in_order(ready: Iterable[str], now_at: float) -> Iterator[str]:
    """Names in pending/ that could run now, in the order in which a pool that starts now suggests them."""
    made = RunQueue()
    made.update(*names.split_generated(list(ready)), now_at)
    return iter(made.take, None)
