"""The options of a pool, as given to `queuectl worker start`."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

_SLOTS_AT_MOST = 60


class Options(NamedTuple):
    """The options of one pool."""

    slots: int
    """How many commands run at the same time on this machine; 0 only beside `cluster_slots`."""
    cwd: str
    """The working folder of jobs without `cwd`."""
    drain: bool = False
    """End when the queue is empty."""
    max_jobs: int | None = None
    """End after this many runs."""
    queues: tuple[str, ...] = ()
    """The queues whose jobs it runs; none: all."""
    cluster_slots: int = 0
    """How many commands run at the same time on the nodes of the cluster that the settings name; 0: none."""


def spread(slots: int, processes: int | None) -> list[int]:
    """Return the slots of each worker process; None: as many processes as suit this machine.

    On Linux the slots share one process a core, which share the caches of the cores: 8 slots on two cores take 7 % less
    CPU as two processes than as four, and 3 slots 7 % less than as three. Elsewhere up to two processes a core run one
    command each, because there a process with several slots pays more for each (`ps`, and slower starts). At least two,
    because a start that hangs, of a program on a share that is gone, holds up the slots of its process. A process has
    at most 60 slots (on Windows a wait takes 63 handles).
    """
    if not slots:
        return []
    if processes is None:
        processes = max(2, (os.cpu_count() or 1) * (1 if sys.platform == "linux" else 2))
    processes = min(slots, max(processes, -(-slots // _SLOTS_AT_MOST)))
    each, more = divmod(slots, processes)
    return [each + 1] * more + [each] * (processes - more)
