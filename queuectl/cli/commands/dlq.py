"""`queuectl dlq`: list, retry or delete dead and cancelled jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from queuectl.cli import context, group
from queuectl.cli.commands import control, listing
from queuectl.cli.selection import Chosen, chooses
from queuectl.model.lifecycle import DLQ

app = group.new_app(
    no_args_is_help=True,
    help="List, retry or delete dead jobs.\n\nExample: queuectl dlq list\n\n"
    "A job is dead if its retries are used up. Dead and cancelled jobs are in the folder dlq/.",
)


@app.command("list", short_help="List dead and cancelled jobs, newest first.")
def list_(
    tag: listing.Tag = None,
    owner: listing.Owner = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, help="Show at most this many jobs; 0 means all.")
    ] = listing.LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """List dead and cancelled jobs, newest first.

    Example: queuectl dlq list

    The columns are the same as in `queuectl list`.
    """
    listing.show(context.open_anyway(), (DLQ,), wanted=listing.Wanted(tag, owner), limit=limit, as_json=as_json)


@app.command(short_help="Run dead jobs again.")
@chooses("All dead jobs.", of=(DLQ,))
def retry(chosen: Chosen, cancelled: control.Cancelled = False) -> None:
    """Run dead jobs again.

    \b
    Examples:
      queuectl dlq retry job1
      queuectl dlq retry job1 job2
      queuectl dlq retry --all --yes

    Each job gets all its retries again and keeps its history. Filters skip cancelled jobs, unless you give
    --cancelled. `queuectl retry` does the same for dead and finished jobs. In a pipe, the command prints only the ids.
    """
    control.retry_jobs(chosen, by="dlq retry", states=(DLQ,), known=(DLQ,), cancelled=cancelled)


@app.command(short_help="Delete dead jobs and their logs permanently.")
@chooses("All dead and cancelled jobs.", of=(DLQ,))
def purge(chosen: Chosen) -> None:
    """Delete dead jobs and their logs permanently.

    \b
    Examples:
      queuectl dlq purge --older-than 30d
      queuectl dlq purge job1 job2
      queuectl dlq purge --all --dry-run

    `queuectl purge` does the same for dead and finished jobs. The command asks for confirmation; in a script, add
    --yes.
    """
    control.purge_jobs(chosen, known=(DLQ,))
