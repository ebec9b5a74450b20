"""Defines the keys of a job and checks them. Computes only.

`normalise` converts a parsed document to the specification on disk: it checks known keys, converts durations to
seconds, fills in retry settings, and keeps unknown keys unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.model import extras, names, sizes, spec, times
from queuectl.model.extras import JobSpec
from queuectl.model.spec import SCHEMA_HINT, duration_s, tidy

if TYPE_CHECKING:
    from queuectl.model.queues import Queue

# The formats of a record: 2 if it has a key of `extras`, which an older queuectl must not ignore, else 1.
PLAIN_FORMAT, FORMAT_VERSION = 1, 2
JOB_MAX_BYTES = 1024 * 1024
PRIORITY_LIMIT = spec.PRIORITY_LIMIT
RETRIES_LIMIT = spec.RETRIES_LIMIT
# The most levels of nested objects and arrays. JSON readers and writers support far more on any stack, so an accepted
# job can always be shown.
DEPTH_LIMIT = 64
OWNER_MAX_CHARS = names.OWNER_MAX_CHARS


class RetryDefaults(NamedTuple):
    """The retry settings for a job without its own (delays in seconds)."""

    max_retries: int
    backoff_base: float
    backoff_max_s: float
    jitter: float
    queues: Mapping[str, Queue] = {}
    """What the queues of the settings set instead."""


class Normalised(msgspec.Struct, frozen=True):
    """A valid job: its keys in the order of writing, its first due time, and warnings."""

    spec: dict[str, Any]
    due_at: float | None
    delay_s: float | None
    warnings: list[str]


KNOWN_KEYS = JobSpec.__struct_encode_fields__
_KNOWN = frozenset(KNOWN_KEYS)


def normalise(document: Mapping[str, Any], *, defaults: RetryDefaults, now_at: float) -> Normalised:
    """Check a producer's document and convert it to a specification.

    Args:
        document: parsed JSON of one job. `format` and `history` are ignored here (see `record`).
        defaults: the values for missing retry keys.
        now_at: when `delay` begins.

    Returns:
        The specification, without `format`. If it has an `id`, that is its first key.

    Raises:
        InvalidJobError: the error names every wrong key with its mistake.
    """
    try:
        return _normalise(document, defaults=defaults, now_at=now_at)
    except InvalidJobError as error:
        first = error
    raise _all_mistakes(document, first, defaults=defaults, now_at=now_at)


def _all_mistakes(
    document: Mapping[str, Any], first: InvalidJobError, *, defaults: RetryDefaults, now_at: float
) -> InvalidJobError:
    """Return an error with all mistakes of a document; `first` is the first one."""
    from queuectl.model import mistakes  # imported only for an error

    def alone(keys: Mapping[str, Any]) -> InvalidJobError | None:
        try:
            _normalise({"command": "true", **keys}, defaults=defaults, now_at=now_at)
        except InvalidJobError as error:
            return error
        return None

    given = {key: document[key] for key in KNOWN_KEYS if key in document}
    # A key that is allowed only beside another one is not alone.
    beside = {"unique": "x"} if "unique" in given else {}
    wrong = {
        key: error
        for key, value in given.items()
        if (error := alone({**(beside if key in extras.UNIQUE_TERMS else {}), key: value})) is not None
    }
    found = list(wrong.values()) if "command" in document else [first, *wrong.values()]
    # Valid keys may exclude each other.
    right = {key: value for key, value in given.items() if key not in wrong}
    together = alone({**beside, **right})
    found += [] if together is None else [together]
    if len(found) < 2:
        return found[0] if found else first
    texts = [text for error in found for text in error.mistakes or (str(error),)]
    return InvalidJobError(
        mistakes.in_words(texts), key=found[0].key, hint=SCHEMA_HINT, mistakes=tuple(texts[: mistakes.NAMED_AT_MOST])
    )


def _normalise(document: Mapping[str, Any], *, defaults: RetryDefaults, now_at: float) -> Normalised:
    keys = _convert(document)
    if keys.id is not None and (why := names.why_bad_id(keys.id)):
        raise InvalidJobError(f"id: {keys.id[:120]!r} {why}", key="id", hint="remove the id to get a new one")
    if keys.owner is not None and (why := why_bad_owner(keys.owner)):
        raise InvalidJobError(f"owner: {keys.owner[:60]!r} {why}", key="owner")
    check_texts(keys.command, keys.cwd or "", keys.env or {})
    backoff_max_s = duration_s("backoff_max", keys.backoff_max)
    timeout_s = duration_s("timeout", keys.timeout)
    if timeout_s == 0:
        raise InvalidJobError("timeout: zero would end every attempt at once; remove it for no limit", key="timeout")
    output_max = _output_max(keys.output_max)
    if keys.retry_exit_codes is not None and keys.no_retry_exit_codes is not None:
        raise InvalidJobError(
            "retry_exit_codes and no_retry_exit_codes cannot be combined",
            key="retry_exit_codes",
            hint="remove one: after a code that is not in retry_exit_codes, the job is dead anyway",
        )
    priority = keys.priority
    retries = defaults
    if defaults.queues and (own := defaults.queues.get(keys.queue or extras.DEFAULT_QUEUE)) is not None:
        retries = _of_queue(defaults, own)
        timeout_s = own.timeout if timeout_s is None else timeout_s
        priority = priority if "priority" in document else own.priority
    due_at, delay_s = _due(keys, now_at)
    out: dict[str, Any] = {} if keys.id is None else {"id": keys.id}
    out["command"] = keys.command
    out["max_retries"] = retries.max_retries if keys.max_retries is None else keys.max_retries
    out["backoff_base"] = tidy(retries.backoff_base if keys.backoff_base is None else keys.backoff_base)
    out["backoff_max"] = tidy(retries.backoff_max_s if backoff_max_s is None else backoff_max_s)
    if jitter := retries.jitter if keys.jitter is None else keys.jitter:
        out["jitter"] = tidy(jitter)
    if timeout_s is not None:
        out["timeout"] = tidy(timeout_s)
    if priority:
        out["priority"] = priority
    if keys.run_at is not None:
        out["run_at"] = times.to_text(times.from_text(keys.run_at))
    for key in ("cwd", "env", "tags", "no_retry_exit_codes", "retry_exit_codes", "owner", "meta"):
        if (value := getattr(keys, key)) is not None:
            out[key] = value
    if keys.minimal_env:
        out["minimal_env"] = True
    if output_max is not None:
        out["output_max"] = output_max
    unknown = {key: value for key, value in document.items() if key not in _KNOWN and key not in ("format", "history")}
    if keys.expires_at is not None and "signed_by" in unknown:
        # An older queuectl kept the limit of a job's signature under this key.
        unknown["signed_until"] = keys.expires_at
        keys.expires_at = None
    if not extras.INPUT_KEYS.isdisjoint(document):
        out.update(extras.normalise(keys))
    out.update(unknown)
    if "cron" in unknown or "every" in unknown:
        key = "cron" if "cron" in unknown else "every"
        hint = "put the file into schedules/ of the spool"
        raise InvalidJobError(f"{key}: is for a schedule, which makes jobs again and again", key=key, hint=hint)
    if not unknown and (keys.queue is None or keys.queue in defaults.queues or not defaults.queues):
        return Normalised(out, due_at, delay_s, [])
    from queuectl.model import unknown_keys  # imported only if needed

    warnings = unknown_keys.warnings(unknown, KNOWN_KEYS) if unknown else []
    return Normalised(out, due_at, delay_s, [*warnings, *unknown_keys.queue_warnings(keys.queue, defaults.queues)])


def _of_queue(defaults: RetryDefaults, own: Queue) -> RetryDefaults:
    """Return the defaults with what a queue sets instead."""
    return RetryDefaults(
        defaults.max_retries if own.max_retries is None else own.max_retries,
        defaults.backoff_base if own.backoff_base is None else own.backoff_base,
        defaults.backoff_max_s if own.backoff_max is None else own.backoff_max,
        defaults.jitter if own.jitter is None else own.jitter,
    )


def why_bad_owner(owner: str) -> str:
    """Return the mistake in the name of an owner (a part of file names), as the end of a sentence, or ""."""
    if len(owner) > OWNER_MAX_CHARS:
        return f"is longer than {OWNER_MAX_CHARS} characters"
    return names.why_bad_id(owner)


def is_deep(value: object) -> bool:
    """Return whether arrays and objects are nested deeper than DEPTH_LIMIT."""
    level = [value]
    for _ in range(DEPTH_LIMIT):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _convert(document: Mapping[str, Any]) -> JobSpec:
    if "command" not in document:
        hint = 'add "command": "YOUR COMMAND"'
        from queuectl.model import unknown_keys

        if near := unknown_keys.nearest("command", document):
            hint = f'did you mean "command" instead of "{near}"?'
        raise InvalidJobError("command: is missing", key="command", hint=hint)
    try:
        return msgspec.convert(document, JobSpec)
    except UnicodeEncodeError as error:
        raise InvalidJobError("a key contains half of a surrogate pair, which is not a character") from error
    except msgspec.ValidationError:
        pass
    from queuectl.model import mistakes  # imported only for an error

    found = [
        mistake
        for field in msgspec.structs.fields(JobSpec)
        if field.encode_name in document
        for mistake in mistakes.of_value(field.type, document[field.encode_name], field.encode_name)
    ]
    if not found:
        raise InvalidJobError("it is not an object with texts as keys", hint=SCHEMA_HINT)
    texts = [mistake.text for mistake in found]
    raise InvalidJobError(
        mistakes.in_words(texts),
        key=found[0].place.split("[")[0].split(".")[0],
        hint=found[0].hint if len(found) == 1 and found[0].hint else SCHEMA_HINT,
        mistakes=tuple(texts[: mistakes.NAMED_AT_MOST]),
    )


def check_texts(command: str | list[str], cwd: str, env: Mapping[str, str]) -> None:
    """Check the texts for the operating system beyond their types.

    Raises:
        InvalidJobError: an empty command, a NUL character, an invalid name of a variable.
    """
    words = [command] if isinstance(command, str) else command
    if not words[0].strip():
        raise InvalidJobError("command: is empty", key="command")
    for name in env:
        if not name or "=" in name:
            raise InvalidJobError(f"env: {name[:60]!r} is not a valid name of a variable", key="env")
    if "\0" not in "".join((*words, cwd, *env, *env.values())):
        return
    for key, texts in (("command", words), ("cwd", [cwd]), ("env", [*env, *env.values()])):
        if any("\0" in text for text in texts):
            raise InvalidJobError(f"{key}: contains a NUL character, which no operating system accepts", key=key)


def _output_max(value: int | str | None) -> int | None:
    if value is None:
        return None
    try:
        return sizes.parse(value)
    except ValueError as error:
        raise InvalidJobError(f"output_max: {error}", key="output_max", hint=SCHEMA_HINT) from error


def _due(keys: JobSpec, now_at: float) -> tuple[float | None, float | None]:
    delay_s = duration_s("delay", keys.delay)
    if keys.run_at is None:
        return (now_at + delay_s, delay_s) if delay_s else (None, None)
    if delay_s is not None:
        raise InvalidJobError("delay and run_at cannot be combined", key="delay", hint="remove one of them")
    try:
        due_at = times.from_text(keys.run_at)
    except ValueError as error:
        raise InvalidJobError(
            f"run_at: {keys.run_at[:60]!r} is not an instant: {error}",
            key="run_at",
            hint="write an instant such as 2026-11-24T03:15:00Z",
        ) from error
    return (due_at, None) if due_at > now_at else (None, None)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a job file, for editors: key names, types, ranges, meanings."""
    made = msgspec.json.schema(JobSpec)
    body: dict[str, Any] = made["$defs"]["JobSpec"]
    properties: dict[str, Any] = {"$schema": {"type": "string"}}
    properties["format"] = {
        "enum": [PLAIN_FORMAT, FORMAT_VERSION],
        "description": "Version of the format; written by queuectl.",
    }
    properties.update(body["properties"])
    properties["history"] = {
        "type": "array",
        "items": {"type": "object"},
        "description": "Events of the job; written by queuectl.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "queuectl job",
        "description": "One job for the folder pending/ of a queuectl spool.",
        "type": "object",
        "properties": properties,
        "required": ["command"],
    }


def schema_text() -> str:
    """Return `schema` as the text of a file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
