"""The pools that work on a spool now, and whether they know its settings. Only looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from queuectl.monitor.rows import PoolRow
from queuectl.spool.folder import SpoolDir
from queuectl.system import files

if TYPE_CHECKING:
    from queuectl.spool.pools import PoolInfo

_CLOCKS_APART_S = 1.0


def pools(spool: SpoolDir) -> list[PoolInfo]:
    """Return the live pools; nothing is imported if no pool has left a trace."""
    if not spool.has_pool_traces():
        return []
    from queuectl.spool.pools import live  # brings portalocker

    return live(spool)


def rows(spool: SpoolDir) -> tuple[PoolRow, ...]:
    """Return the live pools as they are shown."""
    return tuple(PoolRow(each.pool, each.host, each.pid, each.count, each.started_at) for each in pools(spool))


def settings_changed(spool: SpoolDir, found: Sequence[PoolRow]) -> bool:
    """Whether the settings file changed after one of these pools had read it."""
    if not found:
        return False
    sig = files.sig_of(spool.settings_path)
    # The clock of the file system may be a moment behind ours.
    return sig is not None and any(sig.mtime_ns / 1e9 > pool.started_at + _CLOCKS_APART_S for pool in found)
