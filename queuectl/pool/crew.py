"""The worker processes of a pool: start them, restart those that died, receive their reports.

A dead worker costs only time: other workers get its names, and its free lease shows that its job has no owner (promise
P5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from queuectl.model.notice import WARNING, Notice
from queuectl.model.settings import RELOADABLE, Settings
from queuectl.pool import worker_process
from queuectl.pool.core import Core
from queuectl.pool.options import spread
from queuectl.pool.outcomes import Outcomes
from queuectl.pool.worker_process import WorkerProcess
from queuectl.spool import stamps
from queuectl.spool.pools import WorkerInfo
from queuectl.worker.messages import Defect, Reload, SetQueues
from queuectl.worker.process import WorkerSpec

if TYPE_CHECKING:
    from queuectl.pool.supervisor import Source

# If a worker could not be started, the next try is this much later.
_START_AGAIN_S = 1.0
# If this many workers died within 5 s, a new one is started only 1 s after the last death.
_MANY_DEATHS, _DEATHS_WITHIN_S, _DEATH_PAUSE_S = 5, 5.0, 1.0
# With more names in memory than this, a worker is spawned, because a forked worker would keep a copy of them.
_FORK_UNTIL = 100_000


class Crew:
    """The workers of one pool.

    Args:
        core: the values that the parts of the pool share.
        pool_name: the beginning of the worker names.
        close_inherited: closes everything that this process has open; a forked worker calls it first.
    """

    def __init__(self, core: Core, pool_name: str, *, close_inherited: Callable[[], None]) -> None:
        self._core = core
        self.session = core.session
        """With the settings of workers that are started from now on."""
        self._clock = core.session.clock
        self._workers = core.workers
        self._pool_name = pool_name
        self._close_inherited = close_inherited
        self._serial = 0
        self._deaths: deque[float] = deque(maxlen=_MANY_DEATHS)
        self._next_start_s = 0.0
        self._cannot_start = False
        self._sources: list[Source] = []
        self._new_source: Callable[[WorkerProcess], Source]
        self.has_changed = False
        """True if `roster` returns something else than when this was last set to False."""
        self.on_lost: Callable[[], None] = lambda: None
        """Called when a worker is dead."""

    def start(self) -> None:
        """Start all workers. Raises OSError."""
        for worker in self._workers:
            self._start(worker)

    def sources(self, outcomes: Outcomes) -> list[Source]:
        """Return a list with a source for each worker, which `scale` keeps current; `outcomes` receives the reports."""
        self._new_source = lambda worker: WorkerSource(worker, self, outcomes)
        self._sources = [self._new_source(worker) for worker in self._workers]
        return self._sources

    def roster(self) -> tuple[WorkerInfo, ...]:
        """Return the processes that live."""
        return tuple(
            WorkerInfo(worker.name, worker.pid, worker.slots, worker.is_retired)
            for worker in self._workers
            if worker.is_alive
        )

    def scale(self, slots: int) -> int:
        """Change the number of slots; return the number of processes. Running jobs continue.

        If a process cannot be started, `step` tries again.
        """
        staying = [worker for worker in self._workers if not worker.is_retired and not worker.cluster_slots]
        sizes = spread(slots, self._core.session.settings.worker_processes)
        for worker, size in zip(staying, sizes, strict=False):
            if worker.slots != size:
                worker.resize(size)
                self.has_changed = True
        for worker in staying[len(sizes) :]:
            self._retire(worker)
            if not worker.is_alive:  # it was about to be started again: no end of its pipe comes
                self._remove(worker)
        for size in sizes[len(staying) :]:
            self._add(size)
        self._core.queue.change_limits(self._core.session.settings.queues, slots=self.slots)
        return len(sizes) + sum(bool(worker.cluster_slots) for worker in self._workers)

    def scale_cluster(self, slots: int) -> None:
        """Change how many commands the worker of a cluster runs at once, at most. Running jobs continue."""
        for worker in self._workers:
            if worker.cluster_slots:
                worker.cluster_slots = slots
                worker.send(Reload({"cluster_slots": slots}))
        self._core.queue.change_limits(self._core.session.settings.queues, slots=self.slots)

    def replace(self, worker: WorkerProcess) -> None:
        """Let a worker that met a defect of queuectl end after its runs, and have `step` start another one."""
        if worker.is_retired or self._core.shutdown.has_begun:
            return
        self._deaths.append(self._clock.monotonic())
        self._retire(worker)
        self._add(worker.slots)

    def _retire(self, worker: WorkerProcess) -> None:
        worker.retire()
        self.has_changed = True
        self._core.dispatcher.take_back(worker)

    def _add(self, slots: int) -> None:
        worker = WorkerProcess(slots)
        self._workers.append(worker)
        self._sources.insert(0, self._new_source(worker))

    def reload(self, settings: Settings) -> None:
        """Have all workers, and those that are started from now on, use the reloadable ones of these settings."""
        self.session = self.session._replace(settings=settings)
        for worker in self._workers:
            worker.send(Reload({field: getattr(settings, field) for field in RELOADABLE}))

    def send_queues(self) -> None:
        """Have all workers use the queues of the settings as they are now."""
        values = {queue: tuple(each) for queue, each in self.session.settings.queues.items()}
        for worker in self._workers:
            worker.send(SetQueues(values))

    @property
    def slots(self) -> int:
        """How many jobs the workers run at once, at most."""
        return sum(worker.cluster_slots or worker.slots for worker in self._workers if not worker.is_retired)

    def _remove(self, worker: WorkerProcess) -> None:
        """Forget a worker that was retired and has ended."""
        self._workers.remove(worker)
        self._sources[:] = [each for each in self._sources if getattr(each, "worker", None) is not worker]

    def step(self, now_s: float) -> None:
        """Find workers that ended without a report, and start a new worker for each dead one."""
        for worker in list(self._workers):
            if worker.is_silent:
                self.lost(worker)
            if worker.is_retired:
                continue
            if not worker.is_alive and not self._core.shutdown.has_begun and self._may_start(now_s):
                self._start_again(worker, now_s)

    def find_silent(self) -> None:
        """Find workers that ended without a report."""
        for worker in list(self._workers):
            if worker.is_silent:
                self.lost(worker)

    def lost(self, worker: WorkerProcess) -> None:
        """Give the names of a dead worker to others."""
        self._core.dispatcher.reassign(worker)
        self.has_changed = True
        self.on_lost()
        if worker.is_retired:
            self._remove(worker)
        elif not self._core.shutdown.has_begun:
            self._deaths.append(self._clock.monotonic())
            code = worker.exit_code
            how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
            self._core.notify(Notice(WARNING, "worker_lost", f"worker {worker.name} ended {how}; starting a new one"))

    @property
    def has_unready(self) -> bool:
        """True if a worker has not reported yet."""
        return any(worker.is_alive and not worker.is_ready for worker in self._workers)

    @property
    def may_fork(self) -> bool:
        """True if a process may be started as a copy of this one."""
        queue = self._core.queue
        return worker_process.can_fork() and len(queue) + queue.waiting < _FORK_UNTIL

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            if worker.is_alive:
                worker.kill()
                worker.take_names()

    def _start(self, worker: WorkerProcess) -> None:
        self._serial += 1
        if worker.cluster_slots:
            self._core.queue.offer()  # it does not know what its predecessor had no place for
        mark = stamps.MARK if worker.cluster_slots else ""
        name = f"{self._pool_name}-{mark}{self._serial}"
        worker.start(
            self.session,
            WorkerSpec(name, self._core.options.cwd, worker.cluster_slots or worker.slots, self._core.options.queues),
            fork=self.may_fork,
            close_inherited=self._close_inherited,
        )
        self.has_changed = True

    def _start_again(self, worker: WorkerProcess, now_s: float) -> None:
        """Start a worker in place of a dead one. If that fails, the others continue."""
        try:
            self._start(worker)
        except OSError as error:
            self._next_start_s = now_s + _START_AGAIN_S
            if not self._cannot_start:
                self._cannot_start = True
                text = f"cannot start a worker: {error.strerror or error}; queuectl tries again automatically"
                self._core.notify(Notice(WARNING, "trouble", text))
        else:
            self._cannot_start = False

    def _may_start(self, now_s: float) -> bool:
        """False while workers die as fast as they are started, and for a while after a failed start."""
        if now_s < self._next_start_s:
            return False
        deaths = self._deaths
        return len(deaths) < _MANY_DEATHS or now_s - deaths[0] > _DEATHS_WITHIN_S or now_s - deaths[-1] > _DEATH_PAUSE_S


class WorkerSource:
    """A worker as a source of the loop."""

    def __init__(self, worker: WorkerProcess, crew: Crew, outcomes: Outcomes) -> None:
        self.worker = worker
        self._crew = crew
        self._outcomes = outcomes

    @property
    def conn(self) -> Connection | None:
        """The worker's pipe, or None while there is no worker."""
        return self.worker.conn

    def receive(self) -> None:
        """Receive the worker's next reports."""
        try:
            for report in self.worker.receive():
                self._outcomes.take(self.worker, report)
                if type(report) is Defect:
                    self._crew.replace(self.worker)
            self.worker.is_ready = True  # an empty report, the first one, counts too
        except EOFError:
            self._crew.lost(self.worker)
