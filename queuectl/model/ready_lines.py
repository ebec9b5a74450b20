"""The ready names of a run queue by priority: a plain line each, turns of owners, or turns of queues. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from queuectl.model.order import Line
from queuectl.model.queue_turns import QueueTurns
from queuectl.model.round_robin import RoundRobin

AnyLine = Line | RoundRobin | QueueTurns


class ReadyLines:
    """The lines. A plain one takes half the time of turns, so there are turns only where a name needs them.

    Args:
        weight_of, is_closed: as in `QueueTurns`.
    """

    def __init__(self, *, weight_of: Callable[[str], int], is_closed: Callable[[str], bool]) -> None:
        self._by_priority: dict[int, AnyLine] = {}
        self.lines: list[AnyLine] = []
        """The lines, the highest priority first."""
        self.gone: set[str] = set()
        """Keys in the lines that do not count any more."""
        self._weight_of = weight_of
        self._is_closed = is_closed

    def extend(self, keys: list[str], priority: int, owner: str, turn: str) -> None:
        """Add keys, in a list that the caller does not use any more."""
        line = self._line(priority, owner, turn)
        if isinstance(line, QueueTurns):
            line.add(turn, owner, keys)
        elif isinstance(line, RoundRobin):
            line.add(owner, keys)
        else:
            line.add(keys)

    def put_before(self, key: str, priority: int, owner: str, turn: str) -> None:
        """Add a key before all others of its priority and turn."""
        line = self._line(priority, owner, turn)
        if isinstance(line, QueueTurns):
            line.add_first(turn, owner, key)
        elif isinstance(line, RoundRobin):
            line.add_first(owner, key)
        else:
            line.add_first(key)

    def _line(self, priority: int, owner: str, turn: str) -> AnyLine:
        before = line = self._by_priority.get(priority)
        if line is None:
            line = self._by_priority[priority] = Line(self.gone)
        if turn and not isinstance(line, QueueTurns):
            turns = QueueTurns(line, self.gone, weight_of=self._weight_of, is_closed=self._is_closed)
            line = self._by_priority[priority] = turns
        if owner and isinstance(line, Line):
            line = self._by_priority[priority] = RoundRobin(line, self.gone)
        if line is not before:
            self.lines = [self._by_priority[each] for each in sorted(self._by_priority, reverse=True)]
        return line

    def open(self, turn: str) -> None:
        """Give a queue its turns again."""
        for line in self._by_priority.values():
            if isinstance(line, QueueTurns):
                line.open(turn)

    def open_all(self) -> None:
        """Give all their turns again."""
        for line in self._by_priority.values():
            if isinstance(line, QueueTurns):
                line.open_all()

    def clear(self) -> None:
        """Forget all names."""
        self._by_priority.clear()
        self.lines.clear()
        self.gone.clear()
