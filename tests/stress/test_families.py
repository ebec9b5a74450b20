"""Random graphs of jobs under random SIGKILL, against a model: each job ends, and ran if its parents let it (P13).

`QUEUECTL_FAMILY_JOBS=300 QUEUECTL_STORM_S=20 pytest tests/stress/test_families.py -m slow -s` is the full size, and
`QUEUECTL_STORM_SEED` repeats the graph of one run.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from queuectl.api import Spool
from queuectl.model import times
from queuectl.model.history import Event
from queuectl.model.lifecycle import DLQ, DONE, PENDING, UNMET
from queuectl.spool.folder import SpoolDir
from tests.helpers import write_drop
from tests.pool import Pool, kill

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes through /proc")

SKIPPED, RAN, FAILED = "skipped", "ran", "failed"
FAILING = 0.15
# It fails for good until the file `mended` is there, if it is one of those that fail.
COMMAND = (
    'echo "$QUEUECTL_JOB_ID" >> "$QUEUECTL_SPOOL/ran"; [ -z "$FAILS" ] || [ -e "$QUEUECTL_SPOOL/mended" ] || exit 3'
)


class Node(NamedTuple):
    """A job of the graph: its parents with their conditions, and whether it fails."""

    parents: list[tuple[str, str]]
    fails: bool

    def document(self, job_id: str) -> dict[str, object]:
        """The job."""
        env = {"FAILS": "1"} if self.fails else {}
        after = [{"id": parent, "when": when} for parent, when in self.parents]
        keys = {"max_retries": 1000, "backoff_base": 0, "no_retry_exit_codes": [3], "env": env}
        return {"id": job_id, "command": COMMAND, **keys, **({"after": after} if after else {})}


def graph(rng: random.Random, jobs: int) -> dict[str, Node]:
    """Jobs with up to four parents among those before them."""
    made: dict[str, Node] = {}
    for number in range(jobs):
        found = rng.sample(sorted(made), min(len(made), rng.choice([0, 1, 1, 2, 3, 4])))
        parents = [(parent, rng.choices(["done", "ended", "dead"], [70, 22, 8])[0]) for parent in found]
        made[f"j{number:03d}"] = Node(parents, rng.random() < FAILING)
    return made


def state_of(kind: str) -> str:
    """Where a job that ended so is."""
    return DONE if kind in (RAN, SKIPPED) else DLQ


def kind_of(node: Node, parents: list[tuple[str, str]], ends: dict[str, str], *, mended: bool = False) -> str:
    """How a job ends: its parents are asked from the last to the first."""
    for parent, when in reversed(parents):
        state = state_of(ends[parent])
        if when == "done" and state == DLQ:
            return UNMET
        if when == "dead" and state == DONE:
            return SKIPPED
    return FAILED if node.fails and not mended else RAN


def model(nodes: dict[str, Node]) -> dict[str, str]:
    """How each job ends."""
    ends: dict[str, str] = {}
    for job_id, node in nodes.items():
        ends[job_id] = kind_of(node, node.parents, ends)
    return ends


def revived(nodes: dict[str, Node], before: dict[str, str], culprits: dict[str, str]) -> dict[str, str]:
    """How each job has ended after everything that failed was mended and run again."""
    ends: dict[str, str] = {}
    for job_id, node in nodes.items():
        if before[job_id] == FAILED:
            ends[job_id] = RAN
        elif before[job_id] == UNMET:
            place = [parent for parent, _ in node.parents].index(culprits[job_id])
            ends[job_id] = kind_of(node, node.parents[: place + 1], ends, mended=True)
        else:
            ends[job_id] = before[job_id]
    return ends


class Family:
    """A spool with a graph, and the pools that work on it."""

    def __init__(self, spool: SpoolDir, rng: random.Random, jobs: int) -> None:
        self.spool, self.rng = spool, rng
        self.nodes = graph(rng, jobs)
        self.kills = 0
        settings = Path(spool.settings_path)
        settings.write_text("scan_s = 0.2\n" + settings.read_text())

    def fill(self) -> None:
        """Enqueue and drop the jobs in any order."""
        queue = Spool(self.spool.root)
        for job_id in self.rng.sample(sorted(self.nodes), len(self.nodes)):
            document = self.nodes[job_id].document(job_id)
            if self.rng.random() < 0.4:
                write_drop(self.spool, f"{job_id}.json", document)
            else:
                queue.enqueue_many([document], allow_missing=True)

    def rage(self, seconds: float) -> None:
        """Kill workers, supervisors and whole pools at random."""
        pools = [Pool(self.spool, count=2).ready() for _ in range(2)]
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.spool.waiting_names():
            pool = self.rng.choice(pools)
            how = self.rng.random()
            pids = pool.worker_pids()
            if how < 0.7 and pids:
                kill(self.rng.choice(pids))
            elif how < 0.85:
                kill(pool.pid)
            else:
                pool.kill_everything()
            self.kills += 1
            if how >= 0.7:
                pools[pools.index(pool)] = Pool(self.spool, count=2).ready()
            time.sleep(self.rng.uniform(0.02, 0.25))  # between two kills, not for a condition
        for pool in pools:
            pool.kill_everything()

    def drain(self) -> None:
        """Let a pool end the work."""
        with Pool(self.spool, "--drain", count=3) as pool:
            assert pool.wait(120) == 0

    def wrong(self, ends: dict[str, str]) -> list[str]:
        """What differs from the model."""
        ran = set(Path(self.spool.root, "ran").read_text().split())
        wrong = [f"{name} is stuck" for name in self.spool.waiting_names()]
        ended_at: dict[str, float] = {}
        for job_id, kind in ends.items():
            state = self.spool.holds(job_id, (DONE, DLQ))
            if state != state_of(kind):
                wrong.append(f"{job_id} is in {state or PENDING}/, and its model is {kind}")
                continue
            item = self.spool.read(state, f"{job_id}.json").record
            last = item.standing().last
            assert last is not None
            if (last.event if last.event in (UNMET, SKIPPED) else RAN) != (kind if kind in (UNMET, SKIPPED) else RAN):
                wrong.append(f"{job_id} ended as {last.event}, and its model is {kind}")
            if (job_id in ran) != (kind in (RAN, FAILED)):
                wrong.append(f"{job_id} {'ran' if job_id in ran else 'did not run'}, and its model is {kind}")
            ended_at[job_id] = times.from_text(last.at)
            start = next((event for event in item.history if event.event == "started"), None)
            late = [parent for parent, _ in self.nodes[job_id].parents if start and ended_at[parent] > _at(start)]
            if late and "requeued" not in {event.event for event in item.history}:
                wrong.append(f"{job_id} started before the end of {late}")
        return wrong

    def culprits(self) -> dict[str, str]:
        """The parent that each unmet job died of."""
        found = {}
        for name in self.spool.job_names(DLQ):
            last = self.spool.read(DLQ, name).record.standing().last
            if last is not None and last.event == UNMET:
                found[name.removesuffix(".json")] = last.after
        return found


def _at(event: Event) -> float:
    return times.from_text(event.at)


@pytest.mark.slow
def test_a_random_graph_under_kills_ends_as_its_model(spool: SpoolDir) -> None:
    """Then all that failed is mended and run again: exactly the unmet jobs come back, and end as the model says."""
    jobs = int(os.environ.get("QUEUECTL_FAMILY_JOBS", "60"))
    seconds = float(os.environ.get("QUEUECTL_STORM_S", "3"))
    seed = int(os.environ.get("QUEUECTL_STORM_SEED", str(random.randrange(10**6))))
    family = Family(spool, random.Random(seed), jobs)
    family.fill()
    family.rage(seconds)
    family.drain()
    ends = model(family.nodes)
    wrong = family.wrong(ends)
    assert not wrong, f"seed {seed}:\n" + "\n".join(wrong)
    counts = {kind: sum(1 for each in ends.values() if each == kind) for kind in (RAN, FAILED, UNMET, SKIPPED)}
    culprits = family.culprits()
    assert set(culprits) == {job_id for job_id, kind in ends.items() if kind == UNMET}
    before = {name: spool.read(DONE, name).data for name in spool.job_names(DONE)}
    Path(spool.root, "mended").touch()
    queue = Spool(spool.root)
    for job_id in [job_id for job_id, kind in ends.items() if kind == FAILED]:
        queue.requeue(job_id)
    again = revived(family.nodes, ends, culprits)
    family.drain()
    wrong = [each for each in family.wrong(again) if "started before" not in each]
    assert not wrong, f"seed {seed}, revived:\n" + "\n".join(wrong)
    assert {name: spool.read(DONE, name).data for name in before} == before
    print(f"{jobs} jobs, {family.kills} kills: {counts}; seed {seed}")
