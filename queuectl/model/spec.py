"""Defines the keys of a job that every version of queuectl knows: their types, ranges and descriptions.

`extras` adds the keys of format 2, and `job` checks a document against both.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from queuectl.errors import InvalidJobError
from queuectl.model import sizes, times

PRIORITY_LIMIT = 999_999
RETRIES_LIMIT = 1_000_000

SCHEMA_HINT = "to see the allowed values: queuectl schema job"

Duration = float | str
# The allowed values of a key, for its error.
SECONDS = {"takes": "seconds or a text such as 30s, 5m, 2h, 1d"}


Until = Literal["started", "ended", "deleted"]
"""Until when a job holds its unique key (`unique_until`)."""
UNTIL_STARTED, UNTIL_ENDED, UNTIL_DELETED = "started", "ended", "deleted"
OnDuplicate = Literal["skip", "replace"]
REPLACE = "replace"
ParentValue = str | int | list[str | int]
PARENTS_EXPECTED = 'an id, {"id": "ID", "when": "done"}, or a list of these'


class Parent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parent, and what must have become of it; in a record also a range of them (`members`), which has no id."""

    id: str = ""
    when: Literal["done", "ended", "dead", "over"] = "done"
    batch: str = ""
    count: int = 0
    left_out: tuple[int, ...] = msgspec.field(default=(), name="except")
    refs: tuple[str, ...] = ()


Recorded = tuple[str | Parent, ...]
"""The key `after` of a record: an id stands for a parent that must succeed."""


class PlainSpec(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The keys of format 1. Only `command` is required; unknown keys are kept and ignored."""

    command: Annotated[
        Annotated[str, Meta(min_length=1)] | Annotated[list[str], Meta(min_length=1)],
        Meta(
            description="Command to run: a string goes to the shell, a list of strings starts without a shell.",
            examples=["echo Hello World", ["python3", "resize.py", "my photo.jpg"]],
            extra={"takes": "a text (for the shell) or a list of texts"},
        ),
    ]
    id: Annotated[
        str | None,
        Meta(
            description="Unique name of the job, ignoring case. Default: the file's name, or a new id.",
            examples=["job1"],
        ),
    ] = None
    max_retries: Annotated[
        Annotated[int, Meta(ge=0, le=RETRIES_LIMIT)] | None,
        Meta(description="Maximum number of retries; 3 means four attempts, 0 means dead after the first failure."),
    ] = None
    backoff_base: Annotated[
        Annotated[float, Meta(ge=0, le=1e6)] | None,
        Meta(description="After failure n, the job waits for backoff_base ** n seconds."),
    ] = None
    backoff_max: Annotated[
        Duration | None,
        Meta(description="Longest delay between two attempts: seconds or 30s, 5m, 2h, 1d.", extra=SECONDS),
    ] = None
    jitter: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="Randomise each delay by up to this fraction (0 to 1); 0 is exact."),
    ] = None
    timeout: Annotated[
        Duration | None,
        Meta(
            description="Time limit of an attempt; after it the whole process tree is ended. Seconds or 5m, 2h.",
            extra=SECONDS,
        ),
    ] = None
    priority: Annotated[
        Annotated[int, Meta(ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)],
        Meta(description="Jobs with a higher priority run first."),
    ] = 0
    run_at: Annotated[
        str | None,
        Meta(
            description="Earliest start: an instant in RFC 3339 with a time zone.",
            examples=["2026-11-24T03:15:00Z"],
            extra={"takes": "a text such as 2026-11-24T03:15:00Z"},
        ),
    ] = None
    delay: Annotated[
        Duration | None,
        Meta(
            description="Delay the start by this long after the job is accepted: seconds or 30s, 5m, 2h.",
            extra=SECONDS,
        ),
    ] = None
    cwd: Annotated[
        str | None, Meta(description="Folder in which the command runs. Default: where the pool was started.")
    ] = None
    env: Annotated[dict[str, str] | None, Meta(description="Variables added to the worker's environment.")] = None
    tags: Annotated[list[str] | None, Meta(description="Words to select the job by.")] = None
    no_retry_exit_codes: Annotated[
        list[Annotated[int, Meta(ge=-(2**31), lt=2**32)]] | None,
        Meta(description="Exit codes after which the job is dead at once."),
    ] = None
    retry_exit_codes: Annotated[
        Annotated[list[Annotated[int, Meta(ge=-(2**31), lt=2**32)]], Meta(min_length=1)] | None,
        Meta(description="The only exit codes after which the job is retried; excludes no_retry_exit_codes."),
    ] = None
    output_max: Annotated[
        int | str | None,
        Meta(
            description="Output limit of an attempt: bytes or 500K, 100M, 1G. "
            "An attempt that prints more is ended and fails.",
            extra={"takes": sizes.EXPECTED},
        ),
    ] = None
    owner: Annotated[
        str | None,
        Meta(
            description="Owner of the job. Owners take turns, so that a thousand jobs of one do not block another.",
            examples=["anna"],
        ),
    ] = None
    minimal_env: Annotated[
        bool,
        Meta(description="Whether the command gets only the most necessary of the worker's variables, and env."),
    ] = False
    meta: Annotated[
        dict[str, Any] | None,
        Meta(description="Your own data: kept and shown.", examples=[{"customer": 4711}]),
    ] = None


def duration_s(key: str, value: Duration | None) -> float | None:
    """Return the duration under a key in seconds.

    Raises:
        InvalidJobError: it is not a duration; the error names the key.
    """
    if value is None:
        return None
    try:
        return times.parse_duration(value)
    except ValueError as error:
        raise InvalidJobError(f"{key}: {error}", key=key, hint=SCHEMA_HINT) from error


def tidy(number: float) -> float | int:
    """Return 2.0 as 2, as a person would type it."""
    return int(number) if number == int(number) else number
