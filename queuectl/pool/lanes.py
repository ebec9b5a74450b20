"""Look ahead in queues that run fewer jobs at once than the pool: several names for each of their places.

Such a queue has at most as many lanes as slots. A lane is at one worker, which runs its names one after the other, so
no message goes between two short jobs. `Feed.at_once` tells the worker how many lanes of a queue it has. A lane is deep
only while the jobs of its queue are short: a worker returns the names behind a job that lasts.
"""

from __future__ import annotations

from collections.abc import Iterable

from queuectl.pool.pace import AHEAD_AT_MOST, AHEAD_S, Pace
from queuectl.pool.worker_process import WorkerProcess

# Behind jobs that take longer, a look ahead gains nothing; a worker reports those as running.
_SHORT_S = 0.01
# If nothing is heard of a lane for this long, its worker is suspended, and other workers get its names.
_SILENT_S = 0.25


class _Lanes:
    """The lanes of one queue."""

    __slots__ = ("at", "heard_s", "lasting", "names", "pace")

    def __init__(self) -> None:
        self.at: dict[WorkerProcess, int] = {}
        """How many lanes each worker has."""
        self.names: dict[WorkerProcess, set[str]] = {}
        """The names of the queue at each worker."""
        self.lasting: set[str] = set()
        """Those whose runs last."""
        self.pace = Pace()
        self.heard_s = 0.0
        """When a name was given, or an answer came (monotonic)."""

    def behind(self, worker: WorkerProcess) -> int:
        """Return how many names at a worker wait for another one of theirs."""
        return max(0, len(self.names.get(worker, ())) - self.at.get(worker, 0))


class Lanes:
    """The lanes of one pool. `is_used`: no, if commands run on other machines, whose slots come and leave."""

    def __init__(self, *, is_used: bool) -> None:
        self._is_used = is_used
        self._lanes: dict[str, _Lanes] = {}
        self._queue_of: dict[str, str] = {}

    def depth(self, queue: str) -> int:
        """Return how many names each place of a queue may have, with the one that runs."""
        lanes = self._lanes.get(queue)
        if lanes is None or lanes.lasting or lanes.pace.job_s > _SHORT_S:
            return 1
        return 1 + min(AHEAD_AT_MOST, int(AHEAD_S / max(lanes.pace.job_s, 1e-3)))

    def choose(self, name: str, queue: str, slots: int, worker: WorkerProcess, now_s: float) -> WorkerProcess:
        """Return the worker for a name of a queue: `worker` if a place is free, else one that has a lane."""
        if not self._is_used:
            return worker
        lanes = self._lanes.get(queue)
        if lanes is None:
            lanes = self._lanes[queue] = _Lanes()
        at = lanes.at
        if sum(at.values()) >= slots or at.get(worker, 0) >= worker.slots:
            willing = [each for each in at if each.may_get_names]
            worker = min(willing, key=lambda each: len(lanes.names[each]) / at[each], default=worker)
        there = lanes.names.setdefault(worker, set())
        worker.behind -= lanes.behind(worker)
        if worker not in at or (sum(at.values()) < slots and len(there) >= at[worker] < worker.slots):
            at[worker] = at.get(worker, 0) + 1
        there.add(name)
        worker.behind += lanes.behind(worker)
        self._queue_of[name] = queue
        lanes.heard_s = now_s
        return worker

    def at_once(self, worker: WorkerProcess, names: Iterable[str]) -> dict[str, int]:
        """Return how many lanes a worker has, by the queues of these names."""
        if not self._queue_of:
            return {}
        queues = {queue for name in names if (queue := self._queue_of.get(name)) is not None}
        return {queue: self._lanes[queue].at.get(worker, 1) for queue in queues}

    def back(self, name: str) -> None:
        """Forget a name that does not count as suggested any more; "": all."""
        if not name:
            self._clear()
            return
        queue = self._queue_of.pop(name, None)
        if queue is None:
            return
        lanes = self._lanes[queue]
        lanes.lasting.discard(name)
        worker = next(each for each, there in lanes.names.items() if name in there)
        there = lanes.names[worker]
        worker.behind -= lanes.behind(worker)
        there.discard(name)
        lanes.at[worker] = min(lanes.at[worker], len(there))
        worker.behind += lanes.behind(worker)
        if not there:
            del lanes.names[worker], lanes.at[worker]

    def lasts(self, name: str) -> None:
        """Note that the run of a name lasts."""
        if (queue := self._queue_of.get(name)) is not None:
            self._lanes[queue].lasting.add(name)

    def ended(self, name: str, took_s: float, now_s: float) -> None:
        """Note how long the run of a name took."""
        if (queue := self._queue_of.get(name)) is not None:
            lanes = self._lanes[queue]
            lanes.pace.record(took_s)
            lanes.heard_s = now_s

    def is_kept(self, worker: WorkerProcess, name: str, now_s: float) -> bool:
        """Return whether a name stays at its worker, because it waits for another one and not for the worker."""
        queue = self._queue_of.get(name)
        if queue is None:
            return False
        lanes = self._lanes[queue]
        return bool(lanes.behind(worker)) and now_s - lanes.heard_s < _SILENT_S

    def _clear(self) -> None:
        for lanes in self._lanes.values():
            for worker in lanes.names:
                worker.behind = 0
            lanes.at.clear()
            lanes.names.clear()
            lanes.lasting.clear()
        self._queue_of.clear()
