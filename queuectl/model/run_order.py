"""The order of runs of a listing, as a pool that starts now has it. Computes only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from queuectl.model import names
from queuectl.model.run_queue import RunQueue


def in_order(ready: Iterable[str], now_at: float) -> Iterator[str]:
    """Return names in pending/ that could run now, in the order of a pool that starts now."""
    made = RunQueue()
    made.update(*names.split_generated(list(ready)), now_at)
    while (name := made.take()) is not None:
        made.forget(name)  # so no name waits for its key here
        yield name
