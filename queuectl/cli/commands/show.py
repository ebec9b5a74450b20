"""`queuectl show`: show one job with its history, in words or as its file has it."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from queuectl.api import Spool
from queuectl.cli import context, group, rows
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import line, paint, safe
from queuectl.errors import DamagedRecordError, UnknownGroupError
from queuectl.model import exit_status, history, times
from queuectl.model.lifecycle import (
    ABANDONED,
    BLOCKED,
    CANCELLED,
    DLQ,
    DONE,
    ENQUEUED,
    FOLDED,
    MISSING,
    PENDING,
    RELEASED,
    REQUEUED,
    RUNNING,
    SKIPPED,
    SNOOZED,
    STARTED,
    TIMED_OUT,
    UNBLOCKED,
    UNMET,
    WARNING,
)
from queuectl.model.text import command_text
from queuectl.monitor import progress, results
from queuectl.spool import groups
from queuectl.spool.layout import LOG_ENDING
from queuectl.spool.lookup import Job
from queuectl.system import files

app = group.new_app()

_STATE_WORDS = {PENDING: "is waiting", RUNNING: "is running", DONE: "is done", DLQ: "is dead"}
_STATE_STYLES = {PENDING: "bold", RUNNING: "yellow", DONE: "green", DLQ: "red"}
_NEXT = {PENDING: ("why not yet", "queuectl why"), RUNNING: ("output", "queuectl logs -f")}
_DURATIONS = ("backoff_max", "timeout")
# The keys of an event that its sentence includes; other keys follow unchanged.
_TOLD = frozenset(history.Event.__struct_fields__)
_LABEL_CHARS = 20
_DEAD_SHOWN = 10
_RESULT_LINES, _RESULT_CHARS = 20, 200
_WORDS = {
    TIMED_OUT: "timed out",
    RELEASED: "was stopped and does not count",
    SNOOZED: "asked to run again later and does not count",
    ABANDONED: "was abandoned because its worker died",
}


@app.command()
def show(
    job_id: rows.OptionalJobId = None,
    of_group: Annotated[
        str | None, typer.Option("--group", metavar="TOKEN", help="Show how far the jobs of one file are.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the job's file with its state and path, as JSON.")
    ] = False,
) -> None:
    """Show the details and history of one job.

    Example: queuectl show job1

    It shows the state, every key of the job, its history, and the paths of its file and logs. If two files have the
    same id, give FOLDER/NAME: queuectl show done/job1. With --group, it counts the jobs of a group: 2,310 of 5,000
    done, 3 dead, 8 run.
    """
    spool = context.open_anyway()
    if (job_id is None) == (of_group is None):
        raise WrongUsageError("give the id of a job, or --group TOKEN", hint="to list the jobs: queuectl list")
    if of_group is not None:
        _show_group(spool, of_group, as_json=as_json)
        return
    assert job_id is not None
    job = spool.pick(job_id)
    outputs = spool.folder.listed_outputs(job.id)
    logs = [path for path in outputs if path.endswith(LOG_ENDING)]
    given = [path for path in outputs if path not in logs]
    if as_json:
        printing.print_json(
            {
                "version": 1,
                "state": job.state,
                "path": job.path,
                "logs": logs,
                "results": given,
                "result": _content(given),
                "job": _document(job),
            }
        )
        return
    word = "is cancelled" if job.cancelled else _STATE_WORDS[job.state]
    style = "yellow" if job.cancelled else _STATE_STYLES[job.state]
    line(f"{safe(job.id)} {paint(word, style)}{_standing(spool, job)}")
    for other in spool.folder.others(job.id, job.path):
        line(f"another file has this id: {safe(other)}; queuectl show {safe(other.removesuffix('.json'))}")
    line()
    for key, value in job.spec.items():
        if key != "id":
            line(f"  {safe(key):<{_LABEL_CHARS}}{_value(key, value)}")
    line()
    for event in job.history:
        line("  " + _event(event))
    if job.state in (DONE, DLQ) and _last_to(job) != job.state:
        line(f"  then its file was moved to {job.state}/ by hand: no event records this move")
    if not job.history:
        line("  copied to pending/; no worker has accepted it yet")
    line()
    line(f"  {'file':<{_LABEL_CHARS}}{safe(job.path)}")
    for path in logs:
        line(f"  {'log':<{_LABEL_CHARS}}{safe(path)}")
    for path in given:
        line(f"  {'result':<{_LABEL_CHARS}}{safe(path)}")
    for text in results.first_lines(_content(given), lines=_RESULT_LINES, chars=_RESULT_CHARS):
        line(f"  {'':<{_LABEL_CHARS}}{safe(text)}")
    if job.state in _NEXT:
        label, command = _NEXT[job.state]
        line(f"  {label:<{_LABEL_CHARS}}{command} {safe(job.id)}")
    if not logs and job.state in (DONE, DLQ):
        line(f"  {'log':<{_LABEL_CHARS}}none: the job printed nothing")


def _content(given: list[str]) -> Any:
    """Return what the newest attempt with a result gave back: JSON or a text of 64 KiB at most, else None."""
    return results.content_of(given[-1]) if given else None


def _show_group(spool: Spool, token: str, *, as_json: bool) -> None:
    """Print how far a group is, and which of its jobs are dead."""
    found = spool.group(token)
    if not found.total:
        raise UnknownGroupError(token)
    if as_json:
        printing.print_json({"version": 1, "group": token, **found._asdict()})
        return
    line(f"{safe(token)}  {found.text}")
    if not found.dead:
        return
    dead = groups.ids(spool.folder, token, (DLQ,))
    for job_id in dead[:_DEAD_SHOWN]:
        line(f"  {'dead':<{_LABEL_CHARS}}{safe(job_id)}")
    if len(dead) > _DEAD_SHOWN:
        line(f"  {'':<{_LABEL_CHARS}}and {len(dead) - _DEAD_SHOWN} more")
    line(f"  {'to retry':<{_LABEL_CHARS}}queuectl retry --group {safe(token)}")


def _document(job: Job) -> Any:
    """Return the record as it is on disk, or the accepted form of a drop that no worker has accepted yet."""
    try:
        return json.loads(files.read(job.path, 1 << 26).data)
    except (OSError, ValueError):
        return {**job.spec, "history": job.history}


def _standing(spool: Spool, job: Job) -> str:
    """Return the text after the state: the progress of the job."""
    now_at = time.time()
    most = job.max_retries + 1
    last = f": {safe(job.error)}" if job.error else ""
    if job.state == RUNNING:
        said = progress.of_job(spool.folder, job.id)
        at = f", at {said}" if said is not None else ""
        node = next((str(each["node"]) for each in reversed(job.history) if each.get("node")), "")
        on = f" on node {safe(node)}" if node else ""
        return f": attempt {job.attempts} of at most {most}, by {safe(job.worker)}{on}{at}"
    if job.state == DONE:
        return f" after {printing.count_of(job.attempts, 'attempt')}"
    if job.state == DLQ:
        return _how_dead(spool, job)
    due = f", due {printing.ago(job.due_at, now_at)}" if job.due_at is not None and job.due_at > now_at else ""
    done = (
        f"; {job.attempts} of at most {printing.count_of(most, 'attempt')} failed, last{last}" if job.attempts else ""
    )
    return f"{due}{done}"


def _last_to(job: Job) -> str:
    """Return the folder that the last event moved the job to, or ""."""
    for event in reversed(job.history):
        if event.get("event") != WARNING:
            return str(event.get("to", ""))
    return ""


def _how_dead(spool: Spool, job: Job) -> str:
    try:
        ending = results.ending_of(spool.session, job.id)
    except DamagedRecordError:
        ending = None  # a drop that a person copied to dlq/
    why = job.error if ending is None else ending.why
    if job.cancelled:
        return f" after {printing.count_of(job.attempts, 'attempt')}{safe(why.removeprefix(CANCELLED))}"
    return rows.how_dead(job.attempts, why)


def _value(key: str, value: Any) -> str:
    if key == "command" and isinstance(value, list):
        return f"{safe(command_text([str(word) for word in value]))}   (started without a shell)"
    if key in _DURATIONS and isinstance(value, int | float):
        return times.format_duration(value)
    if isinstance(value, str):
        return safe(value)
    return safe(json.dumps(value, ensure_ascii=False))


def _event(event: dict[str, Any]) -> str:
    """Return an event as a line of the history."""
    at = times.instant(str(event.get("at", "")))
    when = safe(str(event.get("at", ""))) if at is None else printing.moment(at)
    rest = ", ".join(f"{key}={value}" for key, value in event.items() if key not in _TOLD)
    return f"{when}  {safe(_sentence(event))}{safe(f'  ({rest})') if rest else ''}"


def _sentence(event: dict[str, Any]) -> str:
    kind = str(event.get("event", ""))
    run = f"attempt {event['attempt']}" if "attempt" in event else "it"  # cancelled while it was waiting
    if kind in (ENQUEUED, REQUEUED):
        source = f" from {event['file']}" if event.get("file") else f" ({event['batch']})" if event.get("batch") else ""
        word = "enqueued" if kind == ENQUEUED else "put back into the queue with all its retries"
        return f"{word} by {event.get('by', '?')}{source}{_due(event)}"
    if kind == STARTED:
        on = f" on node {event['node']}" if event.get("node") else ""
        return f"{run} started by {event.get('worker', '?')}{on}"
    if kind == FOLDED:
        return f"{_folded(event)}: the summary of a long history"
    if kind == WARNING:
        return f"warning: {event.get('text', '')}"
    if kind == SKIPPED and (other := event.get("duplicate_of") or event.get("replaced_by")):
        return f"{'is skipped: same as' if event.get('duplicate_of') else 'is replaced by'} {other}"
    if kind in _OF_PARENTS:
        why = f": {event['reason']}" if event.get("reason") else ""
        return f"{_OF_PARENTS[kind].format(parent=event.get('after', '?'))}{why}{_to(event)}"
    took = event.get("duration_s")
    after = f" after {times.format_duration(took)}" if isinstance(took, int | float) else ""
    if kind == CANCELLED:
        return f"{run} was {history.cancelled_text(str(event.get('reason', '')))}{after}{_to(event)}{_others(event)}"
    return f"{run} {_WORDS.get(kind, kind)}{after}{_how(event)}{_gave(event)}{_to(event)}{_others(event)}"


# What events about parents say.
_OF_PARENTS = {
    BLOCKED: "waits for {parent} now",
    MISSING: "its parent {parent} is not in the spool",
    UNBLOCKED: "need not wait for its parents any more",
    UNMET: "is dead without having run",
    SKIPPED: "is over without having run",
}


def _folded(event: dict[str, Any]) -> str:
    """Return the counts of folded events: `9000 events since ... (4500 started, 4500 failed)`."""
    counts = {str(kind): count for kind, count in dict(event.get("counts", {})).items() if isinstance(count, int)}
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    at = times.instant(str(event.get("first_at", "")))
    return f"{sum(counts.values())} events since {'?' if at is None else printing.moment(at)} ({kinds})"


def _gave(event: dict[str, Any]) -> str:
    size = event.get("result_bytes")
    gave = f", gave back {printing.count_of(size, 'byte')}" if isinstance(size, int) else ""
    return f"{gave}, at {event['progress']}" if event.get("progress") else gave


def _others(event: dict[str, Any]) -> str:
    """Return the processes that outlived their parents: those ended with the attempt, and those left running."""
    pids = {key: found for key in ("killed", "left") if isinstance(found := event.get(key), list)}
    told = exit_status.others(pids.get("killed", ()), pids.get("left", ()))
    return f"; {told}" if told else ""


def _how(event: dict[str, Any]) -> str:
    """Return the exit code and the reason."""
    code, reason = event.get("exit_code"), str(event.get("reason", ""))
    told = exit_status.with_reason(code if isinstance(code, int) else None, reason)
    return f": {told}" if told else ""


def _to(event: dict[str, Any]) -> str:
    to = event.get("to")
    if to == DLQ:
        return "; moved to dlq/"
    return _due(event) if to == PENDING else ""


def _due(event: dict[str, Any]) -> str:
    due_at = times.instant(str(event.get("due_at", "")))
    if due_at is None:
        return "; next attempt at once" if event.get("to") == PENDING else ""
    delay_s = event.get("delay_s")
    wait = f" (in {times.format_duration(delay_s)})" if isinstance(delay_s, int | float) else ""
    return f"; {'next attempt' if event.get('to') else 'starts'} at {printing.moment(due_at)}{wait}"
