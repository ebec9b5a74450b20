"""`queuectl worker start|stop|list`: start, stop and list pools."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from queuectl.cli import completion, context, group
from queuectl.cli.commands import worker_change, worker_list, worker_stop
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.rows import duration
from queuectl.cli.start_words import Wanted
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError
from queuectl.model import names

if TYPE_CHECKING:
    from queuectl.spool.folder import SpoolDir

app = group.new_app(
    help="Start, stop and list workers.\n\nExample: queuectl worker start --count 2\n\n"
    "A worker is a process that runs jobs in its slots, one in each. `worker start` starts a pool of workers.",
    no_args_is_help=True,
)

# `--detach` looks this often whether the pool runs.
_POLL_S = 0.05


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
    wanted = Wanted(count, drain, max_jobs, grace_s, queues, cluster, slots, log_format == "json")
    if detach:
        _detach(wanted)
        return
    from queuectl.cli import pool_start

    pool_start.run(wanted)


def _detach(wanted: Wanted) -> None:
    """Start the same command as a background process and wait until its pool runs."""
    from queuectl.cli.pool_start import warn
    from queuectl.pool import preflight

    folder, settings = context.open_with_settings()
    preflight.check(folder, settings, warn)
    typed = ["--drain"] if wanted.drain else []
    typed += ["--max-jobs", str(wanted.max_jobs)] if wanted.max_jobs is not None else []
    typed += ["--grace", f"{wanted.grace_s:.3f}"] if wanted.grace_s is not None else []
    typed += ["--queue", ",".join(wanted.queues)] if wanted.queues else []
    count = wanted.slots
    if wanted.is_cluster:
        preflight.check_cluster(folder, settings)
        typed += ["--cluster", "--slots", str(wanted.cluster_slots or settings.cluster_slots)]
        count = count or 0
    _start_apart(folder, 1 if count is None else count, typed)


def _start_apart(folder: SpoolDir, count: int, options: list[str]) -> None:
    """Start a pool as a background process and wait until it runs."""
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


app.command(short_help="Stop all workers of the spool.")(worker_stop.stop)
app.command(short_help="Change how many jobs a running pool runs at once.")(worker_change.scale)
app.command("reload", short_help="Have running pools read the settings again.")(worker_change.reload)
app.command("list", short_help="List the running pools, their workers and jobs.")(worker_list.list_)
