"""H: what jobs cost that wait for others: many blocked ones, a parent's end and its child's start, and a group."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from typing import Any

from bench import machine, spools, table
from queuectl.api import Spool
from queuectl.model.lifecycle import DONE
from queuectl.spool.folder import SpoolDir

_TRUE = ["true"]
_GATE = "gate"
_PATIENCE_S = 30.0
# After its start a pool looks at everything once, and makes the first page.
_SETTLED_AFTER_S = 25.0


def measure(parent: str, *, blocked: int, pairs: int, jobs: int, group: int, repetitions: int, seconds: float) -> None:
    """Measure and print."""
    _blocked(parent, blocked=blocked, pairs=pairs, jobs=jobs, seconds=seconds)
    _group(parent, members=group, repetitions=repetitions)


def _blocked(parent: str, *, blocked: int, pairs: int, jobs: int, seconds: float) -> None:
    """An idle pool with many blocked jobs, single parents that end in it, and then the run of all the children."""
    busy = machine.Busy()
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        api = Spool(spool.root)
        api.enqueue(_TRUE, id=_GATE)
        api.hold(_GATE)
        api.enqueue_many([{"command": _TRUE, "after": _GATE} for _ in range(blocked)])
        process = machine.Process(spools.pool(spool, 2), cwd=folder)
        try:
            time.sleep(_SETTLED_AFTER_S)
            before_s, began_s = machine.cpu_s(process.pid), time.perf_counter()
            time.sleep(seconds)
            share = (machine.cpu_s(process.pid) - before_s) / (time.perf_counter() - began_s)
            waits_ms = [_pair(spool, api, number) for number in range(pairs)]
        finally:
            process.stop()
        api.release(_GATE)
        children = _rate(folder, spool, jobs)
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        spools.fill(spool, blocked, _TRUE)
        spools.settle_disk()
        ready = _rate(folder, spool, jobs)
    row = [
        f"{blocked:,}",
        f"{share:.2%}",
        f"{statistics.median(waits_ms):.1f}",
        f"{table.percentile(waits_ms, 0.95):.1f}",
        table.number(children[0] / ready[0]),
        table.number(children[1] / ready[1]),
    ]
    head = ["blocked jobs", "idle supervisor, of a core", "p50 ms", "p95 ms", "rate / ready jobs", "CPU / ready jobs"]
    notes = [
        f"ms: from the end of a parent to the start of its child, {pairs} pairs one after the other, by their records.",
        f"The ratios: {jobs} of the children, and as many of a queue of {blocked:,} jobs that are ready.",
        *table.others(busy.others()),
    ]
    table.show("H: jobs that wait for a parent, a pool of 2", head, [row], notes)


def _pair(spool: SpoolDir, api: Spool, number: int) -> float:
    """Run a parent and its child; return the time between them in ms."""
    first, second = f"parent{number}", f"child{number}"
    api.enqueue_many([{"command": _TRUE, "id": first}, {"command": _TRUE, "id": second, "after": first}])
    path = spool.path(DONE, f"{second}.json")
    deadline_s = time.monotonic() + _PATIENCE_S
    while not os.path.exists(path) and time.monotonic() < deadline_s:
        time.sleep(0.005)
    ended, started = (next(run for run in spools.runs_of(spool, [job])) for job in (first, second))
    return (started.started_at - ended.ended_at) * 1e3


def _rate(folder: str, spool: SpoolDir, jobs: int) -> tuple[float, float]:
    """Run some of the waiting jobs; return jobs a second from the first 5 % on, and CPU in s."""
    before = {run.job_id for run in spools.runs(spool)}
    ran = machine.run(spools.pool(spool, 2, "--max-jobs", str(jobs)), cwd=folder)
    done = [run for run in spools.runs(spool) if run.job_id not in before and run.job_id != _GATE]
    first = max(1, len(done) // 20)
    return (len(done) - first) / (done[-1].ended_at - done[first - 1].ended_at), ran.cpu_s


def _group(parent: str, *, members: int, repetitions: int) -> None:
    """A group of jobs with one that waits for all of them, and the same without it."""
    busy = machine.Busy()
    found: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    for number, has_last in itertools.product(range(repetitions), (False, True)):
        found[has_last != bool(number % 2)].append(_run_group(parent, members, has_last=has_last != bool(number % 2)))
    without, with_last = found[False], found[True]
    row = [
        f"{members:,}",
        table.spread(one[0] / other[0] for one, other in zip(with_last, without, strict=True)),
        table.spread(one[1] / other[1] for one, other in zip(with_last, without, strict=True)),
        table.spread(one[2] * 1e3 for one in with_last),
    ]
    head = ["members", "CPU / without", "time / without", "last end to its start, ms"]
    notes = ['A group with a last job `after = "*"`, and the same group without it, in turns.']
    table.show("H: a job after all others of its group", head, [row], [*notes, *table.others(busy.others())])


def _run_group(parent: str, members: int, *, has_last: bool) -> tuple[float, float, float]:
    """Return CPU in s, time in s, and the time between the last member's end and the last job's start."""
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        # The ref makes a group of both: ids of a group cost a claim more than generated ids.
        jobs: list[dict[str, Any]] = [{"command": _TRUE, "ref": "first"}]
        jobs += [{"command": _TRUE} for _ in range(members - 1)]
        jobs += [{"command": _TRUE, "after": "*"}] if has_last else []
        *_, last_id = Spool(spool.root).enqueue_many(jobs)
        spools.settle_disk()
        ran = machine.run(spools.pool(spool, 2, "--drain"), cwd=folder)
        if not has_last:
            return ran.cpu_s, ran.wall_s, 0.0
        done = spools.runs(spool)
    (last,) = [run for run in done if run.job_id == last_id]
    return ran.cpu_s, ran.wall_s, last.started_at - max(run.ended_at for run in done if run is not last)
