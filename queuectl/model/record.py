"""Encodes and decodes the job record: a JSON document that only grows at its end. Computes on bytes; opens no file.

The record has the specification, one key per line, then `history`, one event per line, then the closing:

    {
     "format": 1,
     "id": "job1",
     "command": "echo Hello World",
     ...
     "history": [
      {"at": "2026-11-24T03:15:00.120Z", "event": "enqueued", "by": "enqueue"}
     ]
    }

One write over the closing adds an event and a new closing (`append`). So a record is complete JSON between writes, a
job keeps its inode, and an interrupted write is visible: `repair` cuts back to the last complete event (promise P4).
JSON texts have no raw line feed, so each line is one event.

`folding` limits the history of a job that runs very often.

To change the format: raise FORMAT_VERSION in `job`, keep reading the old one, add an old record to
tests/compat/, edit FORMAT.md.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.model import extras, history, job, lifecycle, names, sizes, times
from queuectl.model.extras import Extras
from queuectl.model.history import Event, Standing
from queuectl.model.job import FORMAT_VERSION, PLAIN_FORMAT, PRIORITY_LIMIT, RETRIES_LIMIT
from queuectl.model.lifecycle import FOLDED

if TYPE_CHECKING:
    from queuectl.model import parents

CLOSING = b"\n ]\n}\n"
OPENINGS = tuple(b'{\n "format": %d,\n "id": "' % version for version in range(PLAIN_FORMAT, FORMAT_VERSION + 1))
OPENING_BYTES = len(OPENINGS[0])
"""The length of every opening."""
HISTORY = b'\n "history": ['
_EVENT = b"\n  {"
_KEY = re.compile(rb' ("(?:[^"\\]|\\.)*"): ')

# Events as `append` writes them if no text needs an escape and no number an exponent: one per line, without nesting.
# Only for short histories: the match takes 2 KB of memory per event.
_USUAL_PART_BYTES = 4096
_PLAIN_EVENTS = re.compile(
    rb"""(?:\n\ \ \{"at":\ "[0-9TZ:.-]*"
        (?:,\ "[a-z_]+":\ (?:"[ !#-\[\]-~]*"|-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,15})?))*
    \},?)*""",
    re.VERBOSE,
)

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_encode_text = json.encoder.encode_basestring
_TEXTS = {str}
_encode_fast = msgspec.json.Encoder().encode


class Record(msgspec.Struct):
    """A framed record, as far as queuectl uses it (unknown keys stay in the file's bytes).

    The ranges are those of `job.JobSpec`. A value outside of them is not from queuectl, so the file is judged like a
    drop.
    """

    format: int
    id: str
    command: Annotated[str, Meta(min_length=1)] | Annotated[list[str], Meta(min_length=1)]
    max_retries: Annotated[int, Meta(ge=0, le=RETRIES_LIMIT)]
    backoff_base: Annotated[float, Meta(ge=0, le=1e6)]
    backoff_max: Annotated[float, Meta(ge=0, le=times.LONGEST_S)]
    history: list[Event]
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.0
    timeout: Annotated[float, Meta(gt=0, le=times.LONGEST_S)] | None = None
    priority: Annotated[int, Meta(ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)] = 0
    run_at: str = ""
    cwd: str = ""
    env: dict[str, str] = {}
    tags: list[str] = []
    owner: str = ""
    minimal_env: bool = False
    no_retry_exit_codes: list[int] = []
    retry_exit_codes: list[int] | None = None
    output_max: Annotated[int, Meta(ge=1, le=sizes.LARGEST)] | None = None
    # `decode` always replaces it, so a key of this name in a file has no effect.
    extras: Extras = msgspec.field(default=extras.PLAIN, name="keys of format 2")
    """The keys of format 2; all absent in a record of format 1."""

    @property
    def place(self) -> tuple[str, str, str]:
        """The queue ("": the default queue), and the key and the needs as names have them ("": none)."""
        return extras.place_of(self.extras.queue, self.extras.key, self.extras.resources)

    @property
    def blocked(self) -> parents.Progress | None:
        """How far the job is with its parents; None if it has none, or need not ask them any more."""
        if not self.extras.after:
            return None
        from queuectl.model import parents  # few jobs have any

        return parents.progress(self.extras.after, self.history)

    @property
    def policy(self) -> lifecycle.Policy:
        """The job's retry rules."""
        return lifecycle.Policy(
            self.max_retries,
            self.backoff_base,
            self.backoff_max,
            self.jitter,
            tuple(self.no_retry_exit_codes),
            None if self.retry_exit_codes is None else tuple(self.retry_exit_codes),
        )

    def standing(self) -> Standing:
        """Return the standing of the job."""
        return history.standing(self.history)


class Tail(NamedTuple):
    """A write to the end of a record, over its closing."""

    size: int
    """The size of the record, in bytes."""
    offset: int
    """The offset of the write, in bytes."""
    data: bytes

    def on(self, data: bytes) -> bytes:
        """Return the record `data` after the write."""
        return data[: self.offset] + self.data


_decoder = msgspec.json.Decoder(Record)
_extras_decoder = msgspec.json.Decoder(Extras)


def frame(spec: dict[str, Any], events: list[dict[str, Any]]) -> bytes:
    """Return the bytes of a new record: `spec` with its id, and the events so far.

    Raises:
        InvalidJobError: a value that JSON in UTF-8 cannot hold (a lone surrogate, an infinite number, an object).
    """
    try:
        lines = [f' "format": {_format_of(spec)}', f' "id": {_encode(spec["id"])}']
        for key, value in spec.items():
            if key != "id":
                lines.append(f" {_encode_text(key)}: {_value(value)}")
        body = ",\n".join(lines)
        history = ",".join([f"\n  {_encode(event)}" for event in events])
        return f'{{\n{body},\n "history": [{history}'.encode() + CLOSING
    except UnicodeEncodeError as error:
        raise InvalidJobError("a text contains half of a surrogate pair, which is not a character") from error
    except TypeError as error:
        key = next(key for key, value in spec.items() if not _has_form(value))
        raise InvalidJobError(
            f"{key}: contains a value that JSON cannot express",
            key=key,
            hint="use strings, numbers, true, false, null, lists and mappings with strings as names",
        ) from error
    except ValueError as error:
        raise InvalidJobError("a number is too large for JSON readers") from error
    except RecursionError as error:
        raise InvalidJobError("the job is nested too deeply") from error


def _value(value: Any) -> str:
    """Return the JSON of a value. Most are of few types, for which the encoder takes many times as long."""
    kind = type(value)
    if kind is str:
        return _encode_text(value)
    if kind is int:
        return str(value)
    if kind is list and set(map(type, value)) == _TEXTS:
        return f"[{', '.join(map(_encode_text, value))}]"
    return _encode(value)


def frame_checked(spec: dict[str, Any], events: list[dict[str, Any]]) -> tuple[bytes, Record]:
    """Return the bytes of a new record, and the record that they decode to.

    Raises:
        InvalidJobError: as `frame`, or a value that `decode` refuses.
    """
    data = frame(spec, events)
    try:
        return data, decode(data)
    except DamagedRecordError as error:
        raise InvalidJobError(f"it cannot be kept as a record: {error.cause}") from error


def _format_of(keys: Iterable[str]) -> int:
    """Return the format of a record with these keys."""
    return PLAIN_FORMAT if extras.KEYS.isdisjoint(keys) else FORMAT_VERSION


def _has_form(value: object) -> bool:
    try:
        _encode(value)
    except TypeError:
        return False
    return True


def is_framed(data: bytes) -> bool:
    """Return whether `data` has our framing from end to end, so that events may be appended to it."""
    if not (data.startswith(OPENINGS) and data.endswith(CLOSING)):
        return False
    history_at = data.rfind(HISTORY)
    if history_at < 0:
        return False
    start, end = history_at + len(HISTORY), len(data) - len(CLOSING)
    if start == end:
        return True
    return data.startswith(_EVENT, start) and data.count(b"\n", start, end) == data.count(_EVENT, start, end)


def decode(data: bytes, *, path: str = "") -> Record:
    """Return the record in framed bytes.

    Raises:
        DamagedRecordError: not JSON, or a key of queuectl has a type or a value that queuectl never writes.
    """
    try:
        item = _decoder.decode(data)
        item.extras = extras.PLAIN if item.format == PLAIN_FORMAT else _extras_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        from queuectl.model import mistakes  # imported only for an error

        cause = mistakes.in_document(Record, data)
        raise DamagedRecordError(f"{path or 'the record'} cannot be read", path=path, cause=cause) from error
    # The id, the owner and the parents become parts of paths.
    if why := names.why_bad_id(item.id):
        raise DamagedRecordError(f"{path or 'the record'} cannot be read", path=path, cause=f"its id {why}")
    if item.owner and (why := job.why_bad_owner(item.owner)):
        raise DamagedRecordError(f"{path or 'the record'} cannot be read", path=path, cause=f"its owner {why}")
    if item.extras.after:
        from queuectl.model import parents  # few jobs have any

        if why := parents.why_bad(item.extras.after):
            raise DamagedRecordError(f"{path or 'the record'} cannot be read", path=path, cause=f"its key after {why}")
    return item


def is_record(data: bytes) -> bool:
    """Return whether bytes have our framing and decode as a record."""
    if not is_framed(data):
        return False
    try:
        decode(data)
    except DamagedRecordError:
        return False
    return True


def exact(data: bytes) -> Record | None:
    """Return the record in the bytes if only `frame` and `append` can have written them, else None.

    `is_framed` and `decode` also accept bytes that a drop must not have, or that have two meanings: a key twice, two
    keys on one line, text that is not UTF-8, values nested too deeply, a line of the history that is not an event, a
    command that no system can start, a key of another format. This function rejects them.
    """
    if not is_framed(data):
        return None
    history_at = data.rfind(HISTORY)
    try:
        item = decode(data)
        job.check_texts(item.command, item.cwd, item.env)
        if item.retry_exit_codes is not None and (item.no_retry_exit_codes or not item.retry_exit_codes):
            return None
        id_line = b'%s",\n' % item.id.encode()
        if not data.startswith(id_line, OPENING_BYTES):
            return None
        keys = {"format", "id", "history"}
        for line in _lines(data, OPENING_BYTES + len(id_line) - 1, history_at):
            key = _key_of_usual(line) if len(line) <= _USUAL_BYTES else _key_of(line)
            if key is None or key in keys:
                return None
            keys.add(key)
        if item.format != _format_of(keys) or (item.extras is not extras.PLAIN and not extras.is_sound(item.extras)):
            return None
        start, end = history_at + len(HISTORY), len(data) - len(CLOSING)
        is_plain = end - start <= _USUAL_PART_BYTES and _PLAIN_EVENTS.fullmatch(data, start, end)
        if not is_plain and any(
            job.is_deep(msgspec.json.decode(line.removesuffix(b","))) for line in _lines(data, start, end)
        ):
            return None
    except (DamagedRecordError, InvalidJobError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return item


def _key_of(line: bytes) -> str | None:
    """Return the key of a line with one key, its value and a comma, or None for any other line.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: it is not JSON.
    """
    match = _KEY.match(line)
    if match is None or not line.endswith(b",") or job.is_deep(msgspec.json.decode(line[match.end() : -1])):
        return None
    key: str = msgspec.json.decode(match[1])
    return key


# Most lines of a job are the same as in the previous job: this saves 15 us per record.
_USUAL_BYTES = 100
_key_of_usual = functools.lru_cache(maxsize=256)(_key_of)


def _lines(data: bytes, start: int, end: int) -> Iterable[bytes]:
    """Return the lines of a part that begins with a line feed, without copying a large part."""
    if end - start <= _USUAL_PART_BYTES:
        return data[start + 1 : end].split(b"\n") if start < end else ()
    return lines_between(data, start, end)


def lines_between(data: bytes, start: int, end: int) -> Iterator[bytes]:
    """Yield the lines of a part that begins with a line feed, one by one."""
    while start < end:
        after = data.find(b"\n", start + 1, end)
        after = end if after < 0 else after
        yield data[start + 1 : after]
        start = after


def append(size: int, events: list[dict[str, Any]], *, empty: bool = False) -> Tail:
    """Return the write that adds events to a framed record of `size` bytes.

    `empty` means that the history has no event yet, so no comma precedes the first event.
    """
    text, joint = b"", b"" if empty else b","
    for item in events:
        text += joint + b"\n  " + encode_event(item)
        joint = b","
    return Tail(size, size - len(CLOSING), text + CLOSING)


def encode_event(item: dict[str, Any]) -> bytes:
    """Return an event on one line, with spaces after commas and colons. Half of a surrogate pair becomes `?`."""
    try:
        return msgspec.json.format(_encode_fast(item), indent=0)
    except (UnicodeEncodeError, TypeError, OverflowError):
        return _encode(item).encode("utf-8", "replace")


def repair(data: bytes) -> bytes | None:
    """Return a torn record cut back to its last complete event, with a new closing (see `loses_events`).

    Returns None if `data` was never one of our records up to the history, or if it is complete with more bytes after
    its closing: then it is not torn.
    """
    if not data.startswith(OPENINGS):
        return None
    history_at = data.find(HISTORY)
    if history_at < 0:
        return None
    head_end = history_at + len(HISTORY)
    kept: list[bytes] = []
    for line in data[head_end:].split(b"\n")[1:]:
        # The comma before the next event, or the rest of a torn write, may follow an event.
        text = line.strip().rstrip(b"\0 ,]")
        if not _is_event(text):
            break
        kept.append(b"\n  " + text)
    whole = data[:head_end] + b",".join(kept) + CLOSING
    if data.startswith(whole) and data[len(whole) :].strip(b"\0 \t\r\n"):
        return None
    try:
        whole.decode()
        decode(whole)
    except (UnicodeDecodeError, DamagedRecordError):
        return None
    return whole


def loses_events(data: bytes, whole: bytes) -> bool:
    """Return whether `whole`, the repair of `data`, lacks events that are complete after the damage."""
    return any(_is_event(line.strip().rstrip(b",")) for line in data[len(whole) - len(CLOSING) :].split(b"\n"))


def _is_event(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=Event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def is_earlier(data: bytes, later: bytes) -> bool:
    """Return whether `data` is the record `later` at the same or an earlier point of its life, also before a fold."""
    head = data[: -len(CLOSING)]
    if data == later or (later.startswith(head) and later[len(head) :].startswith((b",\n  {", b"\n  {"))):
        return True
    try:
        old, new = decode(data).history, decode(later).history
    except DamagedRecordError:
        return False
    fold_at = next((event.at for event in new if event.event == FOLDED), "")
    spec_end, later_end = data.rfind(HISTORY), later.rfind(HISTORY)
    is_same_job = data[:spec_end] == later[:later_end] and old[:1] == new[:1]
    return bool(fold_at and old) and is_same_job and (old[-1].at <= fold_at or old[-1] in new)
