"""`queuectl worker scale|reload`: change pools while they run. (`worker` registers these commands.)"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from queuectl.cli import context
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError

if TYPE_CHECKING:
    from queuectl.spool.folder import SpoolDir
    from queuectl.spool.pools import PoolInfo

_POLL_S, _ASK_AGAIN_S = 0.05, 1.0
# A pool looks for requests five times a second.
_ADJUSTED_WITHIN_S = 30.0


def scale(
    slots: Annotated[int, typer.Argument(metavar="N", min=1, max=10_000, help="Number of slots, at most 256 here.")],
    pool: Annotated[
        str, typer.Option("--pool", metavar="POOL", help="The pool, if several are running: see `worker list`.")
    ] = "",
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Change the slots on nodes, `worker start --slots`, not those here.")
    ] = False,
) -> None:
    """Change how many jobs a running pool runs at once.

    \b
    Examples:
      queuectl worker scale 8
      queuectl worker scale --cluster 400

    Running jobs continue. With fewer slots, a slot that is no longer wanted ends after its job.
    """
    from queuectl.cli.terminal.progress import Progress
    from queuectl.errors import SpoolUnavailableError
    from queuectl.spool import pools

    spool = context.open_dir()
    info = _one_pool(spool, pool)
    if slots > pools.SLOTS_AT_MOST and not cluster:
        raise WrongUsageError(f"{slots} slots: at most {pools.SLOTS_AT_MOST} are possible on one machine")
    if cluster and not info.cluster_slots:
        raise WrongUsageError(f"pool {info.pool} runs nothing on nodes", hint="queuectl worker start --cluster")
    with Progress() as progress:
        asked_s = -_ASK_AGAIN_S
        while (now := next((each for each in pools.live(spool) if each.pool == info.pool), None)) is not None:
            if (now.cluster_slots if cluster else now.count) == slots:
                break
            if progress.passed_s > _ADJUSTED_WITHIN_S:
                raise SpoolUnavailableError(f"pool {info.pool} does not react", hint=f"its process is {info.pid}")
            if progress.passed_s - asked_s >= _ASK_AGAIN_S:  # two requests at the same instant: one may be lost
                asked_s = progress.passed_s
                pools.request_scale(spool, info.pool, slots, is_cluster=cluster)
            time.sleep(_POLL_S)
    if now is None:
        raise QueuectlError(f"pool {info.pool} has ended meanwhile", hint="queuectl worker start")
    if cluster:
        typer.echo(f"{info.pool} has up to {printing.count_of(slots, 'slot')} on nodes")
        return
    processes = printing.count_of(now.processes, "worker process", "worker processes")
    typer.echo(f"{info.pool} has {printing.count_of(slots, 'slot')} in {processes}")


def reload() -> None:
    """Have running pools read the settings again.

    Example: queuectl worker reload

    The next attempts use the new values; running jobs continue with the old ones. Settings that the pool itself uses
    take effect at its next start; they are listed.
    """
    from queuectl.cli.terminal.progress import Progress
    from queuectl.errors import SpoolUnavailableError
    from queuectl.spool import pools, settings_file

    spool = context.open_dir()
    settings_file.load(spool)
    asked = pools.live(spool)
    if not asked:
        raise QueuectlError("no workers are running", hint="queuectl worker start --count 2")
    for pool in asked:
        pools.request_reload(spool, pool.pool)
    with Progress() as progress:
        while any(pools.is_live(spool, pool.pool) and pools.is_reload_waiting(spool, pool.pool) for pool in asked):
            if progress.passed_s > _ADJUSTED_WITHIN_S:
                raise SpoolUnavailableError("a pool does not react", hint="queuectl worker list names its process")
            time.sleep(_POLL_S)
    for pool in pools.live(spool):
        later = f"; in use from its next start: {', '.join(pool.held)}" if pool.held else ""
        typer.echo(f"{pool.pool} has read the settings{later}")


def _one_pool(spool: SpoolDir, name: str) -> PoolInfo:
    """Return the live pool of this name; without a name the only one."""
    from queuectl.spool import pools

    found = [each for each in pools.live(spool) if name in ("", each.pool)]
    if not found:
        what = f"no pool {printing.safe(name)} is running" if name else "no workers are running"
        raise QueuectlError(what, hint="queuectl worker list" if name else "queuectl worker start --count 2")
    if len(found) > 1:
        names = ", ".join(each.pool for each in found)
        raise WrongUsageError(f"several pools are running: {names}", hint="choose one with --pool")
    return found[0]
