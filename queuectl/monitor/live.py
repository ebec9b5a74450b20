"""Find the live pools of a spool, whether they know its settings, and how the last pool ended. Only looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from queuectl.monitor.rows import ClusterRow, EndedPool, PoolRow, RunRow, WorkerRow
from queuectl.spool.counts import DIED, Counts
from queuectl.spool.folder import SpoolDir
from queuectl.system import files

if TYPE_CHECKING:
    from queuectl.spool.pools import PoolInfo

# The clock of the file system may be a moment behind ours.
_CLOCKS_APART_S = 0.05


def pools(spool: SpoolDir) -> list[PoolInfo]:
    """Return the live pools. Imports nothing if no pool has left a trace."""
    if not spool.has_pool_traces():
        return []
    from queuectl.spool.pools import live  # brings portalocker

    return live(spool)


def rows(spool: SpoolDir, now_at: float) -> tuple[PoolRow, ...]:
    """Return rows of the live pools."""
    return tuple(_row(spool, each, now_at) for each in pools(spool))


def _row(spool: SpoolDir, pool: PoolInfo, now_at: float) -> PoolRow:
    led: dict[str, ClusterRow] = {}
    if pool.cluster_slots:
        from queuectl.monitor import nodes  # only for pools that lead a cluster

        led = {name: nodes.row(name, board, now_at) for name, board in nodes.boards(spool, pool).items()}
    return PoolRow(
        pool.pool,
        pool.host,
        pool.pid,
        pool.count + sum(cluster.slots for cluster in led.values()),
        pool.started_at,
        pool.settings_at,
        pool.held,
        pool.queues,
        tuple(
            WorkerRow(row.name, row.pid, led[row.name].slots if row.name in led else row.slots, 0, row.is_ending)
            for row in pool.workers
        ),
        pool.version,
        tuple(led.values()),
    )


def with_use(found: Sequence[PoolRow], runs: Sequence[RunRow]) -> tuple[PoolRow, ...]:
    """Return the rows of pools with the number of slots that these runs use."""
    used = Counter(run.worker for run in runs)
    used.update({cluster.worker: cluster.used - used[cluster.worker] for pool in found for cluster in pool.clusters})
    return tuple(
        pool._replace(processes=tuple(row._replace(used=used[row.name]) for row in pool.processes)) for pool in found
    )


def ended_pool(spool: SpoolDir, found: Sequence[PoolRow], known: Counts | None) -> EndedPool | None:
    """Return how the last pool ended, or None while one lives, or if that is unknown.

    A pool that was killed leaves its record, until the next pool starts. A pool that ended says how in the counts.
    """
    if found:
        return None
    ended = known.ended if known is not None else None
    left = {name.removesuffix(".json") for name in spool.names(spool.pool_dir) if name.endswith(".json")}
    if ended is not None:
        left.discard(ended.pool)
    if left:
        from queuectl.spool.pools import is_live  # brings portalocker

        # One that is alive has started since `found` was listed.
        return None if any(is_live(spool, pool) for pool in left) else EndedPool(DIED, None)
    return None if ended is None else EndedPool(ended.how, ended.at)


def settings_changed(spool: SpoolDir, found: Sequence[PoolRow]) -> bool:
    """Return whether one of these pools uses older settings: the file changed, or it holds some back."""
    if not found:
        return False
    sig = files.sig_of(spool.settings_path)
    changed_at = 0.0 if sig is None else sig.mtime_ns / 1e9
    return any(pool.held or changed_at > pool.settings_at + _CLOCKS_APART_S for pool in found)


def other_versions(versions: Iterable[str]) -> str:
    """Return the versions of live pools in words if they differ, or "". Texts of pools' records are not safe."""
    found = sorted(set(versions))
    return ", ".join(each or "an older version" for each in found) if len(found) > 1 else ""
