"""A storm on a real cluster: kills, stops and restarts of everything, and no job is lost or runs twice at once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pytest

from queuectl.system import processes
from tests.cluster.farm import Farm, kill_family
from tests.cluster.rig import Rig, until

pytestmark = pytest.mark.cluster
STORM_S = float(os.environ.get("QUEUECTL_CLUSTER_STORM_S", "60"))
SEED = int(os.environ.get("QUEUECTL_CLUSTER_STORM_SEED", str(random.randrange(10_000))))
NODES = ("a", "b", "c")


class Storm:
    """Faults, and what puts them right later."""

    def __init__(self, farm: Farm, rng: random.Random) -> None:
        self.farm = farm
        self.rng = rng
        self.later: list[tuple[float, object]] = []
        self.away: set[str] = set()
        """Nodes, `pool` and `scheduler`, while they are gone."""
        self.counts: Counter[str] = Counter()

    def step(self) -> None:
        """Do one thing at random, and put right what is due."""
        self.heal()
        kind = self.rng.choice(["carrier", "keeper", "node process", "node", "scheduler", "pool", "stop", "bridge"])
        name = self.rng.choice(NODES)
        farm = self.farm
        try:
            if kind in ("carrier", "keeper", "stop") and name not in self.away:
                whom = farm.keeper(name) if kind == "keeper" else farm.dask_worker(name)
                processes.send(whom, signal.SIGSTOP if kind == "stop" else signal.SIGKILL)
                if kind == "stop":
                    self.after(20, lambda: processes.send(whom, signal.SIGCONT))
            elif kind == "node process" and name not in self.away:
                farm.nodes[name].kill()
                farm.nodes[name].wait()
                farm.start_node(name)
            elif kind == "node" and name not in self.away:
                farm.kill_node(name)
                self.leave(name, 15, lambda: farm.start_node(name))
            elif kind == "scheduler" and "scheduler" not in self.away:
                farm.scheduler.kill()
                farm.scheduler.wait()
                self.leave("scheduler", 12, self._start_scheduler)
            elif kind == "pool" and "pool" not in self.away and farm.pool is not None:
                kill_family(farm.pool)
                self.leave("pool", 12, farm.start_pool)
            elif kind == "bridge" and "pool" not in self.away and farm.pool is not None:
                pool = processes.find(farm.pool.pid)
                family = processes.below([pool]) if pool is not None else []
                for each in family:
                    if "queuectl.cluster.bridge" in processes.command_line(each.pid):
                        processes.send(each, signal.SIGKILL)
            else:
                return
        except (OSError, AssertionError):
            return  # it is just not there
        self.counts[kind] += 1

    def _start_scheduler(self) -> None:
        self.farm.scheduler = self.farm.rig.scheduler()

    def leave(self, name: str, most_s: float, back: object) -> None:
        """Take something away for a while."""
        self.away.add(name)

        def come() -> None:
            self.away.discard(name)
            back()  # type: ignore[operator]

        self.after(most_s, come)

    def after(self, most_s: float, what: object) -> None:
        """Do something within this time."""
        self.later.append((time.monotonic() + self.rng.uniform(0, most_s), what))

    def heal(self, *, now: bool = False) -> None:
        """Put right what is due, or everything."""
        due = [each for each in self.later if now or each[0] <= time.monotonic()]
        self.later = [each for each in self.later if each not in due]
        for _, what in due:
            what()  # type: ignore[operator]


@pytest.mark.timeout(STORM_S * 2 + 500)
@pytest.mark.slow
def test_a_storm_loses_nothing_and_overlaps_nothing(rig: Rig) -> None:
    """P1, P3, P4: every job is done, whatever is killed, stopped and restarted; seeded, by witnesses with locks."""
    rng = random.Random(SEED)
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
            time.sleep(rng.uniform(0.5, 2))
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
