"""E: what a pool takes at work with many slots: memory, and how soon all its slots run a command."""

from __future__ import annotations

import time

from bench import machine, spools, table

COUNTS = (1, 2, 8, 64, 256)
# The commands outlive the measurement; the pool ends them.
_COMMAND = ["sleep", "300"]
_ALL_RUN_WITHIN_S = 60.0


def measure(parent: str, *, counts: tuple[int, ...], repetitions: int) -> None:
    """Measure and print."""
    if not machine.HAS_PROC:
        print("E is left out: it needs /proc")
        return
    busy = machine.Busy()
    rows = []
    for count in counts:
        found = [_pool(parent, count) for _ in range(repetitions)]
        rows.append([str(count), *(table.spread(values) for values in zip(*found, strict=True))])
    head = ["slots", "processes", "first command s", "all commands s", "proportional MB", "MB a slot"]
    notes = [
        f"From the start of the pool until each slot runs `sleep`, and the memory then; {repetitions} repetitions.",
        "Proportional: of the supervisor and its workers, without the commands; shared pages count by their share.",
        *table.others(busy.others()),
    ]
    table.show("E: slots that are all in use", head, rows, notes)


def _pool(parent: str, count: int) -> tuple[float, ...]:
    """Start a pool whose slots all get a command; see `head` for what is returned."""
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        spools.fill(spool, count, _COMMAND)
        process = machine.Process(spools.pool(spool, count, "--grace", "0s"), cwd=folder)
        try:
            began_s = time.perf_counter()
            first_s = all_s = 0.0
            while not all_s:
                now_s = time.perf_counter() - began_s
                running = sum(len(machine.children(worker)) for worker in machine.workers_of(process.pid))
                if running and not first_s:
                    first_s = now_s
                if running >= count:
                    all_s = now_s
                elif now_s > _ALL_RUN_WITHIN_S:
                    raise RuntimeError(f"{running} of {count} commands run")
                time.sleep(0.005)
            pids = [process.pid, *machine.workers_of(process.pid)]
            memory_mb = sum(found.pss for pid in pids if (found := machine.memory(pid)) is not None)
        finally:
            process.stop()
    return len(pids), first_s, all_s, memory_mb, memory_mb / count
