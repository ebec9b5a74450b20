"""The nodes of the clusters that live pools lead, as their workers last knew them, and a sentence about each cluster.

Only looks. The facts are from the boards of the workers (FORMAT.md, section 11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl.model.text import safe
from queuectl.monitor.rows import ClusterRow, NodeStateRow
from queuectl.spool import node_boards
from queuectl.spool.folder import SpoolDir
from queuectl.spool.node_boards import NodeBoard, NodeRow
from queuectl.system import boot

if TYPE_CHECKING:
    from queuectl.spool.pools import PoolInfo

_ROWS = 200
# Nodes end commands this long before their lease is over (`cluster.lease_model`).
_TERM_BEFORE_S = 5.0


def boards(spool: SpoolDir, pool: PoolInfo) -> dict[str, NodeBoard]:
    """Return the boards of a pool's workers by the worker's name; of most pools none, without a look."""
    if not pool.cluster_slots:
        return {}
    found = {row.name: node_boards.read(spool, row.name) for row in pool.workers}
    return {name: board for name, board in found.items() if board is not None}


def row(worker: str, board: NodeBoard, now_at: float) -> ClusterRow:
    """Return the row of a cluster."""
    since_boot = now_at - boot.uptime_s()
    nodes = tuple(_node(each, since_boot, now_at) for each in board.nodes[:_ROWS])
    there = [each for each in nodes if each.gone_at is None]
    return ClusterRow(
        worker,
        board.scheduler,
        len(there),
        board.slots,
        board.used,
        max((each.heard_at for each in nodes if each.heard_at is not None), default=None),
        min((each.ends_at for each in nodes if each.used and each.ends_at is not None), default=None),
        bool(there) and all(each.is_silent for each in there),
        board.lost,
        None if board.lost_since_s is None else since_boot + board.lost_since_s,
        nodes,
    )


def _node(found: NodeRow, since_boot: float, now_at: float) -> NodeStateRow:
    def at(second: float | None) -> float | None:
        return None if second is None else since_boot + second

    heard_at, until_at = at(found.heard_s), at(found.until_s)
    return NodeStateRow(
        found.node,
        found.slots,
        found.used,
        found.resources,
        heard_at,
        None if until_at is None else until_at - _TERM_BEFORE_S,
        at(found.gone_s),
        heard_at is None or now_at - heard_at > node_boards.QUIET_S,
        found.is_draining,
        found.why,
    )


def sentence(found: ClusterRow, now_at: float) -> str:
    """Return how a cluster is doing: `tls://head:8786: 3 nodes, 41 of 48 slots, beat 0.4 s ago`."""
    where = safe(found.scheduler)
    ends = "" if found.ends_at is None or not found.used else f", {_ends(found.used, found.ends_at, now_at)}"
    if found.lost:
        since = "" if found.lost_at is None else f" for {span(now_at - found.lost_at)}"
        return f"{where}: no way to it{since} ({safe(found.lost)}){ends}"
    nodes = "no node" if not found.there else "1 node" if found.there == 1 else f"{found.there} nodes"
    text = f"{where}: {nodes}, {found.used} of {found.slots} slots"
    if found.is_silent and found.heard_at is not None:
        return f"{text}, no answer for {span(now_at - found.heard_at)}{ends}"
    if found.there and found.heard_at is not None:
        return f"{text}, beat {max(0.0, now_at - found.heard_at):.1f} s ago"
    return text + (ends if not found.there else "")


def node_text(found: NodeStateRow, now_at: float, *, with_beat: bool = True) -> str:
    """Return how a node is doing: `3 of 16 slots, GPU=2, beat 0.4 s ago`."""
    parts = [f"{found.used} of {found.slots} slots"]
    parts += [f"{safe(name)}={amount:g}" for name, amount in sorted(found.resources.items())]
    if found.is_draining:
        parts.append("draining")
    if found.gone_at is not None:
        parts.append(f"gone for {span(now_at - found.gone_at)}")
    elif found.heard_at is None:
        parts.append("no answer yet")
    elif found.is_silent:
        parts.append(f"no answer for {span(now_at - found.heard_at)}")
    elif with_beat:
        parts.append(f"beat {max(0.0, now_at - found.heard_at):.1f} s ago")
    if found.used and found.ends_at is not None and (found.is_silent or found.gone_at is not None):
        parts.append(_ends(found.used, found.ends_at, now_at))
    if found.why:
        parts.append(f"gets no commands: {safe(found.why)}")
    return ", ".join(parts)


def is_well(found: NodeStateRow) -> bool:
    """Return whether nothing has to be said of a node, or it is gone and nothing of ours runs there."""
    return not found.why and (not found.used if found.gone_at is not None else not found.is_silent)


def _ends(used: int, ends_at: float, now_at: float) -> str:
    whose = "its command ends" if used == 1 else "its commands end"
    return f"{whose} in {span(ends_at - now_at)}" if ends_at > now_at else f"{whose} now"


def span(seconds: float) -> str:
    """Return a duration: `12 s`, `3 min`."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 120 else f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"
