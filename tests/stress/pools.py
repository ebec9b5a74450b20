"""The pools of a storm: started together, killed at random, replaced when they have ended, stopped together."""

from __future__ import annotations

import functools
import os
import random
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from queuectl.model.lifecycle import RUNNING
from queuectl.spool.folder import SpoolDir
from tests.pool import Pool, children, kill


def seed() -> int:
    """Return `QUEUECTL_STORM_SEED`, or a random number: the choices of one storm."""
    return int(os.environ.get("QUEUECTL_STORM_SEED", str(random.randrange(10**6))))


def is_empty(spool: SpoolDir) -> bool:
    """Return whether no job waits or runs.

    A job that goes back to pending/ between the two listings is in neither of them, so they are made twice.
    """
    return not any(spool.waiting_names() or spool.job_names(RUNNING) for _ in range(2))


class Pools:
    """Some pools on one spool, and those that were there before them; with what was killed of them, and when."""

    def __init__(self, spool: SpoolDir, rng: random.Random, *, pools: int, workers: int, **options: Any) -> None:
        self._rng = rng
        self._start = functools.partial(Pool, spool, count=workers, **options)
        self._now = [self._start() for _ in range(pools)]
        self._old: list[Pool] = []
        self.killed: dict[int, int] = {}
        """When the kill of a process began (monotonic nanoseconds)."""

    def __iter__(self) -> Iterator[Pool]:
        return iter(self._now)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def ready(self) -> Self:
        """Wait until all are there."""
        for pool in self:
            pool.ready()
        return self

    def replace_the_dead(self) -> None:
        """Start a new pool in the place of each that has ended."""
        for place, pool in enumerate(self._now):
            if pool.process.poll() is not None:
                self._old.append(pool)
                self._now[place] = self._start()

    def stop(self) -> None:
        """Ask all pools to stop, and wait until they have ended."""
        for pool in self:
            if pool.process.poll() is None:
                pool.ask_to_stop()
        for pool in (*self._now, *self._old):
            pool.end()

    def kill(self) -> None:
        """Kill every process of the pools that are still there."""
        for pool in self:
            if pool.process.poll() is None:
                pool.kill_everything()

    # ---------------------------------------------------------------------------------------------------- at random

    def some(self) -> Pool:
        """Choose a pool."""
        return self._rng.choice(self._now)

    def some_worker(self) -> int:
        """Choose a worker; return its pid, or 0 if the pool has none now."""
        return self._rng.choice(self.some().worker_pids() or [0])

    def some_command(self) -> int:
        """Choose a command; return its pid, or 0 if the worker runs none now."""
        return self._rng.choice(children(self.some_worker()) or [0])

    def kill_one(self, pid: int) -> bool:
        """SIGKILL a process, and note when; return False if `pid` is 0. Raises ProcessLookupError."""
        if pid:
            self.killed[pid] = time.monotonic_ns()
            kill(pid)
        return bool(pid)

    def kill_worker(self) -> bool:
        """SIGKILL a worker; its command goes on."""
        return self.kill_one(self.some_worker())

    def kill_command(self) -> bool:
        """SIGKILL a command."""
        return self.kill_one(self.some_command())

    def kill_pool(self) -> bool:
        """SIGKILL a supervisor, its workers and their commands."""
        pool = self.some()
        for worker in pool.worker_pids():
            for pid in (worker, *children(worker)):
                self.killed[pid] = time.monotonic_ns()
        pool.kill_everything()
        return True
