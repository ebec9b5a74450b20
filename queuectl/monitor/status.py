"""Collect what `queuectl status` shows: a snapshot, taken at once, and the next sensible command. Only looks."""

from __future__ import annotations

from typing import Any, NamedTuple

from queuectl.model import names
from queuectl.model.lifecycle import PENDING, REJECTED, RUNNING
from queuectl.monitor import facts
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import STATUS, Survey
from queuectl.spool.folder import SpoolDir


class Advice(NamedTuple):
    """The next sensible command and why; `command` is "" if there is nothing to do."""

    command: str
    why: str


def collect(spool: SpoolDir, *, now_at: float) -> Snapshot:
    """Take a snapshot of a spool at once. Raises OSError if the spool cannot be listed."""
    return drain(Survey(spool, is_full=True, scope=STATUS).take(now_at))


def document(found: Snapshot) -> dict[str, Any]:
    """Return `queuectl status --json`: status.json with fewer keys per row, and with the names of foreign files."""
    made = facts.facts(found, advice=advise(found))
    return {
        "version": facts.VERSION,
        **made,
        RUNNING: _without(made[RUNNING], "timeout_s", "usual_s"),
        "failures": _without(made["failures"], "attempt", "output", "result"),
        "foreign": found.foreign_names,
        "copies": {state: list(filter(names.is_copy, found.foreign_names[state])) for state in found.copies},
    }


def _without(rows: list[dict[str, Any]], *left_out: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


def advise(found: Snapshot) -> Advice:
    """Return what to do next, the most pressing first."""
    counts = found.counts
    if found.paused is not None:
        return Advice("queuectl resume", "the spool is paused: no job starts; deleting PAUSED resumes it too")
    if not found.pools and counts[PENDING]:
        return Advice("queuectl worker start --count 2", "jobs are waiting and no workers are running")
    if not found.pools and counts[RUNNING]:
        return Advice("queuectl worker start --count 2", "dead workers left jobs behind; new workers put them back")
    if found.dead:
        return Advice("queuectl dlq list", "dead jobs do not run again automatically")
    if counts[REJECTED]:
        return Advice("queuectl rejected list", "files that could not become jobs")
    if not any(counts.values()):
        return Advice('queuectl enqueue --command "echo hello"', "the queue is empty")
    return Advice("", "")
