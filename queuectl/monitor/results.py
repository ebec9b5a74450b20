"""Find out how a job has ended, with a few calls of stat, and what it gave back. Only looks."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from queuectl.errors import DamagedRecordError
from queuectl.model import exit_status, history, record, result
from queuectl.model.lifecycle import CANCELLED, DLQ, DONE, ENDINGS, EXPIRED, PENDING, UNMET
from queuectl.monitor import rejected
from queuectl.spool import lookup
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import RESULT_ENDING, record_name
from queuectl.spool.lookup import Job
from queuectl.spool.session import Session
from queuectl.system import files


class Ending(NamedTuple):
    """The end of a job: its state, the last run's exit code (None if there is none), and why it is in dlq/, or ""; of a
    job that was skipped, why.
    """

    id: str
    state: str
    exit_code: int | None
    runs: int
    why: str
    cancelled: bool = False

    @property
    def succeeded(self) -> bool:
        """True for a job in done/: its folder is its state."""
        return self.state == DONE


def ending_of(session: Session, job_id: str) -> Ending | None:
    """Return how a job ended, or None if it is neither in done/ nor in dlq/.

    Raises:
        DamagedRecordError: its record is torn.
    """
    folder = session.spool
    state = folder.holds(job_id, (DONE, DLQ))
    if not state:
        return None
    try:
        item = folder.read(state, record_name(job_id)).record
    except FileNotFoundError:
        return None  # run again, this instant
    standing = item.standing()
    last = next((event for event in reversed(item.history) if event.event in ENDINGS), None)
    code = last.exit_code if last is not None else None
    if state == DONE:
        why = "" if standing.last is None else history.skipped_text(standing.last)
        return Ending(item.id, state, code, standing.starts, why)
    return Ending(item.id, state, code, standing.starts, why_dead(item), standing.is_cancelled)


def id_at_end(session: Session, job_id: str) -> str:
    """Return the id that a job has when it ends: a drop may have another name until it is taken in."""
    try:
        job = lookup.get(session, job_id)
    except DamagedRecordError:
        return job_id  # incomplete, or the caller gets the error when it reads the job
    return job.id if job.state == PENDING else job_id


def why_dead(item: record.Record) -> str:
    """Return why a job is in dlq/, in words. For a cancelled job they begin with `cancelled`."""
    last = item.standing().last
    if last is None or (last.to != DLQ and last.event not in ENDINGS):
        return f"somebody moved it to {DLQ}/"
    if last.event == CANCELLED:
        return history.cancelled_text(last.reason)
    if last.event in (EXPIRED, UNMET):
        return history.describe(last)
    return exit_status.with_reason(last.exit_code, last.reason) or last.event.replace("_", " ")


def newest_attempt(job: Job) -> int:
    """Return the number of the newest attempt of a job, 0 if it has not started yet."""
    return max((event["attempt"] for event in job.history if isinstance(event.get("attempt"), int)), default=0)


def result_of(session: Session, job: Job) -> str | None:
    """Return the path of the result of a job's newest attempt, or None without one."""
    path = session.spool.result_path(job.id, newest_attempt(job))
    return None if files.sig_of(path) is None else path


def content_of(path: str) -> Any:
    """Return what a command gave back: the value of JSON, a text, or None if it is neither, too long or gone.

    A text is not safe to show.
    """
    try:
        found = files.read(path, result.SHOWN_MAX_BYTES)
    except (OSError, files.NotRegularError):
        return None
    if found.oversize:
        return None
    value = result.as_json(found.data)
    return result.as_text(found.data) if value is None else value


def first_lines(content: Any, *, lines: int, chars: int) -> list[str]:
    """Return the beginning of what `content_of` has returned, JSON with indents, at most `lines` lines. Not safe."""
    if content is None:
        return []
    text = content if isinstance(content, str) else _indented(content, lines)
    found = text.rstrip("\n").split("\n")
    shown = [each if len(each) <= chars else each[:chars] + "..." for each in found[:lines]]
    return [*shown, "..."] if len(found) > lines else shown


def _indented(value: Any, lines: int) -> str:
    """Return JSON with indents, up to a few lines more than asked for: of all of it they could make megabytes."""
    text = ""
    for piece in json.JSONEncoder(ensure_ascii=False, indent=1).iterencode(value):
        text += piece
        if text.count("\n") > lines:
            break
    return text


def attempts_with_result(session: Session, job_id: str) -> list[int]:
    """Return the attempts of a job that have a result, the first one first: one listing of logs/."""
    found = session.spool.listed_outputs(job_id)
    return [int(path.split(".")[-2]) for path in found if path.endswith(RESULT_ENDING)]


def refused(spool: SpoolDir, typed: str, *, whole: bool = False) -> str:
    """Return the rejected file of this name or stem, else (not with `whole`) the only one that begins so, or ""."""
    listed = rejected.rejected_names(spool)
    same = [name for name in listed if typed in (name, name.rpartition(".")[0])]
    begun = [name for name in listed if typed and name.lower().startswith(typed.lower())]
    return same[0] if same else begun[0] if len(begun) == 1 and not whole else ""
