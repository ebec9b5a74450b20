"""Lets the queues of names of one priority take turns, each as many names as its weight. Knows only names; does no I/O.

Within a queue, owners take turns (`round_robin`). A closed queue is left out of the turns: it costs nothing until it is
opened again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from queuectl.model.order import Line
from queuectl.model.round_robin import RoundRobin


class QueueTurns:
    """The ready names of several queues, by their keys ("" is the default queue).

    Args:
        unnamed: the names of the default queue so far.
        gone: as in `order.Line`.
        weight_of: returns the weight of a queue.
        is_closed: returns whether a queue is left out now; see `open`.
    """

    def __init__(
        self,
        unnamed: Line | RoundRobin,
        gone: set[str],
        *,
        weight_of: Callable[[str], int],
        is_closed: Callable[[str], bool],
    ) -> None:
        # The queue of the first line has the turn.
        self._lines: OrderedDict[str, Line | RoundRobin] = OrderedDict()
        self._left_out: dict[str, Line | RoundRobin] = {}
        self._gone = gone
        self._weight_of = weight_of
        self._is_closed = is_closed
        self._taken = 0  # in this turn
        if unnamed:
            self._lines[""] = unnamed

    def add(self, queue: str, owner: str, keys: list[str]) -> None:
        """Add keys of an owner in a queue."""
        if not keys:
            return
        line = self._line(queue, owner)
        if isinstance(line, RoundRobin):
            line.add(owner, keys)
        else:
            line.add(keys)

    def add_first(self, queue: str, owner: str, key: str) -> None:
        """Put a key before all others of its queue. The queue has the turn again."""
        line = self._line(queue, owner)
        if isinstance(line, RoundRobin):
            line.add_first(owner, key)
        else:
            line.add_first(key)
        if queue in self._lines:
            self._lines.move_to_end(queue, last=False)
            self._taken = 0

    def _line(self, queue: str, owner: str) -> Line | RoundRobin:
        lines = self._left_out if queue in self._left_out else self._lines
        line = lines.get(queue)
        if line is None:
            line = lines[queue] = Line(self._gone)
        if owner and not isinstance(line, RoundRobin):
            line = lines[queue] = RoundRobin(line, self._gone)
        return line

    def open(self, queue: str) -> None:
        """Give a queue its turns again."""
        if (line := self._left_out.pop(queue, None)) is not None:
            self._lines[queue] = line

    def open_all(self) -> None:
        """Give all queues their turns again; those that are closed all the same are left out at the next look."""
        self._lines.update(self._left_out)
        self._left_out.clear()

    def pop(self) -> str | None:
        """Return the next key, or None."""
        while self._lines:
            queue, line = next(iter(self._lines.items()))
            if self._is_closed(queue):
                self._left_out[queue] = self._lines.pop(queue)
                self._taken = 0
                continue
            key = line.pop()
            self._taken += 1
            if not line:
                del self._lines[queue]
                self._taken = 0
            elif self._taken >= self._weight_of(queue):
                self._lines.move_to_end(queue)
                self._taken = 0
            if key is not None:
                return key
        return None
