"""Keeps a pool from suggesting more names of a queue, or with a key, than their rates let start. Computes only.

Nothing is counted until a worker finds a gate shut by a rate: it says for how long. Until then no name behind that gate
is suggested. Afterwards somebody looks at the log of starts once (`due`) and says how many may start (`allow`); when
that many names are out, the gate is closed again until the instant that the same look gave. The gate decides; this
only saves useless tries.
"""

from __future__ import annotations

Where = tuple[str, str]
"""A queue and a key, "" for the rate of the whole queue."""


class _Pace:
    """What may start behind one gate."""

    __slots__ = ("left", "until_s")

    def __init__(self, left: int, until_s: float) -> None:
        self.left = left
        """How many names may be suggested."""
        self.until_s = until_s
        """When to look again if none is left (monotonic)."""


class Pacing:
    """The rates of one pool."""

    def __init__(self) -> None:
        self._paces: dict[Where, _Pace] = {}
        self._spent: dict[str, list[tuple[Where, _Pace]]] = {}
        """The names that are out, and what they count for."""

    def close(self, where: Where, until_s: float) -> None:
        """Suggest no names until `until_s`, because a worker found the gate shut."""
        self._paces[where] = _Pace(0, until_s)

    def allow(self, where: Where, count: int, until_s: float) -> None:
        """Suggest `count` names, then none until `until_s`."""
        self._paces[where] = _Pace(count, until_s)

    def is_closed(self, queue: str, key: str = "") -> bool:
        """Return whether no name of a queue, or with a key, may be suggested now."""
        pace = self._paces.get((queue, key))
        return pace is not None and pace.left <= 0

    def spend(self, name: str, queue: str, key: str) -> None:
        """Count a name that is suggested."""
        if not self._paces:
            return
        counted = [(where, self._paces[where]) for where in {(queue, ""), (queue, key)} if where in self._paces]
        for _, pace in counted:
            pace.left -= 1
        if counted:
            self._spent[name] = counted

    def refund(self, name: str) -> list[Where]:
        """Count a name as one that did not start; return where another may start instead."""
        opened = []
        for where, pace in self._spent.pop(name, ()):
            if self._paces.get(where) is pace:  # nobody has looked, or found the gate shut, since
                pace.left += 1
                opened.append(where)
        return opened

    def ended(self, name: str) -> None:
        """Forget a name whose run has ended."""
        if self._spent:
            self._spent.pop(name, None)

    @property
    def next_s(self) -> float | None:
        """When the next look is due (monotonic), or None."""
        return min((pace.until_s for pace in self._paces.values() if pace.left <= 0), default=None)

    def due(self, now_s: float) -> list[Where]:
        """Return the queues and keys to look at now."""
        return [where for where, pace in self._paces.items() if pace.left <= 0 and pace.until_s <= now_s]

    def forget(self, where: Where) -> None:
        """Count nothing for a queue or key any more, until its gate is found shut again."""
        self._paces.pop(where, None)

    def clear(self) -> set[str]:
        """Forget everything; return the queues that were closed."""
        closed = {queue for (queue, key), pace in self._paces.items() if not key and pace.left <= 0}
        self._paces.clear()
        self._spent.clear()
        return closed
