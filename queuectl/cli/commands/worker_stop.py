"""`queuectl worker stop`: stop pools and wait for their ends. (`worker` registers this command.)"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from queuectl.cli import context
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.rows import duration
from queuectl.cli.terminal import printing

if TYPE_CHECKING:
    from queuectl.cli.terminal.progress import Progress
    from queuectl.spool.folder import SpoolDir
    from queuectl.spool.pools import PoolInfo, StopSummary

# `worker stop` checks this often whether the pools have ended, and asks them again this often (`pools.request_stop`).
_POLL_S, _ASK_AGAIN_S = 0.05, 1.0
_START_CLUSTER = "queuectl worker start --cluster"
# The number of jobs to name while a stop waits for them.
_NAMED = 3
# A stop that takes longer than this, beyond the graces of the pool, has failed.
_STOP_MARGIN_S = 20.0


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
