"""The order of runs of a listing, as a pool that starts now has it. Computes only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from queuectl.model import names
from queuectl.model.queues import Queue, Queues
from queuectl.model.run_queue import RunQueue


class Turns(NamedTuple):
    """What decides between queues of equal priority."""

    limits: Queues = {}  # noqa: RUF012
    """The queues of the settings: only their weights count here."""
    paused: Collection[str] = ()
    """The queues that are paused: their jobs come after all others."""


NO_TURNS = Turns()


def in_order(ready: Iterable[str], now_at: float, turns: Turns = NO_TURNS) -> Iterator[str]:
    """Return names in pending/ that could run now, in the order of a pool that starts now.

    What runs is not known here, so a full queue or key keeps no name back.
    """
    listed = list(ready)
    if not turns.paused:
        yield from _in_order(listed, now_at, turns)
        return
    first = list(_in_order(listed, now_at, turns))
    yield from first
    known = set(first)
    yield from _in_order([name for name in listed if name not in known], now_at, Turns(turns.limits))


def _in_order(listed: list[str], now_at: float, turns: Turns) -> Iterator[str]:
    """Return the names of the queues that are not paused."""
    made = RunQueue({queue: Queue(weight=each.weight) for queue, each in turns.limits.items() if each.weight != 1})
    made.update(*names.split_generated(listed), now_at)
    made.pause_queues(turns.paused)
    while (name := made.take()) is not None:
        made.forget(name)  # so no name waits for its key here
        yield name
