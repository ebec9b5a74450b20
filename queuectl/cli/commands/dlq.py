"""`queuectl dlq`: the jobs that are dead or cancelled, a second life for them, or their end."""

from __future__ import annotations

from typing import Annotated

import typer

from queuectl.cli import context, group
from queuectl.cli.commands import control, listing
from queuectl.cli.selection import Chosen, chooses
from queuectl.model.lifecycle import DLQ

app = group.new_app(
    no_args_is_help=True,
    help="Example: queuectl dlq list\n\nSee, retry or delete the jobs that are dead. They lie in the folder dlq/.",
)


@app.command("list", short_help="List the dead jobs, newest first.")
def list_(
    tag: listing.Tag = None,
    owner: listing.Owner = None,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="At most this many; 0 is all.")] = listing.LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Example: queuectl dlq list

    List the dead and the cancelled jobs, newest first. The columns are those of `queuectl list`.
    """
    listing.show(context.open_anyway(), (DLQ,), wanted=listing.Wanted(tag, owner), limit=limit, as_json=as_json)


@app.command(short_help="Run dead jobs again, with fresh retries.")
@chooses("Every dead job.", of=(DLQ,))
def retry(chosen: Chosen, cancelled: control.Cancelled = False) -> None:
    """Example: queuectl dlq retry job1

    Run dead jobs again, with fresh retries. Their history is kept. Filters pass over jobs that were cancelled, unless
    --cancelled is given. It is `queuectl retry` for dead jobs only. Piped,
    the command prints the bare ids. More examples:

    \b
    queuectl dlq retry job1 job2
    queuectl dlq retry --all --yes
    """
    control.retry_jobs(chosen, by="dlq retry", states=(DLQ,), known=(DLQ,), cancelled=cancelled)


@app.command(short_help="Delete dead jobs and their logs for good.")
@chooses("Every dead job.", of=(DLQ,))
def purge(chosen: Chosen) -> None:
    """Example: queuectl dlq purge --older-than 30d

    Delete dead jobs and their logs for good. It is `queuectl purge` for dead jobs only. Asks first; in a script --yes
    is needed. More examples:

    \b
    queuectl dlq purge job1 job2
    queuectl dlq purge --all --dry-run
    """
    control.purge_jobs(chosen, known=(DLQ,))
