"""E: what a pool costs that has nothing to do."""

from __future__ import annotations

import time

from bench import machine, spools, table


def measure(parent: str, *, seconds: float, workers: int = 2) -> None:
    """Measure and print."""
    if not machine.HAS_PROC:
        print("E is left out: it needs /proc")
        return
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        process = machine.Process(spools.pool(spool, workers), cwd=folder)
        try:
            time.sleep(3)
            roles = {"supervisor": [process.pid], "workers": machine.workers_of(process.pid)}
            others = [pid for pid in machine.children(process.pid) if pid not in roles["workers"]]
            if others:
                roles["helpers of Python"] = others
            before = {pid: machine.cpu_s(pid) for pids in roles.values() for pid in pids}
            began_s = time.perf_counter()
            time.sleep(seconds)
            took_s = time.perf_counter() - began_s
            rows = []
            for role, pids in roles.items():
                share = sum(machine.cpu_s(pid) - before[pid] for pid in pids) / took_s
                memory = [found for pid in pids if (found := machine.memory(pid)) is not None]
                rows.append(
                    [
                        role,
                        str(len(pids)),
                        f"{share:.3%}",
                        table.spread(item.rss for item in memory),
                        table.spread(item.pss for item in memory),
                    ]
                )
        finally:
            process.stop()
    total = sum(float(row[2].rstrip("%")) for row in rows)
    rows.append(["together", str(sum(int(row[1]) for row in rows)), f"{total:.3f}%", "", ""])
    table.show(
        f"E: an idle pool of {workers}",
        ["", "processes", "of one core", "resident MB each", "proportional MB each"],
        rows,
        [f"Over {took_s:.0f} s. Proportional: pages shared with other processes count by their share."],
    )
