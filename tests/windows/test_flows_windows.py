"""Queues, keys, dependencies and desks on Windows, with real processes that are killed, bounded in time (P12, P13)."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows only", allow_module_level=True)

from queuectl.api import Spool
from queuectl.flows import boards
from queuectl.model.lifecycle import DONE, RUNNING
from queuectl.spool.folder import SpoolDir
from tests.e2e import test_dependencies, test_desk
from tests.helpers import LONG, wait_until
from tests.pool import Pool, Witness, children, kill, queuectl
from tests.stress.intervals import most

SLOTS, KEYS = 2, 3


def key_of(job_id: str) -> str:
    """The key of a job."""
    return f"k{int(job_id.removeprefix('job')) % KEYS}"


class GateStorm:
    """Two pools of two workers on one queue, and what is done to them."""

    def __init__(self, spool: SpoolDir, witness: Witness, pools: contextlib.ExitStack) -> None:
        self.spool, self.witness = spool, witness
        self.rng = random.Random()
        self.killed: dict[int, int] = {}
        self.done: Counter[str] = Counter()
        self.pools = [pools.enter_context(Pool(spool, count=2).ready()) for _ in range(2)]

    def rage(self, acts: int) -> None:
        """Kill workers, whose commands end with them, kill commands, and delete and cut the board."""
        turns = itertools.cycle(
            (self.kill_worker, self.kill_command, self.delete_board, self.kill_worker, self.cut_board)
        )
        while self.done.total() < acts and (self.spool.waiting_names() or self.spool.job_names(RUNNING)):
            act = next(turns)
            with contextlib.suppress(FileNotFoundError, PermissionError):
                self.done[act.__name__] += act()
            time.sleep(self.rng.uniform(0.1, 0.6))  # the pace of the storm, not a wait

    def kill_worker(self) -> bool:
        """kill -9 of a worker."""
        workers = [worker for pool in self.pools for worker in pool.worker_pids() if children(worker)]
        worker = self.rng.choice(workers or [0])
        for pid in children(worker) if worker else []:
            self.killed[pid] = time.monotonic_ns()
        return self._kill(worker)

    def kill_command(self) -> bool:
        """kill -9 of a command."""
        workers = [worker for pool in self.pools for worker in pool.worker_pids()]
        return self._kill(self.rng.choice([pid for worker in workers for pid in children(worker)] or [0]))

    def _kill(self, pid: int) -> bool:
        if pid:
            self.killed[pid] = time.monotonic_ns()
            kill(pid)
        return bool(pid)

    def delete_board(self) -> bool:
        """Delete the board, as a person might."""
        os.unlink(self.spool.gate_path("mail"))
        return True

    def cut_board(self) -> bool:
        """Cut the board in the middle of a line."""
        path = self.spool.gate_path("mail")
        os.truncate(path, max(0, os.path.getsize(path) - 100))
        return True


def test_no_interval_of_the_commands_is_beyond_a_limit(spool: SpoolDir, tmp_path: Path) -> None:
    """Whatever is killed, also with a lost board: never a third job of the queue, never two of a key (P12)."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "config", "set", "queues.mail.slots", str(SLOTS))
    jobs, rest = int(10 * LONG), {"queue": "mail", "max_retries": 1000, "backoff_base": 0}
    Spool(spool.root).enqueue_many(
        {"id": f"job{n}", "key": key_of(f"job{n}"), "command": witness.command(seconds=0.5), **rest}
        for n in range(jobs)
    )
    with contextlib.ExitStack() as pools:
        storm = GateStorm(spool, witness, pools)
        storm.rage(int(8 * LONG))
        wait_until(lambda: len(spool.job_names(DONE)) == jobs, 120 * LONG)
        wait_until(lambda: boards.alive(spool, boards.read(spool, "mail")) == [])
    found = most(witness, storm.killed, key_of)
    print(f"{found.ran} runs, at most {found.at_once} at once and {found.of_a_key} of a key; {dict(storm.done)}")
    assert found.at_once <= SLOTS and found.of_a_key <= 1
    assert not witness.overlapping()


# Marked slow elsewhere, where much else of what they show is tested more quickly.


def test_a_person_moves_the_files_of_families(spool: SpoolDir) -> None:
    """Each row of FORMAT.md's table of parents by moves, copies and deletions, while a pool runs (P13)."""
    test_dependencies.test_a_person_moves_the_files_of_families(spool)


def test_a_group_whose_members_are_deleted_dead_and_dragged(spool: SpoolDir) -> None:
    """The job that waits for all of them starts when the last one has ended (P13)."""
    test_dependencies.test_a_large_group_whose_members_are_deleted_dead_and_dragged(spool)


def test_a_snoozed_job_runs_again_and_nothing_is_counted(spool: SpoolDir) -> None:
    """Exit code 75 with QUEUECTL_AGAIN."""
    test_desk.test_a_snoozed_job_runs_again_and_nothing_is_counted(spool)
