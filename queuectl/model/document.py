"""Parses a dropped document: a job, several jobs, incomplete or invalid. Computes on bytes; opens no file.

An object that parses and is a valid job is complete and may run at once. A text that does not parse may still be
incomplete, so its verdict is `Incomplete`; the caller rejects it when it has not changed for long enough.

Accepts UTF-8 (with or without a BOM) and UTF-16 with a BOM. Rejects duplicate keys, NaN and Infinity, and everything
that is neither an object nor an array of objects.
"""

from __future__ import annotations

import codecs
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.model import history, job, lifecycle, record, times
from queuectl.model.job import RetryDefaults

BATCH_MAX_BYTES = 64 * 1024 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NO_JSON = " is not a number of JSON"
# The characters of a blank line.
BLANK = "\0 \t\r"
_TOO_DEEP = (f"it is nested too deeply, more than {job.DEPTH_LIMIT} levels", "a job needs no more than a few levels")


class Incomplete(msgspec.Struct, frozen=True):
    """A text that does not parse: incomplete, or broken. `why` names the place, `hint` what to do if it stays so."""

    why: str
    hint: str = "write the file again, completely"


class Refused(msgspec.Struct, frozen=True):
    """A complete text that cannot become a job: why, and what to do. `raw` is the text of an element of a batch."""

    why: str
    hint: str
    raw: str = ""


class Many(msgspec.Struct, frozen=True):
    """An array or lines: each element is a parsed document, or a Refused for an invalid line."""

    documents: list[dict[str, Any] | Refused]


class Single(msgspec.Struct, frozen=True):
    """One parsed document."""

    document: dict[str, Any]


class Accepted(msgspec.Struct, frozen=True):
    """A job ready to be framed.

    `spec` has an id if the document names one. `history` has the events of the document. `due_at` is the earliest start
    of the new job (None: now), and `delay_s` the delay from which `due_at` was computed.
    """

    spec: dict[str, Any]
    history: list[dict[str, Any]]
    due_at: float | None
    delay_s: float | None
    warnings: list[str]


Document = Incomplete | Refused | Many | Single


class _DuplicateKeyError(ValueError):
    pass


def parse(data: bytes, *, lines: bool) -> Document:
    """Parse the bytes of a dropped file; `lines` means one job per line."""
    try:
        text = _text(data)
    except UnicodeDecodeError as error:
        return Incomplete(f"it is not {error.encoding} text from byte {error.start} on", "save it as UTF-8")
    if lines:
        return _parse_lines(text)
    if not text.strip("\0 \t\r\n"):
        return Incomplete("it is empty" if "\0" not in text else "it contains only NUL bytes")
    try:
        value = _loads(text)
    except _DuplicateKeyError as error:
        return Refused(str(error), "write it once")
    except json.JSONDecodeError as error:
        why, hint = _in_json(error)
        return Incomplete(f"it is not complete JSON: {why} at line {error.lineno} column {error.colno}", hint)
    except RecursionError:
        return Refused(*_TOO_DEEP)
    except ValueError as error:
        return Refused(_not_a_number(error), "write ordinary numbers")
    if isinstance(value, list):
        if not value:
            return Refused("it is an empty array", "put jobs into it, or delete the file")
        return Many([_element(item) for item in value])
    element = _element(value)
    return element if isinstance(element, Refused) else Single(element)


def encoding_of(head: bytes) -> tuple[int, str]:
    """Return the length of the byte order mark (0: none) at the start of a file, and the encoding of its text."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return len(mark), encoding
    return 0, "utf-8"


def _text(data: bytes) -> str:
    mark, encoding = encoding_of(data)
    return data[mark:].decode(encoding)


def _parse_lines(text: str) -> Document:
    documents: list[dict[str, Any] | Refused] = []
    rows = text.split("\n")
    if not is_whole_line(rows[-1]):
        return torn_line(len(rows))
    for number, row in enumerate(rows, 1):
        if (made := line(row, number)) is not None:
            documents.append(made)
    return Many(documents) if documents else Incomplete("it is empty")


def line(row: str, number: int) -> dict[str, Any] | Refused | None:
    """Return the document in a line, a Refused for an invalid line, or None for a blank line."""
    if not row.strip(BLANK):
        return None
    try:
        return _element(_loads(row))
    except RecursionError:
        return Refused(f"line {number}: {_TOO_DEEP[0]}", _TOO_DEEP[1], row)
    except ValueError as error:
        why, hint = str(error), "correct the line"
        if isinstance(error, json.JSONDecodeError):
            why, hint = _in_json(error)
            why += f" at column {error.colno}"
        return Refused(f"line {number} is not valid JSON: {why}", hint, row)


def is_whole_line(row: str) -> bool:
    """Return whether a line is blank or JSON, as the last line of a complete file is."""
    try:
        if row.strip(BLANK):
            _loads(row)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def torn_line(number: int) -> Incomplete:
    """Return the verdict on a file whose last line is incomplete."""
    return Incomplete(f"its last line, {number}, is not complete JSON", "write the rest of the line")


def _in_json(error: json.JSONDecodeError) -> tuple[str, str]:
    from queuectl.model import mistakes  # imported only for an error

    return mistakes.in_json(error)


def _element(value: object) -> dict[str, Any] | Refused:
    if isinstance(value, dict | list) and job.is_deep(value):
        with contextlib.suppress(RecursionError):
            return Refused(*_TOO_DEEP, raw=json.dumps(value, ensure_ascii=True))
        return Refused(*_TOO_DEEP)
    if isinstance(value, dict):
        return value
    kind = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")
    raw = json.dumps(value, ensure_ascii=True)
    return Refused(f"a job is a JSON object {{...}}, and this is {kind}", 'write {"command": "YOUR COMMAND"}', raw)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _DuplicateKeyError(f"the key {twice[:80]!r} occurs twice")
    return made


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text}{_NO_JSON}")


# Creating a decoder takes longer than decoding a usual job.
_loads = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant).decode


def _not_a_number(error: ValueError) -> str:
    """Return the mistake in a number; the parser's own text would name a limit of Python."""
    return str(error) if str(error).endswith(_NO_JSON) else "it contains a number with too many digits"


def accept(
    document: Mapping[str, Any], *, defaults: RetryDefaults, now_at: float, is_framed_next: bool = False
) -> Accepted:
    """Check one document and prepare it for framing. `record.frame` and `record.decode` accept the result.

    With `is_framed_next` that is not checked, because `parse` has made the document, and the caller calls
    `record.frame_checked` before anything else depends on it.

    Raises:
        InvalidJobError: the error names the key and its mistake.
    """
    version = document.get("format", job.FORMAT_VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise InvalidJobError("format: queuectl writes this key; remove it", key="format")
    if version > job.FORMAT_VERSION:
        raise InvalidJobError(
            f"format {version} is from a later queuectl; this version knows format {job.FORMAT_VERSION}",
            key="format",
            hint="update queuectl",
        )
    if not is_framed_next and any(job.is_deep(value) for value in document.values()):
        raise InvalidJobError(_TOO_DEEP[0], hint=_TOO_DEEP[1])
    made = job.normalise(document, defaults=defaults, now_at=now_at)
    events = _history(document["history"]) if "history" in document else []
    if not is_framed_next:
        record.frame_checked({"id": "x", **made.spec}, events)
    return Accepted(made.spec, events, made.due_at, made.delay_s, made.warnings)


def _history(value: object) -> list[dict[str, Any]]:
    try:
        msgspec.convert(value, list[history.Event])
    except msgspec.ValidationError as error:
        hint = "queuectl writes this key; remove it"
        raise InvalidJobError("history: is not a list of events", key="history", hint=hint) from error
    return list(value) if isinstance(value, list) else []


def first_events(taken: Accepted, *, by: str, now_at: float, **facts: Any) -> list[dict[str, Any]]:
    """Return the history of an accepted job: its own, or `enqueued` for a new job, with its warnings.

    A document with a history is one of our records that a person edited, so the job keeps its history.
    """
    events = list(taken.history)
    if not events:
        due = "" if taken.due_at is None else times.to_text(times.round_up(taken.due_at))
        events.append(history.event(lifecycle.ENQUEUED, now_at, by=by, due_at=due, delay_s=taken.delay_s, **facts))
    known = {(item.get("event"), item.get("text")) for item in events}
    events += [
        history.event(lifecycle.WARNING, now_at, text=text)
        for text in taken.warnings
        if (lifecycle.WARNING, text) not in known
    ]
    return events
