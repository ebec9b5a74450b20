"""Whose turn it is: names of one priority, the owners one after another. Knows nothing of files; does no I/O.

Within one owner the order is that of a plain line. An owner that had a turn goes to the end, and so does one that
comes (back) with work: between two names of one owner there is at most one of each other owner, and an owner with one
name waits for one of each other owner, however many they have (round robin). Names without an owner are one owner's.
"""

from __future__ import annotations

from collections import OrderedDict

from queuectl.model.order import Line


class RoundRobin:
    """The ready names of several owners, by their keys; each call takes the same time, however many owners there are.

    `gone` is as in `order.Line`.
    """

    def __init__(self, unowned: Line, gone: set[str]) -> None:
        # Every line in here holds something; the first one's owner has the turn.
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._gone = gone
        if len(unowned):
            self._lines[""] = unowned

    def add(self, owner: str, keys: list[str]) -> None:
        """Put in keys of an owner, in order already."""
        if keys:
            self._line(owner).add(keys)

    def add_first(self, owner: str, key: str) -> None:
        """Put a key before all others: its owner has the turn (again: nothing came of the last one)."""
        self._line(owner).add_first(key)
        self._lines.move_to_end(owner, last=False)

    def _line(self, owner: str) -> Line:
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = Line(self._gone)
        return line

    def pop(self) -> str | None:
        """The next key, or None where there is none."""
        while self._lines:
            owner, line = next(iter(self._lines.items()))
            key = line.pop()
            if len(line):
                self._lines.move_to_end(owner)
            else:
                del self._lines[owner]
            if key is not None:
                return key
        return None
