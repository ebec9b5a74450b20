"""Writes the board of nodes of one worker, for people (`spool.node_boards`): at most once a second, and no decision."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping

from queuectl.cluster.carrier import Node
from queuectl.cluster.link import Link
from queuectl.spool import node_boards
from queuectl.spool.folder import SpoolDir
from queuectl.spool.node_boards import NodeBoard, NodeRow
from queuectl.system import boot

_EVERY_S = 1.0
_FORGOTTEN_AFTER_S = 3600.0
_TEXT_CHARS, _RESOURCES = 200, 20
# With more nodes than this, those that are gone are forgotten at once.
_MOST_ROWS = 4 * node_boards.ROWS


class Board:
    """The board of one worker. `most`: how many commands it runs at once, at most."""

    def __init__(self, spool: SpoolDir, session: str, scheduler: str, *, margin_s: float) -> None:
        self._spool = spool
        self._session = session
        self._scheduler = scheduler
        self._margin_s = margin_s
        self.most = 0
        self._next_s = -math.inf
        self._rows: dict[str, NodeRow] = {}
        self._lost = ""
        self._lost_since_s = 0.0
        self._written: NodeBoard | None = None

    def step(self, now_s: float, nodes: Mapping[str, Node], links: Collection[Link], lost: str) -> float:
        """Write the board if something has changed; return in how many seconds the next step is due.

        Trouble with the disk costs the board alone.
        """
        if now_s < self._next_s:
            return self._next_s - now_s
        self._next_s = now_s + _EVERY_S
        if lost != self._lost:
            self._lost_since_s = self._lost_since_s if self._lost and lost else now_s
            self._lost = lost
        self._look(now_s, nodes, links)
        rows = sorted(self._rows.values(), key=lambda row: (row.gone_s is not None, row.node))
        made = NodeBoard(
            boot.boot_id(),
            0.0,
            self._scheduler,
            self.most,
            self._margin_s,
            self._lost[:_TEXT_CHARS],
            node_boards.second(self._lost_since_s) if self._lost else None,
            tuple(rows[: node_boards.ROWS]),
            max(0, len(rows) - node_boards.ROWS),
        )
        if made == self._written:
            return math.inf
        with contextlib.suppress(OSError):
            stamped = NodeBoard(**{**{key: getattr(made, key) for key in made.__struct_fields__}, "written_s": now_s})
            node_boards.write(self._spool, self._session, stamped)
            self._written = made
        return _EVERY_S

    def _look(self, now_s: float, nodes: Mapping[str, Node], links: Collection[Link]) -> None:
        by_node: dict[str, list[Link]] = {}
        for link in links:
            by_node.setdefault(link.node, []).append(link)
        for name in {*self._rows, *nodes, *by_node}:
            before = self._rows.get(name[:_TEXT_CHARS], NodeRow(name[:_TEXT_CHARS]))
            found = nodes.get(name)
            gone_s = None if found is not None else before.gone_s or node_boards.second(now_s)
            used, until_s = _use(by_node.get(name, ()))
            row = before._replace(gone_s=gone_s, used=used, until_s=until_s)
            if found is not None:
                row = row._replace(address=found.address[:_TEXT_CHARS])
            if gone_s is not None and now_s - gone_s > _FORGOTTEN_AFTER_S and not used:
                self._rows.pop(row.node, None)
                continue
            if gone_s is not None and not used and len(self._rows) >= _MOST_ROWS:
                self._rows.pop(row.node, None)
                continue
            own = next((each for each in by_node.get(name, ()) if each.session == self._session), None)
            self._rows[row.node] = row if own is None else _with_link(row, own)

    def remove(self) -> None:
        """Delete the board, because its worker ends."""
        node_boards.remove(self._spool, self._session)


def _use(links: Collection[Link]) -> tuple[int, float | None]:
    """Return how many commands live on a node, and when they end without another word."""
    used = sum(each.outcome is None for link in links for each in link.commands.values())
    busy = [link.lease.bound_s for link in links if link.commands] or [link.lease.bound_s for link in links]
    return used, node_boards.second(min(busy, default=-math.inf))


def _with_link(row: NodeRow, link: Link) -> NodeRow:
    """Return a row with what the node has said of itself."""
    row = row._replace(
        heard_s=node_boards.second(link.health.heard_s),
        is_draining=link.health.is_draining,
        why=link.health.trouble[:_TEXT_CHARS],
    )
    if (said := link.health.said) is None:
        return row
    resources = {name[:_TEXT_CHARS]: amount for name, amount in list(said.resources.items())[:_RESOURCES]}
    return row._replace(slots=said.slots, free=link.health.free, resources=resources)
