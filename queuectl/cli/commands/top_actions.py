"""What a key of `queuectl top` does to a row: the question, the words, the act. A refusal says why and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from queuectl.api import Spool
from queuectl.cli.commands.top_rows import GROUP, INBOX, POOL, QUEUE, SCHEDULE, Row
from queuectl.cli.commands.top_widgets import Output
from queuectl.errors import QueuectlError
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.text import printed_lines
from queuectl.monitor import inboxes, logs
from queuectl.monitor.inboxes import InboxRow
from queuectl.monitor.rows import ArrivingRow, HeldRow, RefusalRow
from queuectl.spool.folder import SpoolDir

_LOG_BYTES = 64 * 1024
# Groups whose rows are no jobs.
_NO_JOBS = (POOL, QUEUE, SCHEDULE, GROUP, INBOX, REJECTED)


class Offer(NamedTuple):
    """What would be done; `act` is None if it cannot be done, and `words` say why."""

    words: str
    act: Callable[[Spool], str] | None = None
    question: str = ""


def pause(spool: Spool) -> str:
    """Start nothing new."""
    spool.pause("by `queuectl top`")
    return "paused: no new job starts; p resumes"


def resume(spool: Spool) -> str:
    """Go on."""
    return "resumed" if spool.resume() else "the spool was not paused"


def cancel(row: Row) -> Offer:
    """Offer to end a job that waits or runs."""
    if row.state in (DLQ, DONE):
        return Offer("the job has ended; r runs it again")
    if row.state not in (PENDING, RUNNING) or isinstance(row.item, ArrivingRow):
        return _no_job(row)

    def act(spool: Spool) -> str:
        job = spool.cancel(spool.resolve(row.name), by="top")
        return f"{job.id} is cancelled: it is in dlq/"

    return Offer(f"cancelling {row.name} ...", act, f"cancel {row.name}? y/n")


def retry(row: Row) -> Offer:
    """Offer to run a job again; a finished one after a question."""
    if row.state not in (DLQ, DONE):
        return _no_job(row) if row.state in _NO_JOBS else Offer("only a job that has ended can be run again")

    def act(spool: Spool) -> str:
        return f"{spool.requeue(spool.resolve(row.name), by='top').id} waits in pending/ again"

    return Offer(f"{row.name} ...", act, f"{row.name} has succeeded; run it again? y/n" if row.state == DONE else "")


def hold(row: Row) -> Offer:
    """Offer to keep a waiting job from running."""
    if row.state != PENDING:
        return _no_job(row) if row.state in _NO_JOBS else Offer("only a waiting job can be held")
    if isinstance(row.item, ArrivingRow):
        return _no_job(row)
    if isinstance(row.item, HeldRow):
        return Offer(f"{row.name} is held already; to release it: queuectl release {row.name}")

    def act(spool: Spool) -> str:
        job = spool.hold(spool.resolve(row.name))
        return f"{job.id} is held; to release it: queuectl release {job.id}"

    return Offer(f"{row.name} ...", act)


def _no_job(row: Row) -> Offer:
    if row.state == POOL:
        return Offer("this is a pool of workers; to stop it: queuectl worker stop")
    if row.state == QUEUE:
        return Offer(f"this is a queue; to pause it: queuectl pause {row.name}")
    if row.state == GROUP:
        return Offer(f"this is a group of jobs; to cancel all of them: queuectl cancel --group {row.name}")
    if row.state == INBOX:
        return Offer("this is an inbox; to see its files: queuectl status")
    if isinstance(row.item, ArrivingRow):
        return Offer("this file is incomplete; a worker takes it when it is complete")
    return Offer("this file is not a job; to try it again: queuectl rejected retry")


def output(spool: SpoolDir, row: Row) -> Output:
    """Return the end of what a job printed, or why there is nothing."""
    if isinstance(row.item, RefusalRow):
        return Output("rejected", [row.item.why])
    if isinstance(row.item, ArrivingRow):
        return Output("incomplete", [row.item.why])
    if isinstance(row.item, InboxRow):
        return Output("inbox", inboxes.lines_of(row.item))
    if row.state in (POOL, QUEUE, SCHEDULE, GROUP):
        names = {POOL: "a pool of workers", QUEUE: "a queue", SCHEDULE: "a schedule", GROUP: "a group"}
        what = names[row.state]
        return Output(f"{what} has no output here", [])
    try:
        found = logs.glimpse(Spool(spool.root).session, row.name, _LOG_BYTES)
    except (QueuectlError, OSError) as error:
        return Output(str(error), [])
    if not found.attempt:
        return Output(f"{found.state}, no attempt yet", [])
    lines = printed_lines(found.data.rstrip(b"\r\n"), is_cut=len(found.data) == _LOG_BYTES)
    return Output(f"{found.state}, attempt {found.attempt}" + ("" if found.data else ": printed nothing"), lines)
