"""Keeps the ready names that say no time, mostly drops, and those to judge. Computes only; part of the run queue.

The place of such a name comes from the listing that had it first, so this module makes the keys of these names.
"""

from __future__ import annotations

from queuectl.model import names, order


class UndatedNames:
    """The ready names whose keys the run queue had to make."""

    def __init__(self) -> None:
        self.key_of: dict[str, str] = {}
        """The key of each name. Only this class changes it; a look into it costs no call."""
        self.to_judge: dict[str, None] = {}
        """The files to judge, the last one first. As `key_of`."""
        self._seen_us = 0
        self._puts = 0  # numbers the keys of names that are put first, because a name may be put first twice

    def new_stamp(self, now_at: float) -> str:
        """Return the stamp of a listing: later than every stamp before."""
        self._seen_us = max(round(now_at * 1_000_000), self._seen_us + 1)
        return names.stamp(self._seen_us / 1_000_000)

    def key_before_all(self, name: str) -> str:
        """Return a key that puts a name before all others of its line."""
        self._puts += 1
        return order.key_before_all(name, self._puts)

    def add(self, name: str, key: str) -> str:
        """Add a name with the key that it has from now on; return the key."""
        self.key_of[name] = key
        return key

    def discard(self, name: str) -> str | None:
        """Remove a name that is not ready any more; return its key, or None if it is not here."""
        self.to_judge.pop(name, None)
        return self.key_of.pop(name, None)

    def clear(self) -> None:
        """Remove all names."""
        self.key_of.clear()
        self.to_judge.clear()

    def next_unjudged(self) -> str | None:
        """Return a file to judge, or None; return each file once, the one that came last first."""
        return self.to_judge.popitem()[0] if self.to_judge else None

    def judge(self, some: list[str]) -> None:
        """Count names among the files to judge, the last one first, if they are here."""
        self.to_judge.update(dict.fromkeys(name for name in some if name in self.key_of))
