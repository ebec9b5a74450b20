"""H: what limits cost: a queue with as many slots as the pool, one job at a time, and many jobs behind one full key."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench import machine, spools, table, throughput

_QUEUE = "mail"
_JOBS = spools.Flags(queue=_QUEUE)


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


def measure(parent: str, *, jobs: int, repetitions: int) -> None:
    """Measure and print."""
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
        spools.fill(spool, jobs, ["true"], flags=case.flags)
        spools.settle_disk()
        ran = machine.run(spools.pool(spool, case.workers, "--drain"), cwd=folder)
        done = spools.runs(spool)
    if len(done) != jobs:
        raise RuntimeError(f"{len(done)} of {jobs} jobs are done")
    first = max(1, jobs // 20)
    steady = (jobs - first) / max(0.001, done[-1].ended_at - done[first - 1].ended_at)
    return Measured(steady, (ran.cpu_s - empty_s) / jobs * 1e3)
