"""The lines above the groups of `queuectl top`: the spool, how the queue is doing, and what to do about it."""

from __future__ import annotations

import re
import textwrap

from rich.text import Text

from queuectl.cli.terminal.printing import safe
from queuectl.model.lifecycle import PENDING, RUNNING
from queuectl.monitor import nodes
from queuectl.monitor.headline import headline
from queuectl.monitor.rows import ClusterRow
from queuectl.monitor.snapshot import Snapshot

_HEADLINE_LINES = 3


def head(found: Snapshot, *, columns: int, clock: str) -> list[Text]:
    """Return the lines above the groups: the spool, how the queue is doing, and what to do about it."""
    path = Text.assemble(("queuectl top", "bold"), "  ", safe(found.path))
    room = max(0, columns - len(clock) - 1)
    path.truncate(room, overflow="ellipsis", pad=True)
    lines = [Text.assemble(path, " ", clock)]
    is_stuck = found.paused is not None or (not found.pools and found.counts[PENDING] + found.counts[RUNNING] > 0)
    style = "bold yellow" if is_stuck else "bold"
    lines += [Text(line, style) for line in _folded(safe(headline(found)), max(1, columns))[:_HEADLINE_LINES]]
    if found.paused is not None:
        lines.append(Text("p resumes the spool", "yellow"))
    elif is_stuck:
        lines.append(Text("To start workers: queuectl worker start", "yellow"))
    lines += [Text(f"Cluster {nodes.sentence(row, found.taken_at)}", _color(row)) for row in found.clusters]
    if found.settings_changed:
        lines.append(Text("Settings changed; to apply: queuectl worker reload", "yellow"))
    for line in lines:
        line.truncate(columns, overflow="ellipsis")
    return lines


def _color(row: ClusterRow) -> str:
    return "yellow" if row.lost or row.is_silent or not row.there else ""


def _folded(sentence: str, columns: int) -> list[str]:
    """Return a sentence as lines that end after a comma; only a part that is too long is broken between words."""
    lines = [""]
    for part in re.findall(r".+?(?:, |$)", sentence):
        if lines[-1] and len((lines[-1] + part).rstrip()) > columns:
            lines.append("")
        lines[-1] += part
    return [short for line in lines for short in textwrap.wrap(line, columns) or [""]]
