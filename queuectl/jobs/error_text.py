"""Write ID.error.txt beside each dead job: why it is dead, what it printed last and what to do.

Beside a job that was cancelled it is ID.cancelled.txt, so that one listing tells how many of the jobs are dead.

The text is a comfort and never a fact: the record is the truth. So it is written after the job has moved, a failure to
write it changes nothing but that count, and nothing reads it. Its last line holds a checksum of the lines above, so
only a text that is exactly as it was written is ever replaced or deleted (P6, P11): a text that a person changed, or a
file that only has such a name, stays.
"""

from __future__ import annotations

import contextlib
import os

from queuectl.errors import DamagedRecordError
from queuectl.model import exit_status, history, record
from queuectl.model.lifecycle import ABANDONED, CANCELLED, COUNTED, DLQ, ENQUEUED, FOLDED, PENDING, REQUEUED, TIMED_OUT
from queuectl.model.seal import is_sealed, seal
from queuectl.model.text import command_text, safe
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import CANCELLED_ENDING, ERROR_ENDING, LOGS
from queuectl.spool.session import Session
from queuectl.system import disk, files

# How much of what others wrote is shown: of a command or reason, of a log, of one of its lines, of the runs.
_FACT_CHARS = 300
_TAIL_BYTES = 8192
_TAIL_LINES = 20
_LINE_CHARS = 200
_RUNS = 5
# All of that together is far below this; a larger file is somebody else's.
_MAX_BYTES = 64 * 1024
_ENDINGS = (ERROR_ENDING, CANCELLED_ENDING)

# Exit codes that mean the same wherever they are seen; 128 + n is signal n, as shells have it.
_EXIT_WORDS = {
    1: "it reported a failure",
    2: "it reported a failure, or was called in a wrong way",
    126: "it was found and could not be started",
    127: "command not found",
    130: "interrupted, as by Ctrl-C",
    134: "it gave up (SIGABRT)",
    137: "killed (SIGKILL), often because memory ran out",
    139: "it crashed (SIGSEGV)",
    143: "asked to end (SIGTERM)",
    9009: "command not found",
    0xC0000005: "it crashed (access violation)",
    0xC000013A: "interrupted, as by Ctrl-C",
    0xC0000135: "a DLL that it needs was not found",
    0xC0000142: "a DLL that it needs could not be started",
}


def write(session: Session, name: str) -> bool:
    """Write the text beside dlq/`name`, a job that has just died; return False if that failed.

    Never raises for a problem of the disk or the record: a job is dead without its text, too.
    """
    spool = session.spool
    try:
        item = spool.read(DLQ, name).record
        text, is_cancelled = _text(spool, name, item), item.standing().is_cancelled
        with spool.temporary("error", seal(text), sync=False) as temporary:
            placed = _place(temporary, spool.error_path(name, cancelled=is_cancelled))
            if not placed:
                disk.unlink(temporary)
        _forget_text(spool.error_path(name, cancelled=not is_cancelled))  # of an end before
        return placed
    except (OSError, DamagedRecordError):
        return False


def _place(temporary: str, path: str) -> bool:
    try:
        disk.publish(temporary, path)
    except FileExistsError:
        if not _is_ours(path):
            return False
        disk.replace(temporary, path)  # of the death before
    return True


def forget(spool: SpoolDir, name: str) -> bool:
    """Delete the text of a job that is no longer in dlq/; return False if there is none, or if it was changed."""
    if os.path.lexists(spool.path(DLQ, name)):
        return False
    gone = _forget_text(spool.error_path(name))
    return _forget_text(spool.error_path(name, cancelled=True)) or gone


def _forget_text(path: str) -> bool:
    with contextlib.suppress(OSError):
        return _is_ours(path) and disk.unlink(path)
    return False


def orphans(spool: SpoolDir) -> list[str]:
    """Return the names of texts in dlq/ without a job; one listing."""
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


def _text(spool: SpoolDir, name: str, item: record.Record) -> str:
    shown = safe(name)
    job_id = name.removesuffix(".json")
    is_cancelled = item.standing().is_cancelled
    end = "was cancelled" if is_cancelled else "is dead"
    lines = [f"{safe(job_id)} {end}: nothing runs it again until somebody asks for that.", "", *_ending(item)]
    lines.append(f"Command:      {_fact(command_text(item.command))}")
    lines += _earlier(item)
    lines += ["", *_printed(spool, item), ""]
    when = "To run it again" if is_cancelled else "When it is put right"
    lines += [
        f"{when}: drag {shown} to {PENDING}/ to try again (or: queuectl dlq retry {safe(item.id)}).",
        f"To forget it, delete {shown}. This text is taken away when that file is gone.",
        "",
        "",
    ]
    return "\n".join(lines)


def account(spool: SpoolDir, item: record.Record) -> list[str]:
    """Return how a job ended and what it printed last, as lines that are safe to show, without its command."""
    return [*_ending(item), *_earlier(item), "", *_printed(spool, item)]


def _ending(item: record.Record) -> list[str]:
    last = item.standing().last
    if last is None:
        return []
    why = [f"Why:          {_fact(last.reason)}"] if last.reason else []
    label = "What was:    " if last.event == CANCELLED else "What failed: "
    return [f"{label} {_run(last)}", f"When:         {safe(last.at[:40])}", *why]


def _run(item: history.Event) -> str:
    """Return how a run ended, in words."""
    head = f"run {item.attempt}" if item.attempt else "it"
    if item.event == TIMED_OUT:
        return f"{head} took too long and was ended"
    if item.event == ABANDONED:
        return f"{head} was cut off before it had ended"
    if item.event == CANCELLED:
        return f"{head} was cancelled"
    if item.exit_code is None:
        return f"{head} {safe(item.event[:40])}"
    if item.reason.startswith(exit_status.CANNOT_ENTER):
        return f"{head} did not start, because its folder cannot be entered"
    words = exit_words(item.exit_code)
    return f"{head} ended with exit code {item.exit_code}{f': {words}' if words else ''}"


def exit_words(code: int) -> str:
    """Return what an exit code means by convention, or "" if it has no common meaning."""
    return _EXIT_WORDS.get(code, "")


def _earlier(item: record.Record) -> list[str]:
    """Return the runs that failed before the last one, since the job was last enqueued."""
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
    before = failed[:-1]
    left = folded + max(0, len(before) - _RUNS)
    more = f" (and {left} before)" if left else ""
    rows = [f"              {_run(event)}, {safe(event.at[:40])}" for event in before[-_RUNS:]]
    return [f"Before that:{more}", *rows] if rows else []


def _printed(spool: SpoolDir, item: record.Record) -> list[str]:
    """Return the last lines that the last run printed, bounded and safe to show."""
    attempt = item.standing().starts
    try:
        data = files.read_tail(spool.log_path(item.id, attempt), _TAIL_BYTES)
    except OSError:
        return ["It printed nothing."]
    rows = data.decode("utf-8", "replace").rstrip().split("\n")
    if len(data) == _TAIL_BYTES and len(rows) > 1:
        del rows[0]  # its beginning is not there
    shown = [safe(row.rstrip()) for row in rows[-_TAIL_LINES:]]
    head = f"The last that it printed ({LOGS}/{safe(item.id)}.{attempt}.log has all of it):"
    return [head, "", *(f"    {_cut(row, _LINE_CHARS)}".rstrip() for row in shown)]


def _fact(text: str) -> str:
    return safe(_cut(text, _FACT_CHARS))


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars - 3]}..."
