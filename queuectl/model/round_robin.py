"""Lets the owners of names of one priority take turns (round robin). Knows only names; does no I/O.

The names of one owner keep their order. An owner goes to the end of the line after its turn, and so does an owner with
new work. So there is at most one name of each other owner between two names of one owner, and an owner with one name
waits for at most one name of each other owner, however many names they have. Names without an owner count as the names
of one owner.
"""

from __future__ import annotations

from collections import OrderedDict

from queuectl.model.order import Line


class RoundRobin:
    """The ready names of several owners, by their keys. Each call takes the same time, however many owners there are.

    `gone` is as in `order.Line`.
    """

    def __init__(self, unowned: Line, gone: set[str]) -> None:
        # No line in this dictionary is empty. The owner of the first line has the turn.
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._gone = gone
        if len(unowned):
            self._lines[""] = unowned

    def add(self, owner: str, keys: list[str]) -> None:
        """Add keys of an owner."""
        if keys:
            self._line(owner).add(keys)

    def add_first(self, owner: str, key: str) -> None:
        """Put a key before all others. Its owner has the turn again, because its last turn started no job."""
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
