"""Random graphs of jobs under random SIGKILL and SIGSTOP, against a model (P13).

Each job ends, and ran if its parents let it. Half of the jobs are in flows, files whose documents name each other by
refs, and all others by `*`; other jobs wait for those of a flow that the library made, whose ids it returned.

`QUEUECTL_FAMILY_JOBS=300 QUEUECTL_STORM_S=20 pytest tests/stress/test_families.py -m slow -s` is the full size, and
`QUEUECTL_STORM_SEED` repeats the graph of one run.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from queuectl.api import Spool
from queuectl.model import times
from queuectl.model.history import Event
from queuectl.model.lifecycle import DLQ, DONE, PENDING, STATES, UNMET
from queuectl.spool.folder import SpoolDir
from tests.helpers import write_drop
from tests.pool import Pool, kill
from tests.stress.pools import Pools, seed
from tests.stress.stalls import Stalls

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes through /proc")

SKIPPED, RAN, FAILED = "skipped", "ran", "failed"
FAILING = 0.15
ACTS = ("kill a worker", "stop a worker", "stop a supervisor", "kill a supervisor", "kill a pool")
# It fails for good until the file `mended` is there, if it is one of those that fail.
COMMAND = (
    'echo "$QUEUECTL_JOB_ID" >> "$QUEUECTL_SPOOL/ran"; [ -z "$FAILS" ] || [ -e "$QUEUECTL_SPOOL/mended" ] || exit 3'
)


class Node(NamedTuple):
    """A job of the graph: its parents with their conditions, in the order of its record, and whether it fails."""

    parents: list[tuple[str, str]]
    fails: bool
    after: Sequence[object] = ()
    """Of a document of a flow: the parents as it names them."""

    def document(self, after: Sequence[object]) -> dict[str, object]:
        """The job, with these parents."""
        env = {"FAILS": "1"} if self.fails else {}
        keys = {"max_retries": 1000, "backoff_base": 0, "no_retry_exit_codes": [3], "env": env}
        return {"command": COMMAND, **keys, **({"after": after} if after else {})}


def named(parents: list[tuple[str, str]]) -> list[object]:
    """Parents as a producer names them."""
    return [{"id": parent, "when": when} for parent, when in parents]


def some_parents(rng: random.Random, among: list[str]) -> list[tuple[str, str]]:
    """Up to four parents."""
    found = rng.sample(among, min(len(among), rng.choice([0, 0, 0, 1, 1, 2, 4])))
    return [(parent, when_of(rng)) for parent in found]


def when_of(rng: random.Random) -> str:
    """A condition."""
    return rng.choices(["done", "ended", "dead"], [70, 22, 8])[0]


def graph(rng: random.Random, jobs: int, flows: int) -> dict[str, Node]:
    """Jobs with parents among those before them: first those of one file each, then those of `flows` flows."""
    made: dict[str, Node] = {}
    singles = jobs // 2 if flows else jobs
    for number in range(singles):
        made[f"j{number:03d}"] = Node(some_parents(rng, sorted(made)), rng.random() < FAILING)
    for flow in range(flows):
        made |= one_flow(rng, f"flow{flow}", (jobs - singles) // flows, [key for key in made if "/" not in key])
    members = [key for key in made if is_by_the_library(key)]
    for number in range(jobs // 10 if flows else 0):
        made[f"late{number:03d}"] = Node(some_parents(rng, members), rng.random() < FAILING)
    return made


def is_by_the_library(key: str) -> bool:
    """Whether a job is of a flow that is enqueued, not dropped: its id is known at once."""
    return "/" in key and int(key.partition("/")[0].removeprefix("flow")) % 2 == 0


def one_flow(rng: random.Random, name: str, documents: int, outside: list[str]) -> dict[str, Node]:
    """The documents of a flow, `NAME/PLACE` or `NAME/REF`: the last two wait for all others, one also for a ref."""
    made: dict[str, Node] = {}
    members = max(2, documents - 2)
    refs = [f"r{place}" if rng.random() < 0.6 else "" for place in range(1, members + 1)]
    ids = [f"{name}/{ref or format(place, '04d')}" for place, ref in enumerate(refs, 1)]
    for place in range(members):
        before = [job_id for job_id, ref in zip(ids[:place], refs, strict=False) if ref]
        parents = [*some_parents(rng, before), *some_parents(rng, rng.sample(outside, min(2, len(outside))))]
        after: list[object] = [{"id": parent.rpartition("/")[2], "when": when} for parent, when in parents]
        made[ids[place]] = Node(parents, rng.random() < FAILING, after)
    # A record has the range last, and in it those with a ref first.
    ranged = [each for each, ref in zip(ids, refs, strict=True) if ref] + [
        each for each, ref in zip(ids, refs, strict=True) if not ref
    ]
    when = when_of(rng)
    made[f"{name}/{members + 1:04d}"] = Node([(each, when) for each in ranged], False, [{"id": "*", "when": when}])
    alone = next((each for each, ref in zip(ids, refs, strict=True) if ref), "")
    rest = [(each, "ended") for each in ranged if each != alone]
    first, named_alone = ([(alone, "done")], [alone.rpartition("/")[2]]) if alone else ([], [])
    made[f"{name}/{members + 2:04d}"] = Node([*first, *rest], False, [{"id": "*", "when": "ended"}, *named_alone])
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

    def __init__(self, spool: SpoolDir, rng: random.Random, jobs: int, flows: int) -> None:
        self.spool, self.rng = spool, rng
        self.nodes = graph(rng, jobs, flows)
        self.acts: Counter[str] = Counter()
        self.ids = {key: key for key in self.nodes}
        """The id of each job; that of a document of a flow is known when the flow was split."""
        settings = Path(spool.settings_path)
        settings.write_text("scan_s = 0.2\n" + settings.read_text())

    def fill(self) -> None:
        """Enqueue and drop the jobs in any order; then the flows, whose parents in the spool must be there."""
        queue = Spool(self.spool.root)
        singles = [key for key in self.nodes if key.startswith("j")]
        for key in self.rng.sample(singles, len(singles)):
            node = self.nodes[key]
            document = {"id": key, **node.document(named(node.parents))}
            if self.rng.random() < 0.4:
                write_drop(self.spool, f"{key}.json", document)
            else:
                queue.enqueue_many([document], allow_missing=True)
        flows = sorted({key.partition("/")[0] for key in self.nodes if "/" in key})
        for flow in flows:
            keys = [key for key in self.nodes if key.startswith(f"{flow}/")]
            documents = []
            for key in keys:
                ref = key.partition("/")[2]
                documents.append(self.nodes[key].document(self.nodes[key].after))
                if not ref.isdecimal():
                    documents[-1]["ref"] = ref
            if not is_by_the_library(keys[0]):
                write_drop(self.spool, f"{flow}.jsonl", "\n".join(map(json.dumps, documents)))
            else:
                self.ids.update(zip(keys, queue.enqueue_many(documents), strict=True))

        for key in [key for key in self.nodes if key.startswith("late")]:
            parents = [(self.ids[parent], when) for parent, when in self.nodes[key].parents]
            queue.enqueue_many([{"id": key, **self.nodes[key].document(named(parents))}])

    def find_ids(self) -> None:
        """Find the ids of the flows that were dropped."""
        found = {}
        for state in STATES:
            for name in self.spool.job_names(state):
                job_id = name.partition(",")[0].removesuffix(".json")
                if job_id.startswith("flow"):
                    token, _, ref = job_id.rpartition("-")
                    found[f"{token.partition('-')[0]}/{ref}"] = job_id
        self.ids.update({key: found.get(key, self.ids[key]) for key in self.nodes if "/" in key})

    def rage(self, seconds: float) -> None:
        """Kill and stop workers, supervisors and whole pools at random."""
        pools = Pools(self.spool, self.rng, pools=2, workers=2).ready()
        stalls = Stalls(self.rng, shortest_s=0.1, longest_s=1.5)
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.spool.waiting_names():
            pool = pools.some()
            act = self.rng.choices(ACTS, [45, 20, 15, 10, 10])[0]
            pids = pool.worker_pids() or [0]
            with contextlib.suppress(ProcessLookupError):
                if act == "kill a worker" and pids[0]:
                    kill(self.rng.choice(pids))
                elif act == "stop a worker":
                    stalls.stop(self.rng.choice(pids))
                elif act == "stop a supervisor":
                    stalls.stop(pool.pid)
                elif act == "kill a supervisor":
                    kill(pool.pid)
                elif act == "kill a pool":
                    pool.kill_everything()
                self.acts[act] += 1
            stalls.go_on(time.monotonic())
            if act in ("kill a supervisor", "kill a pool"):
                pool.process.wait()
                pools.replace_the_dead()
                pools.ready()
            time.sleep(self.rng.uniform(0.02, 0.25))  # the pace of the storm, not a wait
        stalls.go_on(float("inf"))
        pools.kill()

    def drain(self) -> None:
        """Let a pool end the work."""
        with Pool(self.spool, "--drain", count=3) as pool:
            assert pool.wait(120) == 0

    def wrong(self, ends: dict[str, str]) -> list[str]:
        """What differs from the model."""
        ran = set(Path(self.spool.root, "ran").read_text().split())
        wrong = [f"{name} is stuck" for name in self.spool.waiting_names()]
        self.find_ids()
        ended_at: dict[str, float] = {}
        for key, kind in ends.items():
            job_id = self.ids[key]
            state = self.spool.holds(job_id, (DONE, DLQ))
            if state != state_of(kind):
                wrong.append(f"{key} is in {state or PENDING}/, and its model is {kind}")
                continue
            item = self.spool.read(state, f"{job_id}.json").record
            last = item.standing().last
            assert last is not None
            if (last.event if last.event in (UNMET, SKIPPED) else RAN) != (kind if kind in (UNMET, SKIPPED) else RAN):
                wrong.append(f"{key} ended as {last.event}, and its model is {kind}")
            if (job_id in ran) != (kind in (RAN, FAILED)):
                wrong.append(f"{key} {'ran' if job_id in ran else 'did not run'}, and its model is {kind}")
            ended_at[key] = times.from_text(last.at)
            start = next((event for event in item.history if event.event == "started"), None)
            late = [parent for parent, _ in self.nodes[key].parents if start and ended_at[parent] > _at(start)]
            if late and "requeued" not in {event.event for event in item.history}:
                wrong.append(f"{key} started before the end of {late}")
        return wrong

    def culprits(self) -> dict[str, str]:
        """The parent that each unmet job died of."""
        found = {}
        keys = {job_id: key for key, job_id in self.ids.items()}
        for name in self.spool.job_names(DLQ):
            last = self.spool.read(DLQ, name).record.standing().last
            if last is not None and last.event == UNMET:
                found[keys[name.removesuffix(".json")]] = keys[last.after]
        return found

    def came_back(self) -> set[str]:
        """The jobs that came back with a parent."""
        found = set()
        for key, job_id in self.ids.items():
            state = self.spool.holds(job_id, (DONE, DLQ))
            history = self.spool.read(state, f"{job_id}.json").record.history
            if any(event.event == "requeued" and event.by == "parent" for event in history):
                found.add(key)
        return found


def _at(event: Event) -> float:
    return times.from_text(event.at)


@pytest.mark.slow
def test_a_random_graph_under_kills_ends_as_its_model(spool: SpoolDir) -> None:
    """Then all that failed is mended and run again: exactly the unmet jobs come back, and end as the model says."""
    jobs = int(os.environ.get("QUEUECTL_FAMILY_JOBS", "60"))
    seconds = float(os.environ.get("QUEUECTL_STORM_S", "3"))
    family = Family(spool, random.Random(chosen := seed()), jobs, flows=max(2, jobs // 30))
    family.fill()
    family.rage(seconds)
    family.drain()
    ends = model(family.nodes)
    wrong = family.wrong(ends)
    assert not wrong, f"seed {chosen}:\n" + "\n".join(wrong)
    counts = {kind: sum(1 for each in ends.values() if each == kind) for kind in (RAN, FAILED, UNMET, SKIPPED)}
    culprits = family.culprits()
    assert set(culprits) == {job_id for job_id, kind in ends.items() if kind == UNMET}
    before = {name: spool.read(DONE, name).data for name in spool.job_names(DONE)}
    Path(spool.root, "mended").touch()
    queue = Spool(spool.root)
    for job_id in [job_id for job_id, kind in ends.items() if kind == FAILED]:
        queue.requeue(family.ids[job_id])
    again = revived(family.nodes, ends, culprits)
    family.drain()
    wrong = [each for each in family.wrong(again) if "started before" not in each]
    assert not wrong, f"seed {chosen}, revived:\n" + "\n".join(wrong)
    assert {name: spool.read(DONE, name).data for name in before} == before
    assert family.came_back() == set(culprits)
    print(f"{len(ends)} jobs, {dict(family.acts)}: {counts}; seed {chosen}")
