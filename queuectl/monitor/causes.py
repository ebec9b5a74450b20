"""Group dead jobs by cause: the same error of the same program with the same last line of output. Computes only.

The last line counts only if the command has an exit code: after a timeout it shows what the command was doing, not why
it failed. If the failures of a program have many different last lines, they are one cause.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from queuectl.model import exit_status
from queuectl.monitor.rows import CauseRow, FailureRow
from queuectl.monitor.shapes import program_of, shape_of

# Rows, and ids in each, at most.
CAUSES = 20
IDS = 5
# Why a job is not tried again (`lifecycle.decide`) is not why it failed.
_DECISION = re.compile(
    r"(?:^|; )(?:\d+ (?:attempt|run)s?, retries used up|(?:exit code -?\d+ is )?not (?:to be )?retried)$"
)
# An error of one program with more different last lines than this is one cause.
_LINES = 5
_CHARS = 200


class Dead(NamedTuple):
    """A dead job. `exit_code` (None: it has none) and `reason` are those of its last run, as they are on record."""

    row: FailureRow
    exit_code: int | None
    reason: str


class _Key(NamedTuple):
    """What jobs of one cause have in common; texts are shapes."""

    exit_code: int | None
    error: str
    program: str
    line: str


def collect(found: Iterable[Dead]) -> tuple[CauseRow, ...]:
    """Return the causes of dead jobs (newest first), most frequent first."""
    by_key: defaultdict[_Key, list[Dead]] = defaultdict(list)
    for dead in found:
        by_key[_key(dead)].append(dead)
    lines: defaultdict[_Key, list[_Key]] = defaultdict(list)
    for key in by_key:
        lines[key._replace(line="")].append(key)
    groups: list[tuple[list[Dead], bool]] = []
    for keys in lines.values():
        if len(keys) > _LINES:
            together = [dead for key in keys for dead in by_key[key]]
            groups.append((sorted(together, key=lambda dead: -(dead.row.ended_at or 0)), False))
        else:
            groups += [(by_key[key], bool(key.line)) for key in keys]
    rows = [_row(group, has_line) for group, has_line in groups]
    return tuple(sorted(rows, key=lambda row: (-row.jobs, -(row.newest_at or 0)))[:CAUSES])


def _key(dead: Dead) -> _Key:
    program = program_of(dead.row.command)
    return _Key(dead.exit_code, shape_of(_error(dead)), program, shape_of(_last_line(dead)))


def _error(dead: Dead) -> str:
    """Return how the last run failed, without its exit code."""
    error = _DECISION.sub("", dead.reason)
    return error if error or dead.exit_code is not None else dead.row.error


def _last_line(dead: Dead) -> str:
    return dead.row.output[-1].strip() if dead.exit_code is not None and dead.row.output else ""


def _row(group: Sequence[Dead], has_line: bool) -> CauseRow:
    newest = group[0].row
    times = [dead.row.ended_at for dead in group if dead.row.ended_at is not None]
    return CauseRow(
        cause=_cause(group, has_line),
        jobs=len(group),
        newest_at=max(times, default=None),
        oldest_at=min(times, default=None),
        ids=tuple(dead.row.id for dead in group[:IDS]),
        command=newest.command,
        output=newest.output,
        record=newest.record,
        log=newest.log,
        text=newest.text,
    )


def _cause(group: Sequence[Dead], has_line: bool) -> str:
    """Return the error and the last line: as they are if all have the same, else with gaps."""
    code = group[0].exit_code
    parts = ["" if code is None else f"exit {exit_status.text(code)}", _common([_error(dead) for dead in group])]
    if has_line:
        parts.append(_common([_last_line(dead) for dead in group]))
    return ": ".join(filter(None, parts))[:_CHARS]


def _common(texts: Sequence[str]) -> str:
    """Return a text as it is if all are the same, else its shape."""
    return texts[0] if len(set(texts)) == 1 else shape_of(texts[0])
