"""H: what limits cost: a queue with as many slots as the pool, one job at a time, and many jobs behind one full key."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from bench import machine, spools, table, throughput
from queuectl.model import times
from queuectl.model.lifecycle import DONE, RUNNING

_QUEUE = "mail"
_JOBS = spools.Flags(queue=_QUEUE)
_TRUE = ["true"]


class Measured(NamedTuple):
    """Jobs a second from the outcome of the first 5 % on; CPU in ms a job beyond what an empty pool takes."""

    steady: float
    work_cpu_ms: float


class Case(NamedTuple):
    """A pool and the limits of the queue whose jobs it runs."""

    title: str
    workers: int
    limits: str = ""
    """Lines of queuectl.toml after `[queues.mail]`."""
    flags: spools.Flags = _JOBS


_OTHERS = 100
_PATIENCE_S = 120.0


def measure(parent: str, *, jobs: int, repetitions: int, behind: int) -> None:
    """Measure and print."""
    _behind_a_key(parent, behind, repetitions)
    keyed = _JOBS._replace(keys=50)
    _compare(
        parent,
        "H: a gate that never shuts, 8 workers",
        [
            Case("no limit", 8),
            Case("slots = 8", 8, "slots = 8"),
            Case("slots = 100", 8, "slots = 100"),
            Case("50 keys, per_key = 8", 8, "per_key = 8", keyed),
        ],
        jobs=jobs,
        repetitions=repetitions,
    )
    _compare(
        parent,
        "H: one job at a time",
        [
            Case("1 worker, no limit", 1),
            Case("2 workers, slots = 1", 2, "slots = 1"),
            Case("8 workers, slots = 1", 8, "slots = 1"),
        ],
        jobs=jobs // 2,
        repetitions=repetitions,
    )


def _behind_a_key(parent: str, behind: int, repetitions: int) -> None:
    """Many jobs of one key, the first of which runs long, and then some others."""
    busy = machine.Busy()
    found = [_first_other(parent, behind) for _ in range(repetitions)]
    row = [f"{behind:,}", *(table.spread(values) for values in zip(*found, strict=True))]
    head = ["jobs behind a full key", "first start s", "first other start, s after that"]
    notes = [f"Then {_OTHERS} jobs without a key, which are last in the queue.", *table.others(busy.others())]
    table.show("H: a key that is full, a pool of 2", head, [row], notes)


def _first_other(parent: str, behind: int) -> tuple[float, float]:
    keyed = _JOBS._replace(keys=1)
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        (long_id,) = spools.fill(spool, 1, ["sleep", "300"], flags=keyed)
        time.sleep(behind / 1e6 + 0.1)  # ids say when their jobs came, to the microsecond
        spools.fill(spool, behind, _TRUE, flags=keyed)
        spools.fill(spool, _OTHERS, _TRUE, flags=_JOBS)
        spools.settle_disk()
        process = machine.Process(spools.pool(spool, 2, "--grace", "0s"), cwd=folder)
        try:
            deadline_s = time.monotonic() + _PATIENCE_S
            while len(spool.job_names(DONE)) < _OTHERS and time.monotonic() < deadline_s:
                time.sleep(0.05)
            first = spool.read(RUNNING, f"{long_id}.json").record.standing().last_start
        finally:
            process.stop()
        others = spools.runs(spool)
    assert first is not None, "the first job of the key runs"
    first_at = times.from_text(first.at)
    return first_at - process.began_at, min(run.started_at for run in others) - first_at


def _compare(parent: str, title: str, cases: list[Case], *, jobs: int, repetitions: int) -> None:
    """Run the cases in turns; the first is what the others are compared with."""
    found: dict[str, list[Measured]] = {case.title: [] for case in cases}
    busy = machine.Busy()
    for number in range(repetitions):
        for case in cases if number % 2 else reversed(cases):
            found[case.title].append(_run(parent, case, jobs))
    base = found[cases[0].title]

    def ratio(values: list[Measured], of: Callable[[Measured], float]) -> str:
        return table.spread(of(value) / of(one) for value, one in zip(values, base, strict=True))

    rows = [
        [
            name,
            ratio(values, lambda each: each.steady),
            ratio(values, lambda each: each.work_cpu_ms),
            *(table.spread(getattr(value, key) for value in values) for key in Measured._fields),
        ]
        for name, values in found.items()
    ]
    notes = [
        f"{jobs} jobs `true` of one queue, {repetitions} repetitions in turns: ratios to the first line's.",
        *table.others(busy.others()),
    ]
    table.show(title, ["", "rate", "CPU at work", "jobs/s", "CPU ms a job at work"], rows, notes)


def _run(parent: str, case: Case, jobs: int) -> Measured:
    empty_s = throughput.empty_pool(parent, case.workers).cpu_s
    with spools.folder(parent) as folder:
        limits = f"[queues.{_QUEUE}]\n{case.limits}\n" if case.limits else ""
        spool = spools.make(folder, settings=limits)
        spools.fill(spool, jobs, _TRUE, flags=case.flags)
        spools.settle_disk()
        ran = machine.run(spools.pool(spool, case.workers, "--drain"), cwd=folder)
        done = spools.runs(spool)
    if len(done) != jobs:
        raise RuntimeError(f"{len(done)} of {jobs} jobs are done")
    first = max(1, jobs // 20)
    steady = (jobs - first) / max(0.001, done[-1].ended_at - done[first - 1].ended_at)
    return Measured(steady, (ran.cpu_s - empty_s) / jobs * 1e3)
