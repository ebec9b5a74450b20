"""A storm on a real cluster: kills, stops and cuts of everything, and no job is lost or runs twice at once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest

from queuectl.system import processes
from tests.cluster import net
from tests.cluster.farm import Farm, kill_family
from tests.cluster.rig import Rig, until

pytestmark = pytest.mark.cluster
STORM_S = float(os.environ.get("QUEUECTL_CLUSTER_STORM_S", "60"))
SEED = int(os.environ.get("QUEUECTL_CLUSTER_STORM_SEED", str(random.randrange(10_000))))
NODES = ("a", "b", "c")
# What is not there within this time, because of the fault before, gets no fault.
_SOON_S = 1.0
_REST_S = 12.0


class Storm:
    """Faults, and what puts them right later."""

    def __init__(self, farm: Farm, rng: random.Random) -> None:
        self.farm = farm
        self.rng = rng
        self.later: list[tuple[float, Callable[[], object]]] = []
        self.away: set[str] = set()
        """Nodes, `pool` and `scheduler`, while they are gone, stopped or cut off."""
        self.counts: Counter[str] = Counter()
        self.shared_rest_s = 0.0
        """Until when scheduler and pool get no fault (monotonic): jobs must also run."""
        self.faults: list[Callable[[], str]] = [
            self.kill_carrier,
            self.kill_keeper,
            self.kill_node_process,
            self.kill_node,
            self.kill_scheduler,
            self.kill_pool,
            self.kill_bridge,
            self.stop_carrier,
            self.stop_keeper,
            self.stop_worker,
            self.stop_scheduler,
        ]
        if farm.rig.net is not None:
            self.faults += [self.cut_node, self.cut_node, self.cut_pool]

    def step(self) -> None:
        """Do one thing at random, and put right what is due."""
        self.heal()
        fault = self.rng.choice(self.faults)
        try:
            done = fault()
        except (OSError, AssertionError):
            return  # it is just not there
        if done:
            self.counts[done] += 1

    # -------------------------------------------------------------------------------------------------- the faults
    # Each returns what it has done, "" for nothing.

    def _node(self) -> str:
        there = [name for name in NODES if name not in self.away]
        assert there
        return self.rng.choice(there)

    def _shared(self) -> None:
        """Check that scheduler and pool may get a fault: neither is away, and they were there for a while."""
        assert not self.away & {"scheduler", "pool"}
        assert time.monotonic() > self.shared_rest_s

    def kill_carrier(self) -> str:
        processes.send(self.farm.dask_worker(self._node(), _SOON_S), signal.SIGKILL)
        return "dask worker killed"

    def kill_keeper(self) -> str:
        processes.send(self.farm.keeper(self._node()), signal.SIGKILL)
        return "keeper killed"

    def kill_node_process(self) -> str:
        name = self._node()
        self.farm.nodes[name].kill()
        self.farm.nodes[name].wait()
        self.farm.start_node(name)
        return "node process killed"

    def kill_node(self) -> str:
        name = self._node()
        self.farm.kill_node(name)
        self.leave(name, 15, lambda: self.farm.start_node(name))
        return "node killed"

    def kill_scheduler(self) -> str:
        self._shared()
        self.farm.scheduler.kill()
        self.farm.scheduler.wait()
        self.leave("scheduler", 12, self._start_scheduler)
        return "scheduler killed"

    def kill_pool(self) -> str:
        self._shared()
        assert self.farm.pool is not None
        kill_family(self.farm.pool)
        self.leave("pool", 12, self.farm.start_pool)
        return "pool killed"

    def kill_bridge(self) -> str:
        self._shared()
        processes.send(self.farm.bridge(_SOON_S), signal.SIGKILL)
        return "bridge killed"

    def stop_carrier(self) -> str:
        return self._stop(self.farm.dask_worker(self._node(), _SOON_S), "dask worker stopped")

    def stop_keeper(self) -> str:
        return self._stop(self.farm.keeper(self._node()), "keeper stopped")

    def stop_worker(self) -> str:
        self._shared()
        return self._stop(self.farm.worker(_SOON_S), "pool's worker stopped", "pool")

    def stop_scheduler(self) -> str:
        self._shared()
        found = processes.find(self.farm.scheduler.pid)
        assert found is not None
        return self._stop(found, "scheduler stopped", "scheduler")

    def cut_node(self) -> str:
        name = self._node()
        self._cut(name)
        return "node cut off"

    def cut_pool(self) -> str:
        self._shared()
        self._cut("pool")
        return "pool cut off"

    def _stop(self, whom: processes.Process, what: str, name: str = "") -> str:
        processes.send(whom, signal.SIGSTOP)
        if name:
            self.leave(name, 20, lambda: processes.send(whom, signal.SIGCONT))
        else:
            self.after(20, lambda: processes.send(whom, signal.SIGCONT))
        return what

    def _cut(self, name: str) -> None:
        net = self.farm.rig.net
        assert net is not None
        net.cut(name)
        self.leave(name, 25, lambda: net.heal(name))

    # ------------------------------------------------------------------------------------------------- afterwards

    def _start_scheduler(self) -> None:
        self.farm.scheduler = self.farm.rig.scheduler()

    def leave(self, name: str, most_s: float, back: Callable[[], object]) -> None:
        """Take something away for a while."""
        self.away.add(name)

        def come() -> None:
            self.away.discard(name)
            if name in ("scheduler", "pool"):
                self.shared_rest_s = time.monotonic() + _REST_S
            back()

        self.after(most_s, come)

    def after(self, most_s: float, what: Callable[[], object]) -> None:
        """Do something within this time."""
        self.later.append((time.monotonic() + self.rng.uniform(0, most_s), what))

    def heal(self, *, now: bool = False) -> None:
        """Put right what is due, or everything."""
        due = [each for each in self.later if now or each[0] <= time.monotonic()]
        self.later = [each for each in self.later if each not in due]
        for _, what in due:
            what()


@pytest.mark.timeout(STORM_S * 2 + 500)
@pytest.mark.slow
def test_a_storm_loses_nothing_and_overlaps_nothing(rig: Rig) -> None:
    """P1, P3, P4: every job is done, whatever is killed, stopped and restarted; seeded, by witnesses with locks."""
    rng = random.Random(SEED)
    if not net.missing():
        rig.net = net.Net()
    farm = Farm(rig, *NODES, slots=6)
    storm = Storm(farm, rng)
    names: list[str] = []
    try:
        ends = time.monotonic() + STORM_S
        while time.monotonic() < ends:
            for _ in range(4):
                names.append(f"job{len(names)}")
                farm.job(names[-1], rng.choice([0.1, 0.5, 2, 6]))
            storm.step()
            time.sleep(rng.uniform(1, 4))  # the pace of the faults, not a wait for something
        storm.heal(now=True)
        until(lambda: farm.counts()["done"] == len(names), within_s=400)
        runs = sum(line.startswith("begin") for name in names for line in farm.runs(name))
        print(f"seed {SEED}: {len(names)} jobs, {runs} runs, {sum(storm.counts.values())} faults {dict(storm.counts)}")
        assert farm.overlaps() == []
        assert all("end" in farm.runs(name) for name in names)
    finally:
        storm.heal(now=True)
        print(f"seed {SEED}: {farm.counts()}")
        farm.close()
