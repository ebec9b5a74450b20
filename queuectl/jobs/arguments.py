"""Convert the values that a Python program passes to the library into those of a job file, and ids into what it gets.

A path may be any `os.PathLike`. An instant may be seconds since 1970 UTC or a `datetime` with a time zone. A value of
the wrong type raises InvalidJobError in a job and TypeError elsewhere; the message names the expected type.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from queuectl.errors import InvalidJobError
from queuectl.model import names, times
from queuectl.model.spec import OnDuplicate, Until


class JobId(str):
    """The id of a job, as `Spool.enqueue` returns it.

    If a job with the same unique key is there already, nothing was added: `added` is False, the text is the id of that
    job, and `reason` says what it does.
    """

    added: bool = True
    reason: str = ""


def present(job_id: str, reason: str) -> JobId:
    """Return the id of a job that is there already."""
    made = JobId(job_id)
    made.added, made.reason = False, reason
    return made


class JobKeys(TypedDict, total=False):
    """The keys of a job that `Spool.enqueue` takes as arguments; None counts as left out."""

    id: str | None
    max_retries: int | None
    backoff_base: float | None
    backoff_max: float | str | None
    jitter: float | None
    timeout: float | str | None
    priority: int | None
    run_at: str | float | datetime | None
    delay: float | str | None
    env: Mapping[str, str | os.PathLike[str]] | None
    tags: Sequence[str] | None
    no_retry_exit_codes: Sequence[int] | None
    owner: str | None
    queue: str | None
    key: str | None
    unique: str | bool | None
    unique_until: Until | None
    unique_for: float | str | None
    on_duplicate: OnDuplicate | None
    retry_exit_codes: Sequence[int] | None
    output_max: int | str | None
    minimal_env: bool | None
    meta: Mapping[str, Any] | None
    stdin: str | None
    stdin_file: str | os.PathLike[str] | None
    snooze_exit_codes: Sequence[int] | None
    snooze_max: float | str | None
    give_up_after: float | str | None
    expires_at: str | float | datetime | None
    expires_after: float | str | None
    after: str | Mapping[str, str] | Sequence[str | Mapping[str, str]] | None
    resources: Mapping[str, float | str] | None


def refuse_unknown(given: Mapping[str, object]) -> None:
    """Raise TypeError, as Python does, for an argument that is not a key of `JobKeys`."""
    for name in given:
        if name not in JobKeys.__annotations__:
            raise TypeError(f"Spool.enqueue() got an unexpected keyword argument {name!r}")


def text(name: str, value: object) -> str:
    """Return `value` unchanged if it is a string.

    Raises:
        TypeError: any other type; the message names the argument `name`.
    """
    if isinstance(value, str):
        return value
    raise TypeError(f"{name}: expected a string, not {_kind(value)}")


def folder(name: str, value: object) -> str | os.PathLike[str]:
    """Return `value` unchanged if it is a path.

    Raises:
        TypeError: `value` is neither a string nor an `os.PathLike` of one.
    """
    if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str):
        return value
    raise TypeError(f"{name}: expected a string or a path, not {_kind(value)}")


def queue(value: object) -> str:
    """Return `value` unchanged if it is the name of a queue, or "".

    Raises:
        TypeError: `value` is not a string.
        ValueError: no queue can have that name.
    """
    found = text("queue", value)
    if found and (why := names.why_bad_queue(found)):
        raise ValueError(f"queue: {found[:60]!r} {why}")
    return found


def instant(name: str, value: object) -> float:
    """Return an instant in seconds since 1970 UTC.

    Raises:
        TypeError: `value` is neither a number nor a `datetime`.
        ValueError: a `datetime` without a time zone, or an instant outside the years 1970 to 9999.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name}: the datetime has no time zone; use datetime.now(UTC) or .astimezone()")
        value = value.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: expected a datetime or seconds since 1970 UTC, not {_kind(value)}")
    if not math.isfinite(value) or not 0 <= value <= times.LATEST_AT:
        raise ValueError(f"{name}: the instant is outside the years 1970 to 9999")
    return float(value)


def duration(name: str, value: object) -> float:
    """Return the seconds of a duration: a number of them, or a text such as `30s` or `10m`.

    Raises:
        TypeError: `value` is neither a number nor a string.
        ValueError: `value` is not a duration.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{name}: expected a number of seconds or a text such as 10m, not {_kind(value)}")
    try:
        return times.parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def document(given: object) -> Mapping[str, Any]:
    """Return the document of one job, its paths and instants converted to those of a job file. `given` stays unchanged.

    Raises:
        InvalidJobError: a value has a type that a job file cannot hold for this key; the message names the key.
    """
    if not isinstance(given, Mapping):
        raise InvalidJobError(f"expected a mapping with the keys of a job, not {_kind(given)}")
    changed: dict[str, Any] = {}
    for key, value in given.items():
        if type(value) is str or (value is None and key != "command"):
            continue  # the usual case; it must be cheap, because one call may pass thousands of jobs
        if not isinstance(key, str):
            raise InvalidJobError(f"expected strings as the keys of a job, not {_kind(key)}")
        convert = _CONVERTERS.get(key)
        if convert is not None and (made := convert(key, value)) is not value:
            changed[key] = made
    return {**given, **changed} if changed else given


def _command(key: str, value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return [_path(key, value)]  # a path is a program, never a text for the shell
    if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes | bytearray | set | frozenset):
        raise InvalidJobError(f"command: expected a string, a path or a list of these, not {_kind(value)}", key=key)
    return [_path(key, word) for word in value]


def _path(key: str, value: object) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str | os.PathLike):
        made = os.fspath(value)
        return made if isinstance(made, str) else os.fsdecode(made)
    raise InvalidJobError(f"{key}: expected strings and paths, not {_kind(value)}", key=key)


def _variables(key: str, value: object) -> object:
    return {name: _path(key, item) for name, item in _mapping(key, value).items()}


def _mapping(key: str, value: object) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise InvalidJobError(f"{key}: expected a mapping, not {_kind(value)}", key=key)
    if not all(isinstance(name, str) for name in value):
        raise InvalidJobError(f"{key}: expected strings as names", key=key)
    return value if isinstance(value, dict) else dict(value)


def _list(key: str, value: object) -> object:
    return value if isinstance(value, list) else list(_iterable(key, value))


def _iterable(key: str, value: object) -> Iterable[object]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | bytearray | Mapping):
        raise InvalidJobError(f"{key}: expected a list, not {_kind(value)}", key=key)
    return value


def _instant(key: str, value: object) -> object:
    if isinstance(value, str):
        return value
    try:
        return times.to_text(times.round_up(instant(key, value)))
    except (TypeError, ValueError) as error:
        raise InvalidJobError(str(error), key=key) from error


def _parents(key: str, value: object) -> object:
    if isinstance(value, str | Mapping):
        return value
    return [dict(each) if isinstance(each, Mapping) else each for each in _iterable(key, value)]


_CONVERTERS = {
    "after": _parents,
    "command": _command,
    "cwd": _path,
    "env": _variables,
    "meta": _mapping,
    "resources": _mapping,
    "run_at": _instant,
    "expires_at": _instant,
    "tags": _list,
    "no_retry_exit_codes": _list,
    "stdin_file": _path,
    "snooze_exit_codes": _list,
    "retry_exit_codes": _list,
}


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def working_folder(given: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    """Return the absolute folder that a job of `Spool.enqueue` runs in: `given`, else the current one."""
    try:
        if given is None:
            return os.getcwd()
        # A value that cannot be a folder is refused later, together with all other arguments.
        return os.path.abspath(os.fspath(given)) if isinstance(given, str | os.PathLike) and given else given
    except FileNotFoundError as error:
        hint = "pass a folder: cwd=..."
        raise InvalidJobError("the current folder of this process no longer exists", key="cwd", hint=hint) from error
