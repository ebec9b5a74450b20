"""Explain what a job on a cluster waits for, or what happens to one that runs on a node. Only looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from queuectl.errors import QueuectlError
from queuectl.model import needs
from queuectl.model.history import Event
from queuectl.model.lifecycle import RUNNING
from queuectl.model.text import safe
from queuectl.monitor import nodes
from queuectl.monitor.reason import Reason
from queuectl.spool import lookup
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.spool.node_boards import QUIET_S, NodeBoard, NodeRow
from queuectl.spool.session import Session
from queuectl.system import boot

if TYPE_CHECKING:
    from queuectl.spool.pools import PoolInfo

_NAMED = 3


def boards(spool: SpoolDir, pools: Sequence[PoolInfo]) -> list[NodeBoard]:
    """Return what the workers of these pools know of their nodes."""
    return [board for pool in pools for board in nodes.boards(spool, pool).values()]


def no_places(found: Sequence[NodeBoard]) -> Reason:
    """Return why no node can take a job, if pools lead a cluster and have no slot there."""
    if not found:
        return Reason("no_node", "the pool has just started, and looks for nodes", "queuectl cluster list")
    board, now_s = found[0], boot.uptime_s()
    if board.lost:
        since = "" if board.lost_since_s is None else f" for {nodes.span(now_s - board.lost_since_s)}"
        text = f"no way to the scheduler {safe(board.scheduler)}{since}: {safe(board.lost)}"
        change = "start it: queuectl cluster scheduler --help; to check: queuectl doctor"
        if "certificate" in board.lost or "TLS" in board.lost:
            change = "use the keys of this cluster: queuectl config set cluster.keys FOLDER, then restart the workers"
        return Reason("no_scheduler", text, change)
    there = [row for row in board.nodes if row.gone_s is None]
    if not there:
        text = f"no node is connected to {safe(board.scheduler)}{_gone(board.nodes, now_s)}"
        return Reason(
            "no_node", text, f"on another machine: queuectl cluster node {safe(board.scheduler)} --keys FOLDER"
        )
    text = f"no node takes jobs now: {'; '.join(_why_not(row, now_s) for row in there[:_NAMED])}"
    more = f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
    draining = [row for row in there if row.is_draining]
    change = f"queuectl cluster resume {safe(draining[0].node)}" if draining else "queuectl doctor"
    return Reason("no_node", text + more, change)


def taken_by_others(found: Sequence[NodeBoard]) -> Reason | None:
    """Return that others use the slots of the nodes which this spool does not, or None."""
    there = [row for board in found for row in board.nodes if row.gone_s is None and not row.is_draining]
    used, slots = sum(row.used for row in there), sum(row.slots for row in there)
    if not there or any(row.free for row in there) or used >= slots:
        return None
    text = f"all {slots} slots of the nodes are busy, {slots - used} of them with jobs of other spools"
    return Reason("nodes_busy", text, "start more nodes: queuectl cluster node --help")


def lacking(session: Session, found: Located, pools: Sequence[PoolInfo], known: Sequence[NodeBoard]) -> Reason | None:
    """Return which resources of a waiting job no node has, or has free; None if it needs none or one has them."""
    try:
        wanted = lookup.load(session, found.state, found.name).spec.get(needs.KEY)
    except (OSError, QueuectlError):
        return None
    if not isinstance(wanted, dict) or not wanted:
        return None
    words = safe(needs.words(wanted))
    if pools and not known:
        return Reason("no_resources", f"it needs {words}, which only nodes have", "queuectl worker start --cluster")
    rows = [row for board in known for row in board.nodes]
    if not rows:
        return None  # there is no node at all, which is a reason of its own
    able = [row for row in rows if all(row.resources.get(name, 0.0) >= amount for name, amount in wanted.items())]
    there = [row for row in able if row.gone_s is None]
    if not there:
        now_s = boot.uptime_s()
        had = f" ({safe(able[0].node)} had, gone for {nodes.span(now_s - (able[0].gone_s or now_s))})" if able else ""
        option = " ".join(f"--resource {safe(name)}={needs.exact(amount)}" for name, amount in sorted(wanted.items()))
        return Reason("no_resources", f"no node offers {words}{had}", f"queuectl cluster node SCHEDULER {option}")
    if not any(row.free and not row.used for row in there):
        where = ", ".join(safe(row.node) for row in there[:_NAMED])
        return Reason("resources", f"it needs {words}; nodes that offer it run other jobs: {where}", "")
    return None


def running(spool: SpoolDir, pools: Sequence[PoolInfo], job_id: str, start: Event, since: str) -> Reason | None:
    """Explain a run on a node; None if nobody here speaks to the node, and its stamp does not protect it either."""
    node, now_s = safe(start.node), boot.uptime_s()
    for board in boards(spool, pools):
        row = next((each for each in board.nodes if each.node == start.node), None)
        if row is not None:
            return _on(board, row, job_id, start, since, now_s)
    from queuectl.spool import lease, stamps  # brings portalocker

    stamp = stamps.read(spool, stamps.session_of(start.lease))
    if stamp is None or lease.is_locked(spool, start.lease):
        return None
    text = (
        f"its worker {safe(start.worker)} is gone, and its command goes on on node {node} until the next pool has it; "
        f"without one it ends there within {nodes.span(stamp.left_s())} and runs again"
    )
    return Reason("left", text, "queuectl worker start --cluster")


def _on(board: NodeBoard, row: NodeRow, job_id: str, start: Event, since: str, now_s: float) -> Reason:
    node = safe(start.node)
    quiet_s = now_s - (row.heard_s or now_s)
    if row.gone_s is None and quiet_s <= QUIET_S:
        text = f"it is running on node {node}: attempt {start.attempt}{since}, by {safe(start.worker)}"
        return Reason(RUNNING, text, f"queuectl logs -f {job_id}")
    left_s = max(0.0, (row.until_s or now_s) + board.margin_s - now_s)
    text = (
        f"it is running on node {node}, cut off for {nodes.span(quiet_s)}: attempt {start.attempt}{since}; if the node "
        f"does not answer, it is ended there and given up in {nodes.span(left_s)} at the latest"
    )
    why = f" ({safe(board.lost)})" if board.lost else ""
    return Reason("cut_off", text + why, "bring the node or the network back: queuectl cluster list")


def _why_not(row: NodeRow, now_s: float) -> str:
    if row.why:
        why = safe(row.why)
    elif row.is_draining:
        why = "draining"
    elif row.heard_s is None:
        why = "no answer yet"
    else:
        why = f"no answer for {nodes.span(now_s - row.heard_s)}"
    return f"{safe(row.node)}: {why}"


def _gone(rows: Sequence[NodeRow], now_s: float) -> str:
    """Return which node left last, in parentheses."""
    gone = [row for row in rows if row.gone_s is not None]
    if not gone:
        return ""
    last = max(gone, key=lambda row: row.gone_s or 0.0)
    return f" ({safe(last.node)} has been gone for {nodes.span(now_s - (last.gone_s or now_s))})"
