"""`queuectl worker list`: list pools, their workers and jobs. (`worker` registers this command.)"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from queuectl.cli import context, group
from queuectl.cli.terminal import printing
from queuectl.model import times

if TYPE_CHECKING:
    from queuectl.monitor.rows import PoolRow


def list_(
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """List the running pools, their workers and jobs.

    Example: queuectl worker list

    The row of a pool shows its supervisor process and its slots. The rows below show each worker process that runs
    jobs, or has several slots: its slots in use, and its jobs. A worker that runs jobs on the nodes of a cluster has
    one row, with the address of the scheduler as its host: `queuectl cluster list` shows the nodes.
    """
    from queuectl.model.lifecycle import RUNNING
    from queuectl.monitor import live

    spool = context.open_anyway()
    now_at = time.time()
    facts = {pool.pool: pool for pool in live.pools(spool.folder)}
    found = live.rows(spool.folder, now_at)
    running = list(spool.jobs(RUNNING))
    if as_json:
        rows = [
            {
                "pool": pool.pool,
                "host": pool.host,
                "pid": pool.pid,
                "workers": pool.workers,
                "processes": [
                    {
                        **{key: value for key, value in row._asdict().items() if key != "used"},
                        "running": [job.id for job in running if job.worker == row.name],
                    }
                    for row in pool.processes
                ],
                "started_at": times.to_text(pool.started_at),
                "cwd": facts[pool.pool].cwd if pool.pool in facts else "",
                "log": facts[pool.pool].log if pool.pool in facts else "",
                "running": [job.id for job in running if job.worker.startswith(pool.pool + "-")],
            }
            for pool in found
        ]
        typer.echo(json.dumps({"version": 1, "pools": rows}, indent=1))
        return
    if not found:
        printing.message("no workers are running; to start some: queuectl worker start --count 2")
        return
    by_worker: dict[str, list[str]] = {}
    for job in running:
        by_worker.setdefault(job.worker, []).append(job.id)
    listed = [row for pool in found for row in _rows(pool, by_worker)]
    printing.table(["WORKER", "HOST", "PID", "SLOTS", "SINCE", "RUNNING"], listed)


def _rows(pool: PoolRow, by_worker: dict[str, list[str]]) -> list[list[str]]:
    """Return the row of a pool, with the jobs of workers that its record does not name yet, and rows of its workers."""
    listed = {worker.name for worker in pool.processes}
    others = {name: ids for name, ids in by_worker.items() if name.startswith(pool.pool + "-")}
    loose = " ".join(job_id for name, ids in others.items() if name not in listed for job_id in ids)
    used = f"{sum(map(len, others.values()))} of {pool.workers}"
    rows = [[pool.pool, pool.host, str(pool.pid), used, printing.age(time.time() - pool.started_at), loose or "-"]]
    clusters = {cluster.worker: cluster for cluster in pool.clusters}
    for worker in pool.processes:
        ids = by_worker.get(worker.name, [])
        if ids or worker.slots > 1 or worker.name in clusters:
            used = f"{len(ids)}, ending" if worker.is_ending else f"{len(ids)} of {worker.slots}"
            host = clusters[worker.name].scheduler if worker.name in clusters else ""
            rows.append([worker.name, host, str(worker.pid), used, "", " ".join(ids) or "-"])
    return rows
