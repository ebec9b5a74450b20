"""C: how cost grows with the number of waiting jobs: first start, CPU a job, memory; the same number of jobs is run
from each backlog, so that only what lies in pending/ differs. Once with generated ids, once with ids of their own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import NamedTuple

from bench import listing, machine, spools, table
from queuectl.model.lifecycle import PENDING
from queuectl.spool.folder import SpoolDir

FLAGS = spools.Flags(queue="mail", keys=1000, priorities=3, due_each=4)
"""A queue, a thousand keys, three priorities, and one in four with a due time."""
# So many files take minutes to make and to delete, and what the disk still does for them is not ours: they are made
# once, for several pools.
_MANY = 1_000_000


class Measured(NamedTuple):
    """Start in s, CPU in ms a job (whole; and beyond a run that ends after its first job), rate, memory in MB."""

    first_start_s: float
    cpu_ms: float
    work_cpu_ms: float
    steady: float
    supervisor_mb: float
    worker_mb: float


class Least(NamedTuple):
    """When a bare Python has the names of a backlog, has split and has sorted them: seconds (see `listing`)."""

    listed_s: float
    split_s: float
    sorted_s: float


def _backlog(
    parent: str, waiting: int, jobs: int, times: int, flags: spools.Flags
) -> tuple[list[Measured], list[Least]]:
    """A new spool with so many jobs, and `times` pools one after the other that each run some of them."""
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        spools.fill(spool, waiting, flags=flags)
        spools.settle_disk()
        least = [_least(spool) for _ in range(times)]
        return [_run_some(folder, spool, jobs) for _ in range(times)], least


def _least(spool: SpoolDir) -> Least:
    argv = [sys.executable, listing.__file__, spool.folder(PENDING)]
    return Least(*json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout))


def _run_some(folder: str, spool: SpoolDir, jobs: int) -> Measured:
    few = machine.run(spools.pool(spool, 2, "--max-jobs", "1"), cwd=folder)
    before = {run.job_id for run in spools.runs(spool)}
    process = machine.Process(spools.pool(spool, 2, "--max-jobs", str(jobs)), cwd=folder)
    with machine.MemoryWatch(process.pid) as memory:
        ran = process.wait()
    done = [run for run in spools.runs(spool) if run.job_id not in before]
    first = max(1, len(done) // 20)
    return Measured(
        min(run.started_at for run in done) - ran.began_at,
        ran.cpu_s / len(done) * 1e3,
        (ran.cpu_s - few.cpu_s) / (len(done) - 1) * 1e3,
        (len(done) - first) / (done[-1].ended_at - done[first - 1].ended_at),
        memory.supervisor_mb,
        memory.worker_mb,
    )


def measure(
    parent: str, *, sizes: tuple[int, ...], jobs: int, repetitions: int, flags: spools.Flags = spools.PLAIN
) -> None:
    """Measure and print; with `flags` the names have them."""
    found: dict[int, list[Measured]] = {size: [] for size in sizes}
    floors: dict[int, list[Least]] = {size: [] for size in sizes}
    busy = machine.Busy()
    for number in range(repetitions):
        for size in sizes:
            if size >= _MANY and number:
                continue
            measured, least = _backlog(parent, size, jobs, 1 if size < _MANY else 5, flags)
            found[size] += measured
            floors[size] += least
    base = found[sizes[0]]
    rows = [
        [
            f"{size:,}",
            _ratio(values, base, "work_cpu_ms"),
            _ratio(values, base, "cpu_ms"),
            _ratio(values, base, "steady"),
            *(table.spread(getattr(value, key) for value in values) for key in Measured._fields),
        ]
        for size, values in found.items()
    ]
    head = ["waiting", "CPU at work", "CPU", "rate"]
    head += ["first start s", "CPU ms a job", "at work", "jobs/s", "supervisor MB", "worker MB"]
    notes = [
        f"{jobs} jobs run by 2 workers from each backlog; the first three columns are ratios to that of {sizes[0]:,}.",
        "At work: beyond what a pool takes that ends after its first job. Memory: the most a process ever had.",
        *table.others(busy.others()),
    ]
    table.show(f"C: waiting jobs{' with flags' if flags != spools.PLAIN else ''}", head, rows, notes)
    if flags != spools.PLAIN:
        return
    rows = [
        [f"{size:,}", *(table.spread(getattr(each, key) for each in values) for key in Least._fields)]
        for size, values in floors.items()
    ]
    notes = ["A bare Python, after its own start: all names listed, generated ones told from others, sorted."]
    table.show("C: the floor of the first start", ["waiting", "listed s", "split s", "sorted s"], rows, notes)


class Whole(NamedTuple):
    """A whole run: first start in s, CPU of all processes from start to end in s."""

    first_start_s: float
    cpu_s: float


def _whole(folder: str, spool: SpoolDir, jobs: int) -> Whole:
    before = {run.job_id for run in spools.runs(spool)}
    ran = machine.run(spools.pool(spool, 2, "--max-jobs", str(jobs)), cwd=folder)
    done = [run for run in spools.runs(spool) if run.job_id not in before]
    return Whole(min(run.started_at for run in done) - ran.began_at, ran.cpu_s)


def measure_own_ids(parent: str, *, few: int, many: int, repetitions: int) -> None:
    """Measure and print whole runs of `few` jobs with ids of their own, from a queue of as many and from a long one."""
    found: list[tuple[Whole, Whole]] = []
    busy = machine.Busy()
    with spools.folder(parent) as long_folder:
        long_one = spools.make(long_folder)
        spools.fill(long_one, many + few * (repetitions - 1), own_ids=True)
        for _ in range(repetitions):
            with spools.folder(parent) as folder:
                short = spools.make(folder)
                spools.fill(short, few, own_ids=True)
                spools.settle_disk()
                found.append((_whole(folder, short, few), _whole(long_folder, long_one, few)))
    rows = [
        [
            f"{waiting:,}",
            table.spread(pair[place].cpu_s / pair[0].cpu_s for pair in found),
            *(table.spread(getattr(pair[place], key) for pair in found) for key in Whole._fields),
        ]
        for place, waiting in enumerate((few, many))
    ]
    notes = [
        f"{few:,} jobs j1, j2 ... run by 2 workers, {repetitions} repetitions; all CPU counts, with start and end.",
        *table.others(busy.others()),
    ]
    table.show("C: ids of their own", ["waiting", "CPU", "first start s", "CPU s"], rows, notes)


def _ratio(values: list[Measured], base: list[Measured], key: str) -> str:
    middle = statistics.median(getattr(value, key) for value in base)
    return table.spread(getattr(value, key) / middle for value in values)
