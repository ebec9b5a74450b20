"""Three pools with twelve workers share a queue of three slots and keys of one place, under SIGKILL and SIGSTOP.

The judge are the commands themselves: the lines that they write when they begin and end. A command that was killed
counts until its kill began. Boards are deleted and torn meanwhile, and files in running/ stay.
`QUEUECTL_STORM_S=60 QUEUECTL_STORM_JOBS=600 pytest -m slow tests/stress/test_gate_storm.py -s` makes it longer.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.flows import boards
from queuectl.model.lifecycle import DONE
from queuectl.spool.folder import SpoolDir
from tests.helpers import wait_until
from tests.pool import Witness, queuectl
from tests.stress.intervals import gaps, most
from tests.stress.pools import Pools, is_empty, seed
from tests.stress.stalls import Stalls

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes through /proc")

POOLS, WORKERS, SLOTS, KEYS = 3, 4, 3, 5
JOBS = int(os.environ.get("QUEUECTL_STORM_JOBS", "120"))


def key_of(job_id: str) -> str:
    """The key of a job."""
    return f"k{int(job_id.removeprefix('job')) % KEYS}"


class GateStorm:
    """The pools of one storm, and what is done to them."""

    def __init__(self, spool: SpoolDir, folder: Path, *, jobs: int, seconds: float, seed: int) -> None:
        self.spool = spool
        self.witness = Witness(folder / "witness")
        self.rng = random.Random(seed)
        self.seconds = seconds
        self.done: Counter[str] = Counter()
        queuectl(spool, "config", "set", "queues.mail.slots", str(SLOTS))
        Spool(spool.root).enqueue_many(
            [
                {
                    "id": f"job{number}",
                    "queue": "mail",
                    "key": key_of(f"job{number}"),
                    "command": self.witness.command(seconds=self.rng.choice((0.01, 0.03, 0.1))),
                    "max_retries": 1000,
                    "backoff_base": 0,
                }
                for number in range(jobs)
            ]
        )
        self.pools = Pools(spool, self.rng, pools=POOLS, workers=WORKERS)
        self.stalls = Stalls(self.rng, shortest_s=0.1, longest_s=1.5)

    def rage(self) -> None:
        """Kill, stop and damage at random until the time is up."""
        self.pools.ready()
        acts = [self.pools.kill_worker] * 6 + [self.pools.kill_command] * 3 + [self.stop_worker] * 3
        acts += [self.pools.kill_pool, self.delete_board, self.tear_board, self.stop_command]
        until_s = time.monotonic() + self.seconds
        while time.monotonic() < until_s and not is_empty(self.spool):
            act = self.rng.choice(acts)
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                self.done[act.__name__] += act()
            time.sleep(self.rng.uniform(0.02, 0.25))  # the pace of the storm, not a wait
            self.stalls.go_on(time.monotonic())
            self.pools.replace_the_dead()
        self.stalls.go_on(float("inf"))

    def stop_worker(self) -> bool:
        """SIGSTOP a worker for a while: slow is not dead."""
        return self.stalls.stop(self.pools.some_worker())

    def stop_command(self) -> bool:
        """SIGSTOP a command for a while."""
        return self.stalls.stop(self.pools.some_command())

    def delete_board(self) -> bool:
        """Delete the board, as a person might."""
        os.unlink(self.spool.gate_path("mail"))
        return True

    def tear_board(self) -> bool:
        """Cut the board in the middle of a line."""
        size = os.path.getsize(self.spool.gate_path("mail"))
        os.truncate(self.spool.gate_path("mail"), self.rng.randrange(size // 256 + 1) * 256 + 7)
        return True

    def drain(self) -> None:
        """Let the pools finish; stop them."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: is_empty(self.spool), 120)
        self.pools.stop()


@pytest.mark.slow
def test_no_interval_of_the_commands_is_beyond_a_limit(spool: SpoolDir, tmp_path: Path) -> None:
    """Whatever is killed or stopped, also with a lost board: never a fourth job, never two of a key (P12)."""
    storm = GateStorm(
        spool,
        tmp_path,
        jobs=JOBS,
        seconds=float(os.environ.get("QUEUECTL_STORM_S", "10")),
        seed=seed(),
    )
    try:
        storm.rage()
    finally:
        storm.drain()
    at_once, of_a_key, ran = most(storm.witness, storm.pools.killed, key_of)
    print(f"{ran} runs, at most {at_once} at once and {of_a_key} of a key; {dict(storm.done)}")
    for was_killed, what in ((False, "an end"), (True, "a kill")):
        found_s = sorted(gap for kill, gap in gaps(storm.witness, storm.pools.killed, key_of) if kill == was_killed)
        if found_s:
            parts = f"median {found_s[len(found_s) // 2]:.3f} s, at most {found_s[-1]:.3f} s"
            print(f"from {what} to the next start with the key, {len(found_s)} times: {parts}")
    assert at_once <= SLOTS
    assert of_a_key <= 1
    assert not storm.spool.waiting_names()
    assert len(spool.job_names(DONE)) == JOBS
    wait_until(lambda: boards.alive(spool, boards.read(spool, "mail")) == [])
