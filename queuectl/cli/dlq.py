"""`queuectl dlq`: the jobs that are dead, a second life for them, or their end."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from queuectl import times
from queuectl.api import Job, Spool
from queuectl.cli import context, exit_codes, group, jobs, listing, output, selection
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.output import count_of, safe
from queuectl.errors import QueuectlError, UnknownJobError
from queuectl.lifecycle import DLQ, DONE

app = group.new_app(
    no_args_is_help=True,
    help="Example: queuectl dlq list\n\nSee, retry or delete the jobs that are dead. They lie in the folder dlq/.",
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", show_default=False, help="The jobs.")]


@app.command("list", short_help="List the dead jobs, newest first.")
def list_(
    tag: Annotated[str | None, typer.Option(metavar="WORD", help="Only jobs with this tag; opens every file.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this owner; the same.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="At most this many; 0 is all.")] = listing.LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Example: queuectl dlq list

    List the dead jobs, newest first. The columns are those of `queuectl list`.
    """
    listing.show(context.open_spool(), (DLQ,), tag=tag, owner=owner, limit=limit, as_json=as_json)


@app.command(short_help="Run dead jobs again, with fresh retries.")
def retry(
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead job.")] = False,
) -> None:
    """Example: queuectl dlq retry job1

    Run dead jobs again, with fresh retries. Their history is kept. Piped, the command prints the bare ids. More
    examples:

    \b
    queuectl dlq retry job1 job2
    queuectl dlq retry --all
    """
    spool = context.open_spool()
    wanted = _wanted(spool, ids or [], everything=everything, older_than=None)

    def again(job_id: str) -> None:
        _check_dead(spool, job_id, f"move done/{job_id}.json to pending/ to run it again")
        spool.requeue(job_id, by="dlq retry")
        output.line(f"{job_id} waits in pending/ again" if output.is_terminal() else job_id)

    selection.each(wanted, again)


@app.command(short_help="Delete dead jobs and their logs for good.")
def purge(
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead job.")] = False,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of those, the ones dead for longer: 12h, 30d. Alone: of all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed where nobody can be asked.")] = False,
) -> None:
    """Example: queuectl dlq purge --older-than 30d

    Delete dead jobs and their logs for good. Asks first; in a script --yes is needed. More examples:

    \b
    queuectl dlq purge job1 job2
    queuectl dlq purge --all --dry-run
    """
    spool = context.open_spool()
    wanted = _wanted(spool, ids or [], everything=everything or older_than is not None, older_than=older_than)
    for job_id in ids or []:
        _check_dead(spool, job_id, "finished jobs go by the setting keep_done")
    if not wanted:
        return
    if dry_run:
        for job_id in wanted:
            output.line(f"would delete {safe(job_id)}" if output.is_terminal() else job_id)
        return
    if not yes:
        _confirm(f"delete {count_of(len(wanted), 'dead job')} and what they printed, for good?")

    def end(job_id: str) -> None:
        spool.purge(job_id)
        output.line(f"deleted {job_id}" if output.is_terminal() else job_id)

    selection.each(wanted, end)


def _wanted(spool: Spool, ids: list[str], *, everything: bool, older_than: str | None) -> list[str]:
    """The ids that are meant."""
    if bool(ids) == everything:
        what = "which jobs?" if not ids else "ids and --all are both given; which counts?"
        raise WrongUsageError(what, hint="name their ids, or type --all;  queuectl dlq list  shows them")
    if ids:
        return list(dict.fromkeys(ids))
    limit_at = None
    if older_than is not None:
        try:
            limit_at = time.time() - times.parse_duration(older_than)
        except ValueError as error:
            raise WrongUsageError(f"--older-than: {error}", hint="write 12h or 30d") from error
    found = [job.id for job in spool.jobs(DLQ) if limit_at is None or _ended_at(job) < limit_at]
    if not found:
        output.message("dlq/ is empty" if limit_at is None else f"nothing in dlq/ is older than {older_than}")
    return found


def _ended_at(job: Job) -> float:
    return jobs.when(job) or 0.0


def _check_dead(spool: Spool, job_id: str, hint: str) -> None:
    found = spool.folder.find(job_id)
    if found is None:
        raise UnknownJobError(job_id)
    if found.state != DLQ:
        raise QueuectlError(
            f"job {job_id!r} is not dead: it is in {found.state}/",
            hint=hint if found.state == DONE else f"queuectl show {job_id}",
        )


def _confirm(question: str) -> None:
    if not output.is_interactive():
        raise WrongUsageError(
            f"nobody can be asked: {question}", hint="add --yes, or --dry-run to see what it would do"
        )
    if not typer.confirm(question, err=True):
        raise typer.Exit(exit_codes.FAILURE)
