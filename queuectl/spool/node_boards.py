"""The boards of nodes: what the worker of a cluster last knew of its nodes (FORMAT.md, section 11).

One small file per worker, .queuectl/engine/SESSION.nodes. It is only for display: no decision depends on it, foreign
content is ignored, and anyone may delete it.
"""

from __future__ import annotations

import contextlib
import math
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from queuectl.spool.folder import SpoolDir
from queuectl.system import boot, disk, files, sharing

ROWS = 500
MAX_BYTES = 256 * 1024
# A node that answered within this time is there: a beat takes 2 s.
QUIET_S = 5.0
_Count = Annotated[int, Meta(ge=0, le=2**40)]
_Second = Annotated[float, Meta(ge=0, le=2**40)]


class NodeRow(NamedTuple):
    """A node, as a worker last knew it. Instants are by `boot.uptime_s`."""

    node: str
    address: str = ""
    slots: _Count = 0
    free: _Count = 0
    """Slots that anybody may use."""
    used: _Count = 0
    """Commands of this worker that live there."""
    resources: dict[str, float] = {}  # noqa: RUF012 - never changed
    heard_s: _Second | None = None
    """When it answered last; None: never."""
    until_s: _Second | None = None
    """When commands there end for certain if no further message arrives; None: there can be none."""
    gone_s: _Second | None = None
    """Since when the carrier does not know it; None if it does."""
    is_draining: bool = False
    why: str = ""
    """Why it gets no commands, or ""."""


class NodeBoard(msgspec.Struct, frozen=True):
    """What one worker knows of its nodes."""

    boot: str
    written_s: _Second
    scheduler: str
    most: _Count
    """The most commands that it runs at once."""
    margin_s: float = 3.0
    """How long after the end of a node's lease its commands count as dead."""
    lost: str = ""
    """Why no node can be reached, or ""."""
    lost_since_s: _Second | None = None
    nodes: tuple[NodeRow, ...] = ()
    left_out: _Count = 0

    @property
    def used(self) -> int:
        """How many commands of the worker live on nodes."""
        return sum(row.used for row in self.nodes)

    @property
    def slots(self) -> int:
        """How many commands the nodes that are there can run for this worker: at least those that they run."""
        there = sum(row.slots for row in self.nodes if row.gone_s is None and not row.is_draining and not row.why)
        return max(self.used, min(self.most, there))


def read(spool: SpoolDir, session: str) -> NodeBoard | None:
    """Return the board of a worker; None if there is none of this boot, or if it cannot be read."""
    try:
        content = files.read(spool.node_board_path(session), MAX_BYTES, patience_s=sharing.GLANCE_S)
    except OSError:
        return None
    try:
        found = msgspec.json.decode(content.data, type=NodeBoard)
    except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: not UTF-8
        return None
    return found if found.boot == boot.boot_id() else None


def write(spool: SpoolDir, session: str, board: NodeBoard) -> None:
    """Replace the board of a worker in one step. Raises OSError."""
    data = msgspec.json.encode(board) + b"\n"
    spool.replace_file(spool.node_board_path(session), data, hint="nodes", sync=False, mode=disk.FILE_MODE)


def remove(spool: SpoolDir, session: str) -> None:
    """Delete the board of a worker."""
    with contextlib.suppress(OSError):
        disk.unlink(spool.node_board_path(session))


def second(value: float) -> float | None:
    """Return an instant as a board has it: None for one that never comes or never was."""
    return round(max(0.0, value), 3) if math.isfinite(value) else None
