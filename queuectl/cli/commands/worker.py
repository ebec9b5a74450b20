"""`queuectl worker start|stop|list`: start, stop and list pools."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from queuectl.cli import completion, context, group
from queuectl.cli.commands import worker_change
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.rows import duration
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError
from queuectl.model import names, times

if TYPE_CHECKING:
    from queuectl.cli.terminal.progress import Progress
    from queuectl.monitor.rows import PoolRow
    from queuectl.spool.folder import SpoolDir
    from queuectl.spool.pools import PoolInfo, StopSummary

app = group.new_app(
    help="Start, stop and list workers.\n\nExample: queuectl worker start --count 2\n\n"
    "A worker is a process that runs jobs in its slots, one in each. `worker start` starts a pool of workers.",
    no_args_is_help=True,
)

# `worker stop` checks this often whether the pools have ended, and asks them again this often (`pools.request_stop`).
_POLL_S, _ASK_AGAIN_S = 0.05, 1.0
_START_CLUSTER = "queuectl worker start --cluster"
# The number of jobs to name while a stop waits for them.
_NAMED = 3
# A stop that takes longer than this, beyond the graces of the pool, has failed.
_STOP_MARGIN_S = 20.0


@app.command(short_help="Start workers that run jobs.")
def start(
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-c",
            metavar="N",
            min=0,
            max=256,
            help="Number of jobs to run at once: slots. Default: 1; with --cluster: 0.",
        ),
    ] = None,
    drain: Annotated[
        bool, typer.Option("--drain", help="Stop when nothing is left to run, delayed jobs and retries included.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the pool in the background.")] = False,
    max_jobs: Annotated[
        int | None, typer.Option("--max-jobs", metavar="K", min=1, help="Stop after this many attempts.")
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="How long jobs may continue after a stop. Default: the setting stop_grace_s."
        ),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Run only jobs of these queues. Default: all.", autocompletion=completion.queues()
        ),
    ] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Run jobs on the nodes of the cluster in the settings.")
    ] = False,
    slots: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=10_000,
            help="Most jobs to run at once on nodes. Default: the setting cluster.slots.",
        ),
    ] = None,
    log_format: Annotated[
        str,
        typer.Option(
            "--log-format", metavar="FORM", help="Form of the output: text, or json for one JSON object per line."
        ),
    ] = "text",
) -> None:
    """Start workers that run jobs.

    \b
    Examples:
      queuectl worker start --count 2
      queuectl worker start --drain
      queuectl worker start --queue mail,scans
      queuectl worker start --cluster --count 2

    The workers run until Ctrl-C or `queuectl worker stop`. The command prints one line per event to standard output.

    Press Ctrl-C once to stop: running jobs may continue for --grace. Press it twice to end running jobs now and put
    them back into the queue.
    """
    if log_format not in ("text", "json"):
        raise typer.BadParameter("text or json", param_hint="--log-format")
    grace_s = None if grace is None else duration(grace, "--grace")
    queues = tuple(dict.fromkeys(queue.replace(" ", "").split(","))) if queue is not None else ()
    for name in queues:
        if why := names.why_bad_queue(name):
            raise WrongUsageError(f"--queue: {name[:60]!r} is not the name of a queue: it {why}")
    if slots is not None and not cluster:
        raise WrongUsageError("--slots needs --cluster; for slots on this machine use --count")
    if count == 0 and not cluster:
        raise WrongUsageError("--count: takes a whole number from 1 to 256, not 0 (0 needs --cluster)")
    spool = context.open_spool()
    count = (0 if cluster else 1) if count is None else count
    cluster_slots = (slots or spool.settings.cluster_slots) if cluster else 0
    if detach:
        from queuectl.pool import preflight

        preflight.check(spool.folder, spool.settings, _warn)
        if cluster:
            preflight.check_cluster(spool.folder, spool.settings)
        typed = ["--drain"] if drain else []
        typed += ["--max-jobs", str(max_jobs)] if max_jobs is not None else []
        typed += ["--grace", f"{grace_s:.3f}"] if grace_s is not None else []
        typed += ["--queue", ",".join(queues)] if queues else []
        typed += ["--cluster", "--slots", str(cluster_slots)] if cluster else []
        _detach(spool.folder, count, typed)
        return
    from queuectl.cli.events import Printer
    from queuectl.pool.options import Options
    from queuectl.pool.run import run_pool

    printer = Printer(as_json=log_format == "json", workers=count, spool=spool.path, cluster_slots=cluster_slots)
    options = Options(
        slots=count, cwd=os.getcwd(), drain=drain, max_jobs=max_jobs, queues=queues, cluster_slots=cluster_slots
    )
    settings = spool.settings if grace_s is None else spool.settings._replace(stop_grace_s=grace_s)
    summary = run_pool(spool.folder, settings, options, printer.tell, warn=_warn)
    printer.end(summary)


def _warn(text: str) -> None:
    printing.remark(f"warning: {printing.safe(text)}")


def _detach(folder: SpoolDir, count: int, options: list[str]) -> None:
    """Start the same command as a background process and wait until its pool runs."""
    from queuectl.spool import pools
    from queuectl.system import outputs

    argv = [
        sys.executable,
        "-m",
        "queuectl",
        "--spool",
        folder.root,
        "worker",
        "start",
        "--count",
        str(count),
        *options,
    ]
    log_path = os.path.join(folder.folder("logs"), f"pool-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log")
    environment = {**os.environ, "QUEUECTL_POOL_LOG": log_path, "PYTHONUNBUFFERED": "1"}
    # The log names jobs and their commands, so it gets the mode of job files.
    with open(outputs.open_file(log_path, mode=folder.file_mode), "ab") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            close_fds=True,
            **_own_session(),  # type: ignore[call-overload]
        )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for pool in pools.live(folder):
            if pool.pid == process.pid or pool.log == log_path:
                slots = printing.count_of(count, "slot") if count else "the slots of its nodes"
                typer.echo(f"started {pool.pool} with {slots}; log: {log_path}")
                return
        if process.poll() is not None:
            if process.returncode == 0:
                typer.echo(f"the pool has ended: the queue is empty; log: {log_path}")
                return
            break
        time.sleep(_POLL_S)
    raise QueuectlError("the pool did not start", cause=_tail(log_path), hint=f"see {log_path}")


def _own_session() -> dict[str, object]:
    """Return the options of a process that outlives this terminal."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


def _tail(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().strip().splitlines()
        return lines[-1] if lines else ""
    return ""


@app.command(short_help="Stop all workers of the spool.")
def stop(
    wait: Annotated[bool, typer.Option("--wait", help="Wait for all running jobs, however long they take.")] = False,
    grace: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long running jobs may continue. Default: --grace of `worker start`."),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="End running jobs at once and put them back.")] = False,
    leave: Annotated[
        bool, typer.Option("--leave", help="Let commands on nodes go on; the next `worker start --cluster` has them.")
    ] = False,
) -> None:
    """Stop all workers of the spool.

    \b
    Examples:
      queuectl worker stop --wait
      queuectl worker stop --grace 5m
      queuectl worker stop --now
      queuectl worker stop --leave

    It works from any terminal and waits until the pools have ended. They start no more jobs. Running jobs may continue
    for the grace: `worker start --grace`, else the setting stop_grace_s. Jobs that take longer are ended and put back;
    the attempt does not count.

    A second stop can shorten the grace of the first, but not extend it. Ctrl-C ends only this command; the pools still
    stop.

    With --leave, commands on the nodes of a cluster go on, as for an upgrade of queuectl. The next
    `worker start --cluster` takes them over if it comes in time; the command says how long that is. Else the nodes end
    them, and they run again.
    """
    from queuectl.cli.terminal.progress import Progress
    from queuectl.spool import pools

    if wait + now + (grace is not None) > 1:
        raise WrongUsageError("--wait, --grace and --now cannot be combined", hint="give only one of them")
    if leave and now:
        raise WrongUsageError("--leave and --now cannot be combined", hint="give only one of them")
    grace_s = math.inf if wait else None if grace is None else duration(grace, "--grace")
    spool = context.open_dir()
    found = pools.live(spool)
    if not found:
        typer.echo("no workers are running")
        return
    if leave and not any(pool.cluster_slots for pool in found):
        raise WrongUsageError(
            "--leave: no pool has commands on nodes", hint="without --leave: running jobs get the grace of the pool"
        )
    asked = _Stop(spool, found, now, grace_s, leave)
    try:
        with Progress() as progress:
            asked.ask()
            for pool in found:
                asked.wait_for(pool, progress)
                progress.clear()
                _tell_end(pool, pools.take_summary(spool, pool.pool))
    except KeyboardInterrupt:
        printing.message("the pools still stop; to end their jobs too: queuectl worker stop --now")
        raise


class _Stop(NamedTuple):
    """A stop of some pools, and the wait for it."""

    spool: SpoolDir
    pools: list[PoolInfo]
    now: bool
    grace_s: float | None
    leaves: bool

    def ask(self) -> None:
        """Ask the pools that are still alive to stop."""
        from queuectl.spool import pools

        for pool in self.pools:
            if pools.is_live(self.spool, pool.pool):
                pools.request_stop(self.spool, pool.pool, now=self.now, grace_s=self.grace_s, leaves=self.leaves)

    def wait_for(self, pool: PoolInfo, progress: Progress) -> None:
        """Wait until a pool has ended. Raises SpoolUnavailableError if that takes much longer than its graces."""
        from queuectl.errors import SpoolUnavailableError
        from queuectl.spool import pools

        own_s = 0.0 if self.now else pool.grace_s if self.grace_s is None else self.grace_s
        deadline_s = own_s + pool.kill_grace_s + _STOP_MARGIN_S
        asked_s = 0.0
        while pools.is_live(self.spool, pool.pool):
            if progress.passed_s > deadline_s:
                raise SpoolUnavailableError(
                    f"pool {pool.pool} does not stop", hint=f"end its process {pool.pid} on {pool.host}"
                )
            if progress.passed_s - asked_s > _ASK_AGAIN_S:
                asked_s = progress.passed_s
                self.ask()
            progress.tell(lambda: _waited_for(self.spool, self.pools))
            time.sleep(_POLL_S)


def _waited_for(spool: SpoolDir, found: list[PoolInfo]) -> str:
    """Return a line with the pools and jobs that a stop waits for."""
    from queuectl.model.lifecycle import RUNNING
    from queuectl.spool import pools

    left = [pool for pool in found if pools.is_live(spool, pool.pool)]
    ids = [name.removesuffix(".json") for name in spool.job_names(RUNNING)]
    named = ", ".join(map(printing.safe, ids[:_NAMED])) + (
        f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    )
    running = f"{printing.count_of(len(ids), 'running job')}: {named}" if ids else "the end of their processes"
    return f"{printing.count_of(len(left), 'pool')} to stop, waiting for {running}"


def _tell_end(pool: PoolInfo, summary: StopSummary | None) -> None:
    slots = _slots_text(pool)
    if summary is None:
        typer.echo(f"stopped {pool.pool} ({slots})")
        return
    attempts = printing.count_of(summary.finished, "attempt")
    typer.echo(f"stopped {pool.pool} ({slots}) after {attempts}")
    for job_id in summary.released:
        typer.echo(f"interrupted {printing.safe(job_id)}: put back into the queue, the attempt does not count")
    if summary.left:
        go_on = "1 command goes on" if len(summary.left) == 1 else f"{len(summary.left)} commands go on"
        typer.echo(f"{go_on} on nodes; start the next pool within {summary.left_s:.0f} s: {_START_CLUSTER}")


def _slots_text(pool: PoolInfo) -> str:
    """Return the slots of a pool in words."""
    here = printing.count_of(pool.count, "slot")
    if not pool.cluster_slots:
        return here
    return f"up to {pool.cluster_slots} slots on nodes" + (f", {here} here" if pool.count else "")


app.command(short_help="Change how many jobs a running pool runs at once.")(worker_change.scale)
app.command("reload", short_help="Have running pools read the settings again.")(worker_change.reload)


@app.command("list", short_help="List the running pools, their workers and jobs.")
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
