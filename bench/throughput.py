"""A: how fast a full queue is worked off, beside `xargs -P` on the same commands in the same minute.

The rate is read from the records afterwards, so nothing watches the pool while it is measured: whole is from the start
of `queuectl worker start` to the last outcome; steady is from the outcome of the first 5 % on. CPU is user and system
of the supervisor, its workers, their helpers and the commands; "at work" leaves out what an empty pool costs to start
and to end, measured in the same repetition.
"""

from __future__ import annotations

import itertools
import shutil
import sys
from typing import NamedTuple

from bench import loop, machine, peers, spools, table
from queuectl.pool import options

COMMAND = "true"
_LEAST = "the floor: a minimal loop in Python"


class Variant(NamedTuple):
    """One way to measure a pool."""

    workers: int
    durability: str
    churned: bool

    @property
    def title(self) -> str:
        """Its name in the table."""
        return f"queuectl, {self.durability}{', after churn' if self.churned else ''}"


class Measured(NamedTuple):
    """Jobs a second over the whole run and in steady state; CPU in ms a job, whole and at work."""

    rate: float
    steady: float | None
    cpu_ms: float
    work_cpu_ms: float | None
    first_start_s: float | None


def xargs(folder: str, count: int, at_once: int) -> Measured | None:
    """The floor: the same shell commands without a queue. None where there is no xargs."""
    if not shutil.which("xargs"):
        return None
    line = f"seq {count} | xargs -P {at_once} -I '{{}}' sh -c {COMMAND}"
    ran = machine.run(["sh", "-c", line], cwd=folder)
    return Measured(count / ran.wall_s, None, ran.cpu_s / count * 1e3, None, None)


def pool(parent: str, count: int, variant: Variant, *, start_cpu_s: float) -> Measured:
    """One pool that works off `count` jobs."""
    with spools.folder(parent) as folder:
        if variant.churned:
            spools.churn(folder, 4000)
        spool = spools.make(folder, durability=variant.durability)
        spools.fill(spool, count, COMMAND)
        spools.settle_disk()
        ran = machine.run(spools.pool(spool, variant.workers, "--drain"), cwd=folder)
        return _measured(ran, spools.runs(spool), count, start_cpu_s=start_cpu_s)


def least(parent: str, count: int, slots: int) -> Measured:
    """The same work with the same system calls in a minimal loop (`loop`), in as many processes as a pool has."""
    argv = [sys.executable, loop.__file__]
    numbers = [str(slots), str(len(options.spread(slots, None)))]
    with spools.folder(parent) as folder:
        start = machine.run([*argv, spools.make(folder).root, *numbers], cwd=folder)
        spool = spools.make(folder)
        spools.fill(spool, count, COMMAND)
        spools.settle_disk()
        ran = machine.run([*argv, spool.root, *numbers], cwd=folder)
        return _measured(ran, spools.runs(spool), count, start_cpu_s=start.cpu_s)


def _measured(ran: machine.Ran, done: list[spools.Run], count: int, *, start_cpu_s: float) -> Measured:
    if len(done) != count:
        raise RuntimeError(f"{len(done)} of {count} jobs are done")
    first = max(1, count // 20)
    steady = (count - first) / max(0.001, done[-1].ended_at - done[first - 1].ended_at)
    return Measured(
        count / (done[-1].ended_at - ran.began_at),
        steady,
        ran.cpu_s / count * 1e3,
        (ran.cpu_s - start_cpu_s) / count * 1e3,
        min(run.started_at for run in done) - ran.began_at,
    )


def empty_pool(parent: str, workers: int) -> machine.Ran:
    """A pool on an empty spool: what starting and ending costs."""
    with spools.folder(parent) as folder:
        return machine.run(spools.pool(spools.make(folder), workers, "--drain"), cwd=folder)


def measure(parent: str, *, jobs: int, repetitions: int, workers: int, others: list[str], short: bool) -> None:
    """Measure one number of workers and print; `short` leaves out all variants but the first."""
    variants = [Variant(workers, "queue", False)]
    if not short:
        variants.append(Variant(workers, "queue", True))
        variants += [Variant(workers, durability, False) for durability in ("full", "off")]
    floors: list[Measured | None] = []
    empties: list[machine.Ran] = []
    found: dict[str, list[Measured | None]] = {variant.title: [] for variant in variants}
    found |= {name: [] for name in (_LEAST, *others)}
    busy = machine.Busy()
    for _ in range(repetitions):
        with spools.folder(parent) as folder:
            floors.append(xargs(folder, jobs, workers))
        empties.append(empty_pool(parent, workers))
        for variant in variants:
            found[variant.title].append(pool(parent, jobs, variant, start_cpu_s=empties[-1].cpu_s))
        found[_LEAST].append(least(parent, jobs, workers))
        for name in others:
            found[name].append(_peer(parent, name, jobs, workers))
    _print(workers, jobs, floors, empties, found, busy.others())


def _peer(parent: str, name: str, jobs: int, workers: int) -> Measured | None:
    made = peers.ADAPTERS[name]
    jobs = min(jobs, made.most_jobs)
    with spools.folder(parent) as folder:
        try:
            wall_s, cpu_s = made(folder, workers).work_off(COMMAND, jobs)
        except (RuntimeError, OSError) as error:
            print(f"{name} failed: {error}")
            return None
    return Measured(jobs / wall_s, None, cpu_s / jobs * 1e3, None, None)


def _print(
    workers: int,
    jobs: int,
    floors: list[Measured | None],
    empties: list[machine.Ran],
    found: dict[str, list[Measured | None]],
    others: float | None,
) -> None:
    rows = []
    if any(floors):
        rows.append(_row(f"xargs -P{workers}", floors, floors))
    rows += [_row(title, values, floors) for title, values in found.items()]
    head = ["", *(f"{what} / xargs" for what in ("rate", "steady", "CPU", "at work"))]
    head += ["jobs/s", "steady", "CPU ms", "at work", "first start s"]
    notes = [
        f"`sh -c {COMMAND}`, {jobs} jobs, {len(floors)} repetitions: median [range], ratios within a repetition.",
        f"An empty pool starts and ends in {table.spread(ran.wall_s for ran in empties)} s.",
        f"That takes {table.spread(ran.cpu_s * 1e3 for ran in empties)} ms of CPU; at work is without it.",
        *table.others(others),
    ]
    table.show(f"A: throughput, {workers} workers", head, rows, notes)


def _row(title: str, values: list[Measured | None], floors: list[Measured | None]) -> list[str]:
    pairs = [(value, floor) for value, floor in zip(values, floors, strict=True) if value is not None]
    known = [value for value, _ in pairs]

    def ratio(of: str, to: str) -> str:
        return table.spread(
            getattr(value, of) / getattr(floor, to)
            for value, floor in pairs
            if floor is not None and getattr(value, of) is not None
        )

    return [
        title,
        ratio("rate", "rate"),
        ratio("steady", "rate"),
        ratio("cpu_ms", "cpu_ms"),
        ratio("work_cpu_ms", "cpu_ms"),
        table.spread(value.rate for value in known),
        table.spread(value.steady for value in known),
        table.spread(value.cpu_ms for value in known),
        table.spread(value.work_cpu_ms for value in known),
        table.spread(value.first_start_s for value in known),
    ]


def mixed(parent: str, *, jobs: int, long_s: int) -> None:
    """One long job first, then many short ones, two workers: no short job may wait for the long one."""
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        (long_id,) = spools.fill(spool, 1, f"sleep {long_s}")
        spools.fill(spool, jobs, COMMAND)
        ran = machine.run(spools.pool(spool, 2, "--drain"), cwd=folder)
        done = spools.runs(spool)
    long_run = next(run for run in done if run.job_id == long_id)
    short = [run for run in done if run.job_id != long_id]
    starts = sorted(run.started_at for run in short)
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    table.show(
        "A: one long job among short ones, 2 workers",
        ["jobs", "long s", "short ones done after s", "before the long one", "longest pause ms", "p99 ms"],
        [
            [
                f"1 + {len(short)}",
                str(long_s),
                table.number(short[-1].ended_at - ran.began_at),
                str(sum(run.ended_at < long_run.ended_at for run in short)),
                table.number(max(gaps) * 1e3),
                table.number(table.percentile(gaps, 0.99) * 1e3),
            ]
        ],
        ["A pause is the time between the starts of two short jobs that follow each other."],
    )
