"""`queuectl cancel`, `retry`, `purge`, `pause`, `resume`: what is done to jobs that are there already."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from queuectl import times
from queuectl.cli import context, group, jobs, output, selection
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.selection import DryRun, ExitCode, Filters, Ids, Match, OlderThan, Owner, Since, Tag, Yes
from queuectl.lifecycle import DLQ, DONE, PENDING, RUNNING

cancel_app, retry_app, purge_app = group.new_app(), group.new_app(), group.new_app()
pause_app, resume_app = group.new_app(), group.new_app()
hold_app, release_app = group.new_app(), group.new_app()


@cancel_app.command()
def cancel(
    ids: Ids = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it goes on record.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every job that waits or runs.")] = False,
    state: Annotated[str, typer.Option(metavar="STATE", help="For filters: only pending, or only running.")] = "",
    tag: Tag = None,
    owner: Owner = None,
    since: Since = None,
    older_than: OlderThan = None,
    match: Match = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Example: queuectl cancel job1

    End jobs that wait or run, for good. One that waits goes to dlq/ at once; one that runs is ended with everything its
    command started, and goes there then. `queuectl retry` runs it again. More examples:

    \b
    queuectl cancel job1 job2 --reason "wrong input"
    queuectl cancel --tag nightly --state pending
    queuectl cancel --match "*convert*" --dry-run
    """
    spool = context.open_spool()
    states: tuple[str, ...] = (PENDING, RUNNING)
    if state:
        if state not in states:
            raise WrongUsageError(f"--state: {state[:60]!r} jobs cannot be cancelled", hint="pending or running")
        states = (state,)
    filters = Filters(tag, since, older_than, None, match, owner)
    wanted = selection.choose(spool, ids, filters, states=states, everything=everything or bool(state))
    if not selection.go_on(wanted, what="cancel", named=bool(ids), dry_run=dry_run, yes=yes):
        return

    def end(job_id: str) -> None:
        job = spool.cancel(spool.resolve(job_id), by="cancel", reason=reason)
        output.line(f"{job.id} is cancelled: it lies in dlq/" if output.is_terminal() else job.id)

    selection.each(wanted, end)


@retry_app.command()
def retry(
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead job.")] = False,
    done: Annotated[bool, typer.Option("--done", help="For filters: finished jobs too.")] = False,
    tag: Tag = None,
    owner: Owner = None,
    since: Since = None,
    older_than: OlderThan = None,
    exit_code: ExitCode = None,
    match: Match = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Example: queuectl retry job1

    Run dead or finished jobs again. Their retries are fresh, their history is kept. Dragging a file from dlq/ or done/
    to pending/ does the same. More examples:

    \b
    queuectl retry --all --yes
    queuectl retry --exit-code 137 --since 2h
    queuectl list --state dlq --tag nightly | cut -f1 | queuectl retry -
    """
    spool = context.open_spool()
    filters = Filters(tag, since, older_than, exit_code, match, owner)
    wanted = selection.choose(spool, ids, filters, states=(DLQ, DONE) if done else (DLQ,), everything=everything)
    if not selection.go_on(wanted, what="run again", named=bool(ids), dry_run=dry_run, yes=yes):
        return

    def again(job_id: str) -> None:
        job = spool.requeue(spool.resolve(job_id), by="retry")
        output.line(f"{job.id} waits in pending/ again" if output.is_terminal() else job.id)

    selection.each(wanted, again)


@purge_app.command()
def purge(
    ids: Ids = None,
    state: Annotated[str, typer.Option(metavar="STATE", help="For filters: done or dlq. Alone: all of it.")] = "",
    tag: Tag = None,
    owner: Owner = None,
    older_than: OlderThan = None,
    exit_code: ExitCode = None,
    match: Match = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Example: queuectl purge --state done --older-than 30d

    Delete finished or dead jobs for good. What they printed goes too. The settings keep_done and keep_dlq do it by
    themselves. Asks first; in a script --yes is needed. More examples:

    \b
    queuectl purge job1 job2 --yes
    queuectl purge --state dlq --tag nightly --dry-run
    """
    spool = context.open_spool()
    states: tuple[str, ...] = (DONE, DLQ)
    if state:
        known = {"done": DONE, "completed": DONE, "dlq": DLQ, "dead": DLQ}
        if state not in known:
            raise WrongUsageError(f"--state: {state[:60]!r} jobs cannot be purged", hint="done or dlq")
        states = (known[state],)
    filters = Filters(tag, None, older_than, exit_code, match, owner)
    wanted = selection.choose(spool, ids, filters, states=states, everything=bool(state))
    if not selection.go_on(wanted, what="delete", named=False, dry_run=dry_run, yes=yes):
        return

    def end(job_id: str) -> None:
        job_id = spool.resolve(job_id)
        spool.purge(job_id)
        output.line(f"deleted {job_id}" if output.is_terminal() else job_id)

    selection.each(wanted, end)


@hold_app.command()
def hold(
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="Every job that waits.")] = False,
    tag: Tag = None,
    owner: Owner = None,
    match: Match = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Example: queuectl hold job1

    Keep waiting jobs from being run, until `release`. The name of the file in pending/ ends in ,hold.json then;
    renaming it does the same as both commands. Other jobs go on: `queuectl pause` stops them all.
    """
    filters = Filters(tag, match=match, owner=owner)
    _hold_or_release(ids, filters, everything=everything, dry_run=dry_run, yes=yes, hold=True)


@release_app.command()
def release(
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="Every job that is held.")] = False,
    tag: Tag = None,
    owner: Owner = None,
    match: Match = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Example: queuectl release job1

    Let jobs be run that are held. They run in the order that they would have had.
    """
    filters = Filters(tag, match=match, owner=owner)
    _hold_or_release(ids, filters, everything=everything, dry_run=dry_run, yes=yes, hold=False)


def _hold_or_release(
    ids: list[str] | None, filters: Filters, *, everything: bool, dry_run: bool, yes: bool, hold: bool
) -> None:
    spool = context.open_spool()
    wanted = selection.choose(spool, ids, filters, states=(PENDING,), everything=everything)
    if not ids:
        wanted = [job_id for job_id in wanted if jobs.is_held(spool.get(job_id)) != hold]
    what = "hold" if hold else "release"
    if not selection.go_on(wanted, what=what, named=bool(ids), dry_run=dry_run, yes=yes):
        return

    def change(job_id: str) -> None:
        job = (spool.hold if hold else spool.release)(spool.resolve(job_id))
        says = "is held; to let it go: queuectl release" if hold else "is not held any more"
        output.line(f"{job.id} {says}" if output.is_terminal() else job.id)

    selection.each(wanted, change)


@pause_app.command()
def pause(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is shown by status.")] = "",
    span: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Go on by itself after: 30m, 2h.")] = None,
) -> None:
    """Example: queuectl pause --reason "disk is being moved" --for 2h

    Start nothing new until `resume`. Jobs that run are not touched. It makes the file PAUSED in the spool,
    which does the same when it is made by hand: its first line is the reason.
    """
    spool = context.open_spool()
    until_at = None
    if span is not None:
        try:
            until_at = time.time() + times.parse_duration(span)
        except ValueError as error:
            raise WrongUsageError(f"--for: {error}", hint="write 30m or 2h") from error
    spool.pause(reason or "by `queuectl pause`", until_at=until_at)
    when = f" until {output.moment(until_at)}" if until_at is not None else ""
    output.line(f"paused{when}; to go on: queuectl resume, or delete {spool.folder.paused_path}")


@resume_app.command()
def resume() -> None:
    """Example: queuectl resume

    Go on after `pause`. Deleting the file PAUSED does the same.
    """
    spool = context.open_spool()
    output.line("working again" if spool.resume() else "it was not paused")
