"""Write ID.error.txt beside each dead job: why it is dead, its last output, and what to do.

A cancelled job gets ID.cancelled.txt instead, so that one listing shows how many jobs are dead.

The text is for people; the record is the truth. So the text is written after the job has moved, a failure to write it
changes nothing but that count, and no program reads it. Its last line holds a checksum of the lines above. queuectl
replaces or deletes only a text that is exactly as written (P6, P11): a text that a person changed, or another file with
such a name, stays.
"""

from __future__ import annotations

import contextlib
import os

from queuectl.errors import DamagedRecordError
from queuectl.model import exit_status, history, record, taken_file
from queuectl.model.lifecycle import (
    ABANDONED,
    CANCELLED,
    COUNTED,
    DLQ,
    ENQUEUED,
    EXPIRED,
    FOLDED,
    PENDING,
    REQUEUED,
    TIMED_OUT,
    UNMET,
    cancel_note,
    why_cancelled,
)
from queuectl.model.seal import is_sealed, seal
from queuectl.model.text import command_text, safe
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import CANCELLED_ENDING, ERROR_ENDING, LOGS
from queuectl.spool.session import Session
from queuectl.system import disk, files

# Limits on what is shown: of a command or reason, of a log in bytes and lines, of one log line, of earlier runs.
_FACT_CHARS = 300
_TAIL_BYTES = 8192
_TAIL_LINES = 20
_LINE_CHARS = 200
_RUNS = 5
# A text within these limits is far below this; a larger file is somebody else's.
_MAX_BYTES = 64 * 1024
_ENDINGS = (ERROR_ENDING, CANCELLED_ENDING)

# Exit codes with a common meaning; 128 + n is signal n, as in shells.
_EXIT_WORDS = {
    1: "the command reported a failure",
    2: "the command reported a failure or a usage error",
    126: "the command was found but could not be started",
    127: "command not found",
    130: "interrupted, for example by Ctrl-C",
    134: "the command aborted (SIGABRT)",
    137: "killed (SIGKILL), often because the machine ran out of memory",
    139: "the command crashed (SIGSEGV)",
    143: "terminated (SIGTERM)",
    9009: "command not found",
    0xC0000005: "the command crashed (access violation)",
    0xC000013A: "interrupted, for example by Ctrl-C",
    0xC0000135: "the command needs a DLL that was not found",
    0xC0000142: "the command needs a DLL that could not be started",
}


# What to show for a cancellation without a reason, by the rest of its reason on record (`lifecycle.why_cancelled`).
_WITHOUT_REASON = {
    "": "somebody used queuectl cancel and gave no reason",
    cancel_note("top"): "somebody used queuectl top",
    cancel_note("api"): "a Python program cancelled the job and gave no reason",
}


def write(session: Session, name: str) -> bool:
    """Write the text beside dlq/`name`, a job that has just become dead; return False if that failed.

    Never raises for a problem of the disk or the record, because a job without a text is dead all the same.
    """
    spool = session.spool
    try:
        item = spool.read(DLQ, name).record
        text, is_cancelled = _text(session, name, item), item.standing().is_cancelled
        with spool.temporary("error", seal(text), sync=False) as temporary:
            placed = _place(temporary, spool.error_path(name, cancelled=is_cancelled))
            if not placed:
                disk.unlink(temporary)
        _forget_text(spool.error_path(name, cancelled=not is_cancelled))  # of an earlier end
        return placed
    except (OSError, DamagedRecordError):
        return False


def _place(temporary: str, path: str) -> bool:
    try:
        disk.publish(temporary, path)
    except FileExistsError:
        if not _is_ours(path):
            return False
        disk.replace(temporary, path)  # of an earlier end
    return True


def forget(spool: SpoolDir, name: str) -> bool:
    """Delete the text of a job that has left dlq/; return False if there is no text, or if somebody changed it."""
    if os.path.lexists(spool.path(DLQ, name)):
        return False
    gone = _forget_text(spool.error_path(name))
    return _forget_text(spool.error_path(name, cancelled=True)) or gone


def _forget_text(path: str) -> bool:
    with contextlib.suppress(OSError):
        return _is_ours(path) and disk.unlink(path)
    return False


def orphans(spool: SpoolDir) -> list[str]:
    """Return the names of texts in dlq/ whose job is gone. Lists the folder once."""
    listed = set(spool.names(spool.folder(DLQ)))
    return sorted(name for name in listed if name.endswith(_ENDINGS) and job_file(name) not in listed)


def job_file(name: str) -> str:
    """Return the file name of the job that a text belongs to."""
    return f"{name.removesuffix(CANCELLED_ENDING).removesuffix(ERROR_ENDING)}.json"


def is_ours(spool: SpoolDir, name: str) -> bool:
    """Whether the file dlq/`name` is a text exactly as it was written."""
    try:
        return _is_ours(spool.path(DLQ, name))
    except OSError:
        return False


def _is_ours(path: str) -> bool:
    try:
        data = files.read(path, _MAX_BYTES).data
    except FileNotFoundError:
        return False
    return is_sealed(data)


# ------------------------------------------------------------------------------------------------------ what it says


def _text(session: Session, name: str, item: record.Record) -> str:
    spool = session.spool
    shown = safe(name)
    job_id = name.removesuffix(".json")
    lines = [
        f"Job {safe(job_id)} {how_it_ended(item)}. It stays here until you run it again or delete it.",
        "",
        *_ending(item),
    ]
    lines.append(f"Command:      {_fact(command_text(item.command))}")
    lines += _earlier(item)
    last = item.standing().last
    if last is not None and last.event == UNMET:
        is_dead = bool(spool.holds(last.after, (DLQ,)))
        lines += ["", *_because_of(safe(item.id), safe(last.after), is_dead=is_dead)]
    else:
        lines += ["", *_printed(spool, item), ""]
    taken = taken_file.of(item.history)
    again = f"drag {shown} to {PENDING}/ (or: queuectl retry {safe(item.id)})"
    if taken is not None:
        again = safe(taken.way_back(taken_file.end_of(session.settings.inboxes, item, DLQ)))
    lines += [
        f"To run it again: {again}.",
        f"To delete it:    delete {shown} (or: queuectl dlq purge {safe(item.id)}).",
        f"queuectl deletes this text when {shown} is no longer here.",
        "",
        "",
    ]
    return "\n".join(lines)


def _because_of(job_id: str, parent: str, *, is_dead: bool) -> list[str]:
    """Return what to do about a job that is dead because of a parent."""
    if is_dead:
        lines = [
            f"It waits for {parent}. Run that one again: drag its file to {PENDING}/ (or: queuectl retry {parent}).",
            f"This job follows automatically. Dragged without {parent}, this job is dead again at once.",
        ]
    else:
        lines = [f"It waits for {parent}. It can run again when {parent} is in the spool."]
    return [*lines, f"To run it without its parents: queuectl release {job_id}.", ""]


def how_it_ended(item: record.Record) -> str:
    """Return how a job in dlq/ ended, as the end of a sentence."""
    last = item.standing().last
    if last is not None and last.event == CANCELLED:
        return "was cancelled"
    if last is not None and last.event == EXPIRED:
        return "is dead: it expired before it could start"
    if last is not None and last.event == UNMET:
        return f"is dead: it did not run, because {last.reason}"
    return "is dead: its last run failed and no automatic retry follows"


def account(spool: SpoolDir, item: record.Record) -> list[str]:
    """Return how a job ended and its last output, as lines that are safe to show, without its command."""
    return [*_ending(item), *_earlier(item), "", *_printed(spool, item)]


def _ending(item: record.Record) -> list[str]:
    last = item.standing().last
    if last is None:
        return []
    reason = last.reason
    if last.event == CANCELLED:
        reason = why_cancelled(reason)
        reason = _WITHOUT_REASON.get(reason, reason)
    why = [f"Why:          {_fact(reason)}"] if reason else []
    label = "How it ended:" if last.event in (CANCELLED, EXPIRED, UNMET) else "What failed: "
    return [f"{label} {_run(last)}", f"When:         {safe(last.at[:40])}", *why]


def _run(item: history.Event) -> str:
    """Return how a run ended, in words."""
    head = f"attempt {item.attempt}" if item.attempt else "the job"
    if item.event == TIMED_OUT:
        return f"{head} exceeded its timeout and was ended"
    if item.event == ABANDONED:
        return f"{head} was interrupted before it ended"
    if item.event == CANCELLED:
        return f"{head} was cancelled"
    if item.exit_code is None:
        return f"{head} {safe(item.event[:40])}"
    if item.reason.startswith(exit_status.CANNOT_ENTER):
        return f"{head} did not start, because its working folder (cwd) cannot be entered"
    words = exit_words(item.exit_code)
    return f"{head} ended with exit code {item.exit_code}{f': {words}' if words else ''}"


def exit_words(code: int) -> str:
    """Return what an exit code means by convention, or "" if it has no common meaning."""
    return _EXIT_WORDS.get(code, "")


def _earlier(item: record.Record) -> list[str]:
    """Return the attempts that failed before the end of the job, since it was last enqueued."""
    failed: list[history.Event] = []
    folded = 0
    for event in item.history:
        if event.event in (ENQUEUED, REQUEUED):
            failed.clear()
            folded = 0
        elif event.event == FOLDED:
            failed.clear()
            folded = event.failures
        elif event.event in COUNTED:
            failed.append(event)
    last = item.standing().last
    before = failed[:-1] if last is not None and last.event in COUNTED else failed
    left = folded + max(0, len(before) - _RUNS)
    more = f" (and {left} earlier)" if left else ""
    rows = [f"              {_run(event)}, {safe(event.at[:40])}" for event in before[-_RUNS:]]
    return [f"Before that:{more}", *rows] if rows else []


def _printed(spool: SpoolDir, item: record.Record) -> list[str]:
    """Return the last lines of output of the last run, bounded and safe to show."""
    attempt = item.standing().starts
    try:
        data = files.read_tail(spool.log_path(item.id, attempt), _TAIL_BYTES)
    except OSError:
        return ["It printed nothing."]
    rows = data.decode("utf-8", "replace").rstrip().split("\n")
    if len(data) == _TAIL_BYTES and len(rows) > 1:
        del rows[0]  # its beginning is missing
    shown = [safe(row.rstrip()) for row in rows[-_TAIL_LINES:]]
    head = f"Last lines of its output (all of it is in {LOGS}/{safe(item.id)}.{attempt}.log):"
    return [head, "", *(f"    {_cut(row, _LINE_CHARS)}".rstrip() for row in shown)]


def _fact(text: str) -> str:
    return safe(_cut(text, _FACT_CHARS))


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars - 3]}..."
