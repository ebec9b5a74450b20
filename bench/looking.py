"""F: what looking costs when many jobs are done."""

from __future__ import annotations

from bench import machine, spools, table
from queuectl.model.lifecycle import DONE


def measure(parent: str, *, done: int, repetitions: int) -> None:
    """Measure and print."""
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        ids = spools.fill(spool, done, state=DONE)
        spools.settle_disk()
        ways = {
            "status": ["status"],
            "status --json": ["status", "--json"],
            "list": ["list"],
            "list --state done --limit 1000": ["list", "--state", "done", "--limit", "1000"],
            "show ID": ["show", ids[done // 2]],
            "why ID": ["why", ids[done // 2]],
            "logs ID": ["logs", ids[done // 2]],
            "stats": ["stats"],
            "history": ["history"],
            "dlq list": ["dlq", "list"],
            "version (no spool)": ["version"],
        }
        found: dict[str, list[machine.Ran]] = {title: [] for title in ways}
        for _ in range(repetitions + 1):
            for title, words in ways.items():
                found[title].append(machine.run(spools.queuectl(spool, *words), cwd=folder))
    rows = [
        [title, table.spread(ran.wall_s for ran in values[1:]), table.spread(ran.cpu_s for ran in values[1:])]
        for title, values in found.items()
    ]
    table.show(
        f"F: looking at {done:,} done jobs, s", ["", "time", "CPU"], rows, [f"Whole processes, {repetitions} times."]
    )
