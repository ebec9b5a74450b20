"""Decide how many of the next names each worker gets. Only computes."""

from __future__ import annotations

import math
from collections.abc import Callable

from queuectl.model import needs
from queuectl.pool.worker_process import WorkerProcess


def load(worker: WorkerProcess) -> float:
    """Return how many names a worker has for each of its slots; infinite for a worker without slots (no node)."""
    return (len(worker.outstanding) - worker.behind) / worker.slots if worker.slots else math.inf


def rooms(willing: list[WorkerProcess], most: int, *, careful: bool) -> dict[WorkerProcess, int]:
    """Return how many more names each worker may get; `most` is the limit per slot, including the running job.

    A worker whose slots are all busy and that has more than half of its limit gets none, so that messages are few, with
    many names each. With `careful`, a worker with an idle slot gets one name at a time.
    """
    if careful:
        return {
            worker: len(worker.running) + 1 - len(worker.outstanding) + worker.behind
            for worker in willing
            if worker.free
        }
    return {
        worker: most * worker.slots - len(worker.outstanding) + worker.behind
        for worker in willing
        if worker.free or load(worker) <= most / 2
    }


def by_kind(willing: list[WorkerProcess], *, has_needs: bool) -> list[tuple[str, list[WorkerProcess]]]:
    """Return the workers by the jobs that they may get; those on nodes come first, as only they have resources."""
    if not has_needs and all(worker.kind != needs.NEEDING for worker in willing):
        return [(needs.ANY, willing)]
    kinds = {worker.kind for worker in willing}
    order = (needs.NEEDING, needs.ANY, needs.PLAIN)
    return [(kind, [each for each in willing if each.kind == kind]) for kind in order if kind in kinds]


def share_out(
    room: dict[WorkerProcess, int],
    take: Callable[[], str | None],
    most: float,
    route: Callable[[str, WorkerProcess], WorkerProcess] | None = None,
) -> dict[WorkerProcess, list[str]]:
    """Return up to `most` names from `take`, each for the worker with the most room per slot at that moment.

    `route` may send a name to another worker.
    """
    given: dict[WorkerProcess, list[str]] = {}
    while room and most > 0:
        worker = max(room, key=lambda worker: room[worker] / worker.slots)
        if room[worker] <= 0 or (name := take()) is None:
            break
        found = worker if route is None else route(name, worker)
        given.setdefault(found, []).append(name)
        if found is worker:
            room[worker] -= 1
        most -= 1
    return given
