"""Reads the jobs of `enqueue`, and converts typed text to values of a job."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from datetime import datetime, timedelta
from typing import Any, BinaryIO, TypeVar

from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.errors import InvalidJobError
from queuectl.model import times
from queuectl.model.document import BATCH_MAX_BYTES, Document, Incomplete, Many, Refused, Single, parse
from queuectl.model.extras import STDIN_MAX_BYTES

QUOTING = """shells remove quotes: write the job to a file (queuectl enqueue job.json), pipe it in
(queuectl enqueue -), or avoid JSON: queuectl enqueue --command "echo hello"
or queuectl enqueue -- python x.py"""
_PART_BYTES = 1 << 20
_T = TypeVar("_T")
_PLACE = re.compile(r"line (\d+) column (\d+)")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?")


def from_words(words: list[str]) -> list[dict[str, Any]]:
    """Return the jobs in JSON arguments. An error shows words that a shell split as one text."""
    if len(words) > 1:
        parsed = [parse(_encoded(word), lines=False) for word in words]
        if not any(isinstance(item, Incomplete) for item in parsed):
            return [document for item in parsed for document in _accepted(item, "the job", "", hint="")]
    text = " ".join(words)
    is_torn = len(words) > 1 or not set(text) & set("\"'")
    return _accepted(parse(_encoded(text), lines=False), "the job", text, hint=QUOTING if is_torn else "")


def from_file(path: str) -> list[dict[str, Any]]:
    """Return the jobs in a file: an object, an array, or one object per line (.jsonl)."""
    try:
        with open(path, "rb") as file:
            data = file.read(BATCH_MAX_BYTES + 1)
    except OSError as error:
        raise WrongUsageError(f"cannot read {path}", cause=error.strerror or str(error)) from error
    if len(data) > BATCH_MAX_BYTES:
        raise InvalidJobError(f"{path} is larger than {BATCH_MAX_BYTES} bytes", hint="split it into several files")
    return _from_bytes(data, path, lines=path.lower().endswith(".jsonl"))


def from_stdin() -> list[dict[str, Any]]:
    """Return the jobs on standard input: an object, an array, or one object per line."""
    if printing.is_terminal(sys.stdin):
        printing.message("type the jobs as JSON; end with Ctrl-D (Windows: Ctrl-Z, Enter)")
    data = _all_of(sys.stdin.buffer, BATCH_MAX_BYTES + 1)
    if len(data) > BATCH_MAX_BYTES:
        raise InvalidJobError(
            f"standard input is larger than {BATCH_MAX_BYTES} bytes", hint="split it into several inputs"
        )
    return _from_bytes(data, "standard input", lines=False)


def stdin_text() -> str:
    """Return the text on standard input, for the standard input of a job. Raises WrongUsageError."""
    if printing.is_terminal(sys.stdin):
        printing.message("type the input of the job; end with Ctrl-D (Windows: Ctrl-Z, Enter)")
    data = _all_of(sys.stdin.buffer, STDIN_MAX_BYTES + 1)
    hint = "write it to a file and use --stdin-file"
    if len(data) > STDIN_MAX_BYTES:
        raise WrongUsageError(f"standard input is longer than {STDIN_MAX_BYTES} bytes", hint=hint)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WrongUsageError("standard input is not text in UTF-8", hint=hint) from error


def _all_of(stream: BinaryIO, limit: int) -> bytes:
    """Read a stream to its end, `limit` bytes at most, in parts: a Windows console refuses a large read."""
    parts = []
    while limit > 0:
        parts.append(stream.read(min(limit, _PART_BYTES)))
        limit -= len(parts[-1])
        if len(parts[-1]) < _PART_BYTES:  # the end; a terminal would wait for a second end
            break
    return b"".join(parts)


def _from_bytes(data: bytes, where: str, *, lines: bool) -> list[dict[str, Any]]:
    parsed = parse(data, lines=lines)
    if isinstance(parsed, Incomplete) and not lines and data.count(b"\n") > 0:
        # One document per line is not JSON as a whole. If reading by lines fails too, the first error says more.
        by_line = parse(data, lines=True)
        if isinstance(by_line, Many) and not any(isinstance(item, Refused) for item in by_line.documents):
            parsed = by_line
    return _accepted(parsed, where, data.decode("utf-8", "replace") if not lines else "", hint="")


def _accepted(parsed: Document, where: str, text: str, *, hint: str) -> list[dict[str, Any]]:
    """Return the parsed documents.

    Raises:
        InvalidJobError: the text does not parse, or a part of it is not a job; all of it is refused.
    """
    if isinstance(parsed, Incomplete):
        raise InvalidJobError(f"{where}: {parsed.why}", cause=_place(text, parsed.why), hint=hint or parsed.hint)
    if isinstance(parsed, Refused):
        raise InvalidJobError(f"{where}: {parsed.why}", hint=parsed.hint)
    if isinstance(parsed, Single):
        return [parsed.document]
    documents = []
    for number, item in enumerate(parsed.documents, 1):
        if isinstance(item, Refused):
            raise InvalidJobError(f"{where}, job {number}: {item.why}", hint=item.hint)
        documents.append(item)
    return documents


def _place(text: str, why: str) -> str:
    """Return the text around the place that `why` names, with a mark below it, or "" without a place."""
    from queuectl.model import mistakes  # imported only for an error

    found = _PLACE.search(why)
    return "" if found is None else mistakes.place(text, int(found[1]), int(found[2]))


def _encoded(word: str) -> bytes:
    try:
        return word.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidJobError("the job is not UTF-8 text", hint=QUOTING) from error


def amount(text: str) -> tuple[str, float | str]:
    """Return the name and the amount in NAME=AMOUNT: a number, or a size such as 16GB. Raises WrongUsageError."""
    name, value = pair(text, "--resource")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def pair(text: str, option: str = "--env") -> tuple[str, str]:
    """Split NAME=VALUE. Raises WrongUsageError."""
    name, found, value = text.partition("=")
    if not found or not name:
        hint = f"queuectl enqueue {option} LEVEL=3 ..."
        raise WrongUsageError(f"{option} takes NAME=VALUE, not {text[:60]!r}", hint=hint)
    return name, value


def instant(text: str) -> str:
    """Convert the typed instant of a start to RFC 3339 in UTC, as `_instant_at`."""
    instant_at = _instant_at(text, "--at")
    if instant_at < datetime.now().timestamp():
        printing.warning(f"{text} is in the past; the job can start at once")
    return times.to_text(instant_at)


def latest(text: str) -> dict[str, Any]:
    """Convert a typed limit of a start, a duration or an instant, to a key of a job. Raises WrongUsageError."""
    with contextlib.suppress(ValueError):
        times.parse_duration(text)
        return {"expires_after": text}
    instant_at = _instant_at(text, "--expires")
    if instant_at < datetime.now().timestamp():
        raise WrongUsageError(f"--expires: {text[:60]} is in the past, so the job would never start")
    return {"expires_at": times.to_text(instant_at)}


def _instant_at(text: str, option: str) -> float:
    """Return a typed instant; it has a zone, is local time, or is the next such time of day. Raises WrongUsageError."""
    given = text.strip()
    now = datetime.now()
    try:
        if clock := _CLOCK.fullmatch(given):
            hour, minute, second = (int(part or 0) for part in clock.groups())
            moment = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
            if moment <= now:
                moment += timedelta(days=1)
        else:
            moment = datetime.fromisoformat(given)
        instant_at = moment.timestamp()
    except (ValueError, OverflowError, OSError):
        instant_at = -1.0
    if not 0 <= instant_at <= times.LATEST_AT:
        raise WrongUsageError(
            f"{option}: {text[:60]!r} is not {'a duration or ' * (option != '--at')}a time from 1970 to 9999",
            hint='write 03:15, "2026-11-24 03:15" (local time) or 2026-11-24T03:15:00Z',
        )
    return instant_at


def as_utf8(value: _T) -> _T:
    """Decode typed texts in a value as UTF-8, also in a locale that is not UTF-8 (`LANG=C`)."""
    if sys.getfilesystemencoding() == "utf-8":
        return value
    made: Any = value
    if isinstance(value, str):
        with contextlib.suppress(UnicodeError):
            made = os.fsencode(value).decode()
    elif isinstance(value, dict):
        made = {as_utf8(key): as_utf8(each) for key, each in value.items()}
    elif isinstance(value, list):
        made = list(map(as_utf8, value))
    checked: _T = made
    return checked


def parents(done: list[str], ended: list[str], dead: list[str]) -> list[str | dict[str, str]]:
    """Return the key `after` for the ids of jobs that must succeed, end in either way, or be dead."""
    made: list[str | dict[str, str]] = [*done]
    made += [{"id": job_id, "when": "ended"} for job_id in ended]
    return made + [{"id": job_id, "when": "dead"} for job_id in dead]
