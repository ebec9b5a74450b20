"""Round robin: the owners of names of one priority take turns. Knows only names; does no I/O.

The names of one owner keep the order of a plain line. An owner goes to the end after its turn, and so does an owner
that comes (back) with work. So between two names of one owner there is at most one name of each other owner, and an
owner with one name waits for one name of each other owner, however many they have. Names without an owner count as the
names of one owner.
"""

from __future__ import annotations

from collections import OrderedDict

from queuectl.model.order import Line


class RoundRobin:
    """The ready names of several owners, by their keys. Each call takes the same time, however many owners there are.

    `gone` is as in `order.Line`.
    """

    def __init__(self, unowned: Line, gone: set[str]) -> None:
        # Every line in this dictionary holds something. The owner of the first one has the turn.
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._gone = gone
        if len(unowned):
            self._lines[""] = unowned

    def add(self, owner: str, keys: list[str]) -> None:
        """Add keys of an owner, which are in order."""
        if keys:
            self._line(owner).add(keys)

    def add_first(self, owner: str, key: str) -> None:
        """Put a key before all others. Its owner has the turn again: nothing came of its last one."""
        self._line(owner).add_first(key)
        self._lines.move_to_end(owner, last=False)

    def _line(self, owner: str) -> Line:
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = Line(self._gone)
        return line

    def pop(self) -> str | None:
        """Return the next key, or None."""
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
