"""Shows jobs for several commands: the rows of `list` and `dlq list`, and the JSON of one job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from queuectl.cli import completion
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.model import names, times
from queuectl.model.lifecycle import CANCELLED, DONE, PENDING, RUNNING, WARNING
from queuectl.model.text import command_text
from queuectl.spool.lookup import Job

if TYPE_CHECKING:
    from queuectl.monitor.results import Ending

HEADERS = ("ID", "STATE", "ATTEMPTS", "WHEN", "TAGS", "COMMAND", "ERROR")
_COMMAND_CHARS = 200


def row(job: Job, now_at: float) -> tuple[str, ...]:
    """Return a job as a row under HEADERS; in a pipe WHEN is UTC and the command is whole."""
    command = command_text(job.command)
    if printing.is_terminal():
        command = command[:_COMMAND_CHARS]
    return (
        job.id,
        CANCELLED if job.cancelled else job.state,
        f"{job.attempts}/{job.max_retries + 1}",
        _when_text(job, now_at),
        ",".join(job.tags),
        command,
        job.skipped if job.state == DONE else job.error,
    )


def _when_text(job: Job, now_at: float) -> str:
    if printing.is_terminal() and is_held(job):
        return "held"
    if printing.is_terminal() and job.waits_for:
        return f"after {job.waits_for}"
    return printing.ago(when(job), now_at)


JobId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        show_default=False,
        help="Job id; its first characters are enough.",
        autocompletion=completion.ids(*completion.ANY_STATE),
    ),
]
OptionalJobId = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID]",
        show_default=False,
        help="Job id; its first characters are enough.",
        autocompletion=completion.ids(*completion.ANY_STATE),
    ),
]
JobIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...",
        show_default=False,
        help="Job ids; the first characters of an id are enough.",
        autocompletion=completion.ids(PENDING, RUNNING),
    ),
]


def is_held(job: Job) -> bool:
    """Return whether a waiting job is held."""
    return job.state == PENDING and names.is_held(os.path.basename(job.path))


def when(job: Job) -> float | None:
    """Return the most useful instant of a job: its due time, its last move, or its arrival."""
    if job.due_at is not None:
        return job.due_at
    moved = [event["at"] for event in job.history if event.get("event") != WARNING and "at" in event]
    try:
        return times.from_text(moved[-1]) if moved else job.enqueued_at
    except (TypeError, ValueError):
        return job.enqueued_at


def as_json(job: Job) -> dict[str, Any]:
    """Return a job for programs; instants are RFC 3339 in UTC, None if there is none."""
    return {
        "id": job.id,
        "state": job.state,
        "cancelled": job.cancelled,
        "attempts": job.attempts,
        "max_retries": job.max_retries,
        "priority": job.priority,
        "tags": job.tags,
        "meta": job.meta,
        "owner": job.owner,
        "command": job.command,
        "enqueued_at": text(job.enqueued_at),
        "due_at": text(job.due_at),
        "held": is_held(job),
        "waits_for": job.waits_for,
        "skipped": job.skipped,
        "worker": job.worker,
        "error": job.error,
        "path": job.path,
    }


def ending_text(ending: Ending) -> str:
    """Return how a job ended, as a sentence."""
    runs = printing.count_of(ending.runs, "attempt")
    if ending.succeeded and ending.why:
        return f"{printing.safe(ending.id)} was {printing.safe(ending.why)}"
    if ending.succeeded:
        return f"{printing.safe(ending.id)} succeeded after {runs}"
    if ending.cancelled:
        return f"{printing.safe(ending.id)} was {printing.safe(ending.why)} after {runs}"
    return f"{printing.safe(ending.id)} is dead{how_dead(ending.runs, ending.why)}"


def how_dead(attempts: int, why: str) -> str:
    """Return the rest of the sentence for a dead job: the attempts, unless the reason has their number, and why."""
    after = "" if why.endswith("retries used up") else f" after {printing.count_of(attempts, 'attempt')}"
    return f"{after}: {printing.safe(why)}" if why else after


def duration(text: str, option: str) -> float:
    """Return the seconds of a duration that was typed for an option. Raises WrongUsageError."""
    try:
        return times.parse_duration(text)
    except ValueError as error:
        raise WrongUsageError(f"{option}: {error}", hint="write 30s, 10m, 24h or 7d") from error


def text(instant_at: float | None) -> str | None:
    """Return an instant for programs."""
    return None if instant_at is None else times.to_text(instant_at)
