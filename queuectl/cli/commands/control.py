"""`queuectl cancel`, `retry`, `purge`, `hold`, `release`, `pause` and `resume`: commands that change existing jobs."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from queuectl.api import Spool
from queuectl.cli import completion, context, group, rows, selection
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.selection import Chosen, chooses
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError
from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.monitor import dependents, live
from queuectl.spool.lookup import Job

Cancelled = Annotated[bool, typer.Option("--cancelled", help="With filters: include cancelled jobs.")]
QueueName = Annotated[
    str,
    typer.Argument(
        metavar="[QUEUE]",
        show_default=False,
        help="Only this queue. Default: the whole spool.",
        autocompletion=completion.queues(),
    ),
]
cancel_app, retry_app, purge_app = group.new_app(), group.new_app(), group.new_app()
pause_app, resume_app = group.new_app(), group.new_app()
hold_app, release_app = group.new_app(), group.new_app()


@cancel_app.command()
@chooses("All waiting and running jobs.", of=(PENDING, RUNNING), states="With filters: only pending, or only running.")
def cancel(
    chosen: Chosen,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Reason, kept in the job's history.")] = "",
) -> None:
    """Cancel waiting or running jobs.

    \b
    Examples:
      queuectl cancel job1
      queuectl cancel job1 job2 --reason "wrong input"
      queuectl cancel --tag nightly --state pending
      queuectl cancel --match "*convert*" --dry-run

    A waiting job moves to dlq/ at once. A running job is ended together with all processes that its command started,
    then it moves to dlq/. `queuectl retry` runs a cancelled job again.
    """
    spool = context.open_anyway()
    choice = selection.choose(spool, chosen, states=(PENDING, RUNNING), known=(PENDING, RUNNING))
    if not selection.go_on(choice, chosen, what="cancel"):
        return

    def end(job_id: str) -> tuple[str, str]:
        return spool.cancel(job_id, by="cancel", reason=reason).id, "is cancelled and in dlq/"

    selection.each(spool, choice, end, did="cancelled")


@retry_app.command()
@chooses("All dead jobs.", of=(DLQ, DONE), states="With filters: dlq (the default) or done.")
def retry(
    chosen: Chosen,
    done: Annotated[bool, typer.Option("--done", help="With filters: include finished jobs.")] = False,
    cancelled: Cancelled = False,
) -> None:
    """Run dead or finished jobs again.

    \b
    Examples:
      queuectl retry job1
      queuectl retry --all --yes
      queuectl retry --exit-code 137 --since 2h
      queuectl list --state dlq --tag nightly | cut -f1 | queuectl retry -

    Each job gets all its retries again and keeps its history. Filters skip cancelled jobs, unless you give
    --cancelled. Moving a file from dlq/ or done/ to pending/ has the same effect.
    """
    states = (DLQ, DONE) if done else (DLQ,)
    retry_jobs(chosen, by="retry", states=states, known=(DLQ, DONE), cancelled=cancelled)


@purge_app.command()
@chooses("All finished and dead jobs.", of=(DONE, DLQ), states="Only jobs in this state: done or dlq.")
def purge(chosen: Chosen) -> None:
    """Delete finished or dead jobs permanently.

    \b
    Examples:
      queuectl purge --state done --older-than 30d
      queuectl purge job1 job2 --yes
      queuectl purge --state dlq --tag nightly --dry-run

    This deletes their logs too. The settings keep_done and keep_dlq delete old jobs automatically.
    The command asks for confirmation; in a script, add --yes.
    """
    purge_jobs(chosen, known=(DONE, DLQ))


def retry_jobs(chosen: Chosen, *, by: str, states: tuple[str, ...], known: tuple[str, ...], cancelled: bool) -> None:
    """Run jobs of the `known` states again; filters search `states` and skip cancelled jobs unless `cancelled`.

    A named job is run again in any case.
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
        printing.message(f"skipped {counted} (--cancelled includes them)")
    if not selection.go_on(choice, chosen, what="retry"):
        return

    def again(job_id: str) -> tuple[str, str]:
        _check_state(spool, job_id, known)
        return spool.requeue(job_id, by=by).id, "is waiting again"

    selection.each(spool, choice, again, did="put back into the queue")
    _tell_if_no_workers(spool)


def purge_jobs(chosen: Chosen, *, known: tuple[str, ...]) -> None:
    """Delete jobs of the `known` states permanently."""
    spool = context.open_anyway()
    choice = selection.choose(spool, chosen, states=known, known=known)
    if count := len(dependents.waiting_for(spool.folder, choice.ids)):
        jobs = "1 waiting job waits" if count == 1 else f"{count} waiting jobs wait"
        printing.warning(f"{jobs} for jobs that you delete: after_grace later they are dead")
    if not selection.go_on(choice, chosen, what="delete", ask_always=True):
        return

    def end(job_id: str) -> tuple[str, str]:
        _check_state(spool, job_id, known)
        spool.purge(job_id)
        return job_id, "is deleted"

    selection.each(spool, choice, end, did="deleted")


def _check_state(spool: Spool, job_id: str, known: tuple[str, ...]) -> None:
    """Raise QueuectlError for a finished job if only dead jobs are allowed."""
    found = spool.folder.find(job_id)
    if found is not None and DONE not in known and found.state != DLQ:
        without = "queuectl retry and queuectl purge also accept finished jobs"
        raise QueuectlError(
            f"job {job_id!r} is not dead: it is in {found.state}/",
            hint=without if found.state == DONE else f"queuectl show {job_id}",
        )


@hold_app.command()
@chooses("All waiting jobs.", of=(PENDING,), held=False)
def hold(chosen: Chosen) -> None:
    """Hold waiting jobs until you release them.

    Example: queuectl hold job1

    The name of the file in pending/ then ends in ,hold.json. Renaming the file yourself has the same effect as `hold`
    and `release`. Other jobs are not affected: `queuectl pause` stops them all.
    """
    _hold_or_release(chosen, hold=True)


@release_app.command()
@chooses("All held jobs.", of=(PENDING,), held=True)
def release(chosen: Chosen) -> None:
    """Release held jobs, and jobs that wait for others.

    Example: queuectl release job1

    Held jobs take their old place in the queue. If the job waits for another job (--after), or is dead because of one,
    it starts without that job. Filters select held jobs only.
    """
    _hold_or_release(chosen, hold=False)


def _hold_or_release(chosen: Chosen, *, hold: bool) -> None:
    spool = context.open_anyway()
    choice = selection.choose(spool, chosen, states=(PENDING,), test=lambda job: rows.is_held(job) != hold)
    if not selection.go_on(choice, chosen, what="hold" if hold else "release"):
        return
    says = "is held; to run it: queuectl release" if hold else "is released"

    def change(job_id: str) -> tuple[str, str]:
        return (spool.hold if hold else spool.release)(job_id).id, says

    selection.each(spool, choice, change, did="held" if hold else "released")


@pause_app.command()
def pause(
    queue: QueueName = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Reason, shown by `queuectl status`.")] = "",
    span: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Resume automatically after this long: 30m, 2h.")
    ] = None,
) -> None:
    """Pause the spool or one queue: start no more jobs.

    \b
    Examples:
      queuectl pause --reason "disk is being moved" --for 2h
      queuectl pause mail

    Running jobs continue. The command creates the file PAUSED in the spool, or PAUSED-NAME for the queue NAME. Creating
    that file yourself has the same effect; its first line is the reason.
    """
    check_queue(queue)
    spool = context.open_anyway()
    until_at = None if span is None else time.time() + rows.duration(span, "--for")
    spool.pause(reason or "by `queuectl pause`", until_at=until_at, queue=queue)
    when = f" until {printing.moment(until_at)}" if until_at is not None else ""
    path = spool.folder.queue_paused_path(queue) if queue else spool.folder.paused_path
    what, command = (f"queue {queue} is paused", f"resume {queue}") if queue else ("paused", "resume")
    printing.line(f"{what}{when}; to resume: queuectl {command}, or delete {path}")


@resume_app.command()
def resume(queue: QueueName = "") -> None:
    """Resume a paused spool or queue.

    \b
    Examples:
      queuectl resume
      queuectl resume mail

    Deleting the file PAUSED in the spool, or PAUSED-NAME, has the same effect.
    """
    check_queue(queue)
    spool = context.open_anyway()
    if queue:
        printing.line(f"queue {queue} is resumed" if spool.resume(queue) else f"queue {queue} was not paused")
    else:
        printing.line("resumed" if spool.resume() else "the queue was not paused")
    _tell_if_no_workers(spool)


def check_queue(queue: str) -> None:
    """Raise WrongUsageError if no queue can have this name."""
    if queue and (why := names.why_bad_queue(queue)):
        raise WrongUsageError(f"{queue[:60]!r} is not the name of a queue: it {why}")


def _tell_if_no_workers(spool: Spool) -> None:
    if not live.pools(spool.folder):
        printing.message(printing.NO_WORKERS)
