"""`queuectl worker start|stop|list`: running pools and ending them."""

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

from queuectl.cli import context, group
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.rows import duration
from queuectl.cli.terminal import printing
from queuectl.model import times

if TYPE_CHECKING:
    from queuectl.cli.terminal.progress import Progress
    from queuectl.spool.folder import SpoolDir
    from queuectl.spool.pools import PoolInfo, StopSummary

app = group.new_app(
    help="Example: queuectl worker start --count 2\n\nStart, stop and list the workers that run jobs.",
    no_args_is_help=True,
)

# `worker stop` looks this often whether the pools are gone, and asks them again this often (see `pools.request_stop`).
_POLL_S, _ASK_AGAIN_S = 0.05, 1.0
# So many of the jobs that a stop waits for are named.
_NAMED = 3
# Beyond the graces of the pool a stop takes no longer than this, or something is wrong.
_STOP_MARGIN_S = 20.0


@app.command(short_help="Run the jobs of the spool.")
def start(
    count: Annotated[int, typer.Option("--count", "-c", metavar="N", min=1, max=256, help="Worker processes.")] = 1,
    drain: Annotated[
        bool, typer.Option("--drain", help="End when nothing is left, delayed jobs and retries included.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Give the prompt back; the pool goes on.")] = False,
    max_jobs: Annotated[
        int | None, typer.Option("--max-jobs", metavar="K", min=1, help="End after this many runs.")
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long jobs may go on after a stop. Default: the setting stop_grace_s."),
    ] = None,
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="FORM", help="text, or json for one JSON object a line.")
    ] = "text",
) -> None:
    """Example: queuectl worker start --count 2

    Run the jobs of the spool until Ctrl-C or `queuectl worker stop`. One line an event goes to standard output.
    Ctrl-C once lets running jobs end (for as long as --grace says); twice ends them now and puts them back.
    """
    if log_format not in ("text", "json"):
        raise typer.BadParameter("text or json", param_hint="--log-format")
    grace_s = None if grace is None else duration(grace, "--grace")
    spool = context.open_spool()
    if detach:
        from queuectl.pool import preflight

        preflight.check(spool.folder, spool.settings, _warn)
        typed = ["--drain"] if drain else []
        typed += ["--max-jobs", str(max_jobs)] if max_jobs is not None else []
        typed += ["--grace", f"{grace_s:.3f}"] if grace_s is not None else []
        _detach(spool.folder, count, typed)
        return
    from queuectl.cli.events import Printer
    from queuectl.pool.options import Options
    from queuectl.pool.run import run_pool

    printer = Printer(as_json=log_format == "json", workers=count, spool=spool.path)
    options = Options(workers=count, cwd=os.getcwd(), drain=drain, max_jobs=max_jobs)
    settings = spool.settings if grace_s is None else spool.settings._replace(stop_grace_s=grace_s)
    summary = run_pool(spool.folder, settings, options, printer.tell, warn=_warn)
    printer.end(summary)


def _warn(text: str) -> None:
    printing.remark(f"warning: {printing.safe(text)}")


def _detach(folder: SpoolDir, count: int, options: list[str]) -> None:
    """Start the same command as a process of its own and wait until its pool is there."""
    from queuectl.errors import QueuectlError
    from queuectl.spool import pools
    from queuectl.system import disk

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
    # It names jobs and what they run, so it is a file of jobs.
    with open(disk.open_output(log_path, mode=folder.file_mode), "ab") as log:
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
                typer.echo(f"started {pool.pool} with {count} worker{'s' * (count > 1)}; log: {log_path}")
                return
        if process.poll() is not None:
            if process.returncode == 0:
                typer.echo(f"ended already, nothing was left to do; log: {log_path}")
                return
            break
        time.sleep(_POLL_S)
    raise QueuectlError("the pool did not start", cause=_tail(log_path), hint=f"see {log_path}")


def _own_session() -> dict[str, object]:
    """Return what lets a process outlive this terminal."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


def _tail(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().strip().splitlines()
        return lines[-1] if lines else ""
    return ""


@app.command(short_help="Stop every pool of the spool, from any terminal.")
def stop(
    wait: Annotated[bool, typer.Option("--wait", help="Let all running jobs end, however long they take.")] = False,
    grace: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long running jobs may go on. Default: as the pool was told.")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait for running jobs: end them and put them back.")
    ] = False,
) -> None:
    """Example: queuectl worker stop --wait

    Stop every pool of this spool, from any terminal, and wait until they are gone. No pool starts another job.
    Running jobs may go on for the grace (`worker start --grace`, else the setting stop_grace_s); jobs that take longer
    are ended and put back uncounted. A second stop can shorten the first, and not prolong it. Ctrl-C ends only the
    waiting; the pools go on stopping. More examples:

    \b
    queuectl worker stop --grace 5m
    queuectl worker stop --now
    """
    from queuectl.cli.terminal.progress import Progress
    from queuectl.spool import pools

    if wait + now + (grace is not None) > 1:
        raise WrongUsageError("--wait, --grace and --now exclude each other", hint="leave all but one out")
    grace_s = math.inf if wait else None if grace is None else duration(grace, "--grace")
    spool = context.open_dir()
    found = pools.live(spool)
    if not found:
        typer.echo("no workers are running on this spool")
        return
    asked = _Stop(spool, found, now, grace_s)
    try:
        with Progress() as progress:
            asked.ask()
            for pool in found:
                asked.wait_for(pool, progress)
                progress.clear()
                _tell_end(pool, pools.take_summary(spool, pool.pool))
    except KeyboardInterrupt:
        printing.message("the pools go on stopping; to end their jobs too: queuectl worker stop --now")
        raise


class _Stop(NamedTuple):
    """A stop of some pools that is waited for."""

    spool: SpoolDir
    pools: list[PoolInfo]
    now: bool
    grace_s: float | None

    def ask(self) -> None:
        """Ask those that are still alive to stop."""
        from queuectl.spool import pools

        for pool in self.pools:
            if pools.is_live(self.spool, pool.pool):
                pools.request_stop(self.spool, pool.pool, now=self.now, grace_s=self.grace_s)

    def wait_for(self, pool: PoolInfo, progress: Progress) -> None:
        """Wait until a pool is gone. Raises SpoolUnavailableError if it takes much longer than it may."""
        from queuectl.errors import SpoolUnavailableError
        from queuectl.spool import pools

        own_s = 0.0 if self.now else pool.grace_s if self.grace_s is None else self.grace_s
        deadline_s = own_s + pool.kill_grace_s + _STOP_MARGIN_S
        asked_s = 0.0
        while pools.is_live(self.spool, pool.pool):
            if progress.passed_s > deadline_s:
                raise SpoolUnavailableError(
                    f"pool {pool.pool} does not stop", hint=f"it is process {pool.pid} on {pool.host}; end it there"
                )
            if progress.passed_s - asked_s > _ASK_AGAIN_S:
                asked_s = progress.passed_s
                self.ask()
            progress.tell(lambda: _waited_for(self.spool, self.pools))
            time.sleep(_POLL_S)


def _waited_for(spool: SpoolDir, found: list[PoolInfo]) -> str:
    """Return what a stop waits for, as a line."""
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
    workers = f"{pool.count} worker{'s' * (pool.count > 1)}"
    if summary is None:
        typer.echo(f"stopped {pool.pool} ({workers})")
        return
    typer.echo(f"stopped {pool.pool} ({workers}), which ran {summary.finished} job{'s' * (summary.finished != 1)}")
    for job_id in summary.released:
        typer.echo(f"cut off {printing.safe(job_id)}: put back to pending/, not counted")


@app.command("list", short_help="Show the pools that are alive and what they run.")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: queuectl worker list

    The pools that are alive on this spool, and what their workers run.
    """
    from queuectl.model.lifecycle import RUNNING
    from queuectl.spool import pools

    spool = context.open_anyway()
    found = pools.live(spool.folder)
    running = list(spool.jobs(RUNNING))
    if as_json:
        rows = [
            {
                "pool": pool.pool,
                "host": pool.host,
                "pid": pool.pid,
                "workers": pool.count,
                "started_at": times.to_text(pool.started_at),
                "cwd": pool.cwd,
                "log": pool.log,
                "running": [job.id for job in running if job.worker.startswith(pool.pool + "-")],
            }
            for pool in found
        ]
        typer.echo(json.dumps({"version": 1, "pools": rows}, indent=1))
        return
    if not found:
        printing.message("no workers are running on this spool; start some: queuectl worker start --count 2")
        return
    now = time.time()
    printing.table(
        ["POOL", "HOST", "PID", "WORKERS", "SINCE", "RUNNING"],
        [
            [
                pool.pool,
                pool.host,
                str(pool.pid),
                str(pool.count),
                printing.age(now - pool.started_at),
                " ".join(job.id for job in running if job.worker.startswith(pool.pool + "-")) or "-",
            ]
            for pool in found
        ],
    )
