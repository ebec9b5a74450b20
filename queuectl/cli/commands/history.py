"""`queuectl history`: show the events of all jobs in order of time."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
import typer

from queuectl.cli import context, group
from queuectl.cli.rows import duration
from queuectl.cli.terminal import printing
from queuectl.model import exit_status
from queuectl.model.lifecycle import FOLDED
from queuectl.monitor.history import Happened, collect

app = group.new_app()

LIMIT = 100


@app.command()
def history(
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only events within this time: 10m, 24h.")] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=100_000, help="Show at most the last N events.")
    ] = LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """Show recent events of all jobs.

    Example: queuectl history --since 1h

    The newest event comes last. Each line has the time, the job's id, the event, the number of the attempt, and its
    outcome. In a pipe, times are in UTC and columns are separated by tabs. With --json, "truncated" is true if there
    are earlier events.
    """
    since_at = None if since is None else time.time() - duration(since, "--since")
    spool = context.open_dir()
    found = collect(spool, since_at=since_at, limit=limit)
    if as_json:
        rows = [_as_json(each) for each in found.events]
        printing.print_json({"version": 1, "events": rows, "truncated": found.left, "more": found.left})
    elif found.events:
        printing.table(("TIME", "ID", "EVENT", "#", "OUTCOME"), [_row(each) for each in found.events], known=spool.ids)
    else:
        printing.message("no events" + (" in this time" if since else " yet"))
    if found.left:
        printing.message("... and earlier events (--limit shows more)")


def _row(each: Happened) -> tuple[str, ...]:
    event = each.event
    return (
        printing.moment(each.at),
        each.id,
        event.event,
        str(event.attempt or ""),
        _outcome(each),
    )


def _outcome(each: Happened) -> str:
    """Return the outcome of an event: exit code, reason, and the folder that the job moved to."""
    event = each.event
    if event.event == FOLDED:
        return f"{sum(event.counts.values())} earlier events of this job, summarised"
    told = exit_status.with_reason(event.exit_code, event.reason) or event.text
    others = exit_status.others(event.killed, event.left)
    where = f"to {event.to}/" if event.to else ""
    due = f"due {event.due_at}" if event.due_at else ""
    return "; ".join(part for part in (told, others, where, due) if part)


def _as_json(each: Happened) -> dict[str, Any]:
    return {"id": each.id, "state": each.state, **msgspec.to_builtins(each.event)}
