"""`queuectl cancel`, `retry`, `purge`, `hold`, `release`; `pause` and `resume`: what is done to jobs that are there."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from queuectl.api import Spool
from queuectl.cli import context, group, rows, selection
from queuectl.cli.selection import Chosen, chooses
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.monitor import live
from queuectl.spool.lookup import Job

Cancelled = Annotated[bool, typer.Option("--cancelled", help="For filters: cancelled jobs too.")]
cancel_app, retry_app, purge_app = group.new_app(), group.new_app(), group.new_app()
pause_app, resume_app = group.new_app(), group.new_app()
hold_app, release_app = group.new_app(), group.new_app()


@cancel_app.command()
@chooses("Every job that waits or runs.", of=(PENDING, RUNNING), states="For filters: only pending, or only running.")
def cancel(
    chosen: Chosen,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it goes on record.")] = "",
) -> None:
    """Example: queuectl cancel job1

    End jobs that wait or run, for good. One that waits goes to dlq/ at once; one that runs is ended with everything its
    command started, and goes there then. `queuectl retry` runs it again. More examples:

    \b
    queuectl cancel job1 job2 --reason "wrong input"
    queuectl cancel --tag nightly --state pending
    queuectl cancel --match "*convert*" --dry-run
    """
    spool = context.open_anyway()
    choice = selection.choose(spool, chosen, states=(PENDING, RUNNING), known=(PENDING, RUNNING))
    if not selection.go_on(choice, chosen, what="cancel"):
        return

    def end(job_id: str) -> tuple[str, str]:
        return spool.cancel(job_id, by="cancel", reason=reason).id, "is cancelled: it lies in dlq/"

    selection.each(spool, choice, end, did="cancelled")


@retry_app.command()
@chooses("Every dead job.", of=(DLQ, DONE), states="For filters: dlq (which it is without), or done.")
def retry(
    chosen: Chosen,
    done: Annotated[bool, typer.Option("--done", help="For filters: finished jobs too.")] = False,
    cancelled: Cancelled = False,
) -> None:
    """Example: queuectl retry job1

    Run dead or finished jobs again. Their retries are fresh, their history is kept. Filters pass over jobs that were
    cancelled, unless --cancelled is given. Dragging a file from dlq/ or done/ to pending/ does the same. More examples:

    \b
    queuectl retry --all --yes
    queuectl retry --exit-code 137 --since 2h
    queuectl list --state dlq --tag nightly | cut -f1 | queuectl retry -
    """
    states = (DLQ, DONE) if done else (DLQ,)
    retry_jobs(chosen, by="retry", states=states, known=(DLQ, DONE), cancelled=cancelled)


@purge_app.command()
@chooses("Every finished or dead job.", of=(DONE, DLQ), states="For filters: done or dlq. Alone: all of it.")
def purge(chosen: Chosen) -> None:
    """Example: queuectl purge --state done --older-than 30d

    Delete finished or dead jobs for good. What they printed goes too. The settings keep_done and keep_dlq do it by
    themselves. Asks first; in a script --yes is needed. More examples:

    \b
    queuectl purge job1 job2 --yes
    queuectl purge --state dlq --tag nightly --dry-run
    """
    purge_jobs(chosen, known=(DONE, DLQ))


def retry_jobs(chosen: Chosen, *, by: str, states: tuple[str, ...], known: tuple[str, ...], cancelled: bool) -> None:
    """Run jobs of the `known` states again; filters look for them in `states`, and find no cancelled ones unless asked.

    A job that is named is run again in any case.
    """
    spool = context.open_anyway()
    passed_over: list[str] = []

    def is_wanted(job: Job) -> bool:
        if job.cancelled and not cancelled:
            passed_over.append(job.id)
        return cancelled or not job.cancelled

    choice = selection.choose(spool, chosen, states=states, known=known, test=is_wanted)
    if passed_over:
        counted = printing.count_of(len(passed_over), "cancelled job")
        printing.message(f"{counted} passed over (--cancelled takes them too)")
    if not selection.go_on(choice, chosen, what="run again"):
        return

    def again(job_id: str) -> tuple[str, str]:
        _check_state(spool, job_id, known)
        return spool.requeue(job_id, by=by).id, "waits in pending/ again"

    selection.each(spool, choice, again, did="put back to pending/")


def purge_jobs(chosen: Chosen, *, known: tuple[str, ...]) -> None:
    """Delete jobs of the `known` states for good."""
    spool = context.open_anyway()
    choice = selection.choose(spool, chosen, states=known, known=known)
    if not selection.go_on(choice, chosen, what="delete", ask_always=True):
        return

    def end(job_id: str) -> tuple[str, str]:
        _check_state(spool, job_id, known)
        spool.purge(job_id)
        return job_id, "is deleted"

    selection.each(spool, choice, end, did="deleted")


def _check_state(spool: Spool, job_id: str, known: tuple[str, ...]) -> None:
    """Refuse a finished job where only dead ones are meant."""
    found = spool.folder.find(job_id)
    if found is not None and DONE not in known and found.state != DLQ:
        without = "queuectl retry  and  queuectl purge  take finished jobs too"
        raise QueuectlError(
            f"job {job_id!r} is not dead: it is in {found.state}/",
            hint=without if found.state == DONE else f"queuectl show {job_id}",
        )


@hold_app.command()
@chooses("Every job that waits.", of=(PENDING,), held=False)
def hold(chosen: Chosen) -> None:
    """Example: queuectl hold job1

    Keep waiting jobs from being run, until `release`. The name of the file in pending/ ends in ,hold.json then;
    renaming it does the same as both commands. Other jobs go on: `queuectl pause` stops them all.
    """
    _hold_or_release(chosen, hold=True)


@release_app.command()
@chooses("Every job that is held.", of=(PENDING,), held=True)
def release(chosen: Chosen) -> None:
    """Example: queuectl release job1

    Let jobs be run that are held. They run in the order that they would have had.
    """
    _hold_or_release(chosen, hold=False)


def _hold_or_release(chosen: Chosen, *, hold: bool) -> None:
    spool = context.open_anyway()
    choice = selection.choose(spool, chosen, states=(PENDING,), test=lambda job: rows.is_held(job) != hold)
    if not selection.go_on(choice, chosen, what="hold" if hold else "release"):
        return
    says = "is held; to let it go: queuectl release" if hold else "is not held any more"

    def change(job_id: str) -> tuple[str, str]:
        return (spool.hold if hold else spool.release)(job_id).id, says

    selection.each(spool, choice, change, did="held" if hold else "released")


@pause_app.command()
def pause(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is shown by status.")] = "",
    span: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Go on by itself after: 30m, 2h.")] = None,
) -> None:
    """Example: queuectl pause --reason "disk is being moved" --for 2h

    Start nothing new until `resume`. Jobs that run are not touched. It makes the file PAUSED in the spool,
    which does the same when it is made by hand: its first line is the reason.
    """
    spool = context.open_anyway()
    until_at = None if span is None else time.time() + rows.duration(span, "--for")
    spool.pause(reason or "by `queuectl pause`", until_at=until_at)
    when = f" until {printing.moment(until_at)}" if until_at is not None else ""
    printing.line(f"paused{when}; to go on: queuectl resume, or delete {spool.folder.paused_path}")


@resume_app.command()
def resume() -> None:
    """Example: queuectl resume

    Go on after `pause`. Deleting the file PAUSED does the same.
    """
    spool = context.open_anyway()
    printing.line("working again" if spool.resume() else "it was not paused")
    if not live.pools(spool.folder):
        printing.message(printing.NO_WORKERS)
