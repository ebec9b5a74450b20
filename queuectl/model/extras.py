"""Defines the keys of format 2, which an older queuectl must not ignore, because they decide whether a job may run.

A record with one of these keys has `"format": 2`, so an older queuectl refuses it instead of running it otherwise.
A record with none of them stays in format 1, byte for byte.

To add a key: a field of `JobSpec` (what a producer writes), a field of `Extras` (what the record holds), its check in
`normalise`, and a row in FORMAT.md, section 3.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from queuectl.errors import InvalidJobError
from queuectl.model import names, times
from queuectl.model.spec import (
    PARENTS_EXPECTED,
    SECONDS,
    Duration,
    OnDuplicate,
    ParentValue,
    PlainSpec,
    Recorded,
    Until,
    duration_s,
    tidy,
)

DEFAULT_QUEUE = "default"
"""The queue of a job without the key `queue`."""
KEY_MAX_CHARS = 200
STDIN_MAX_BYTES = 512 * 1024


class JobSpec(PlainSpec, kw_only=True, omit_defaults=True):
    """The keys that a producer may set. Only `command` is required; unknown keys are kept and ignored."""

    queue: Annotated[
        str | None,
        Meta(
            description="Queue of the job. queuectl.toml sets the limits of a queue in [queues.NAME].",
            examples=["mail"],
        ),
    ] = None
    key: Annotated[
        Annotated[str, Meta(min_length=1, max_length=KEY_MAX_CHARS)] | None,
        Meta(
            description="Of the jobs in a queue that have the same key, at most per_key (default: 1) run at once.",
            examples=["customer-4711"],
            extra={"takes": f"a text of 1 to {KEY_MAX_CHARS} characters"},
        ),
    ] = None
    unique: Annotated[
        bool | str | None,
        Meta(
            description="Unique key: at most one job with it waits. true: a key made of what the job runs.",
            examples=["rebuild", True],
            extra={"takes": f"a text of 1 to {KEY_MAX_CHARS} characters, or true"},
        ),
    ] = None
    unique_until: Annotated[
        Until | None,
        Meta(
            description="Whether the job holds its unique key until it has started, ended, or its record is deleted.",
            extra={"takes": "started, ended or deleted"},
        ),
    ] = None
    unique_for: Annotated[
        Duration | None,
        Meta(
            description="Hold the unique key at least this long from when the job was accepted: seconds or 10m, 1d.",
            extra=SECONDS,
        ),
    ] = None
    on_duplicate: Annotated[
        OnDuplicate | None,
        Meta(
            description="If a job with the unique key waits: skip this job, or replace the one that waits.",
            extra={"takes": "skip or replace"},
        ),
    ] = None
    stdin: Annotated[
        str | None,
        Meta(description="Text for the standard input of the command, at most 512 KiB. Default: empty."),
    ] = None
    stdin_file: Annotated[
        str | None,
        Meta(description="File for the standard input of the command, from the folder in which the command runs."),
    ] = None
    snooze_exit_codes: Annotated[
        list[Annotated[int, Meta(ge=-(2**31), lt=2**32)]] | None,
        Meta(description="Exit codes that mean: run again later, and do not count the attempt. Default: the setting."),
    ] = None
    snooze_max: Annotated[
        Duration | None,
        Meta(description="Longest unbroken row of snoozes; then the job is dead. Seconds or 2h, 7d.", extra=SECONDS),
    ] = None
    give_up_after: Annotated[
        Duration | None,
        Meta(
            description="Do not retry later than this after the first attempt, whatever max_retries says: 2h, 3d.",
            extra=SECONDS,
        ),
    ] = None
    expires_at: Annotated[
        str | None,
        Meta(
            description="Start no attempt later than this: an instant in RFC 3339 with a time zone.",
            examples=["2026-11-24T06:00:00Z"],
            extra={"takes": "a text such as 2026-11-24T06:00:00Z"},
        ),
    ] = None
    expires_after: Annotated[
        Duration | None,
        Meta(
            description="Start no attempt later than this after the job was accepted or first due: seconds or 2h, 1d.",
            extra=SECONDS,
        ),
    ] = None
    ref: Annotated[
        str | None,
        Meta(
            description="In a file of many jobs that name each other: a name for this job, for the after of others.",
            examples=["build"],
        ),
    ] = None
    after: Annotated[
        str | dict[str, ParentValue] | list[str | dict[str, ParentValue]] | None,
        Meta(
            description="Jobs that must end before this one may start, at most 1,000: ids, or objects with `id` and "
            "`when` (done, ended, dead or over; default: done).",
            examples=["job1", ["job1", {"id": "job2", "when": "ended"}]],
            extra={"takes": PARENTS_EXPECTED},
        ),
    ] = None
    resources: Annotated[
        dict[str, float | str] | None,
        Meta(
            description="What the job needs from a node of a cluster: amounts by name, as `cluster node --resource` "
            "offers them. Workers without a cluster leave the job alone.",
            examples=[{"GPU": 1, "memory": "16GB"}],
            extra={"takes": "an object with amounts, such as {'GPU': 1, 'memory': '16GB'}"},
        ),
    ] = None


class Extras(msgspec.Struct, frozen=True):
    """The keys of format 2 as a record holds them."""

    queue: str = ""
    """The queue; "": the default queue."""
    key: Annotated[str, Meta(max_length=KEY_MAX_CHARS)] = ""
    """At most `per_key` jobs of the queue with this key run at once; "": no key."""
    unique: Annotated[str, Meta(max_length=KEY_MAX_CHARS)] = ""
    """At most one job with this key waits; "": no unique key."""
    unique_until: Until = "ended"
    unique_for: Annotated[float, Meta(gt=0, le=times.LONGEST_S)] | None = None
    on_duplicate: OnDuplicate = "skip"
    stdin: str | None = None
    stdin_file: str = ""
    snooze_exit_codes: tuple[int, ...] | None = None
    snooze_max: Annotated[float, Meta(ge=0)] | None = None
    give_up_after: Annotated[float, Meta(ge=0)] | None = None
    expires_at: str = ""
    """No attempt starts later than this instant; "": no limit."""
    expires_after: Annotated[float, Meta(gt=0, le=times.LONGEST_S)] | None = None
    after: Recorded = ()
    resources: dict[str, Annotated[float, Meta(gt=0)]] = {}
    """What a node must have free; amounts by name."""


PLAIN = Extras()
"""The keys of a record in format 1."""
KEYS = frozenset(Extras.__struct_fields__)
"""The names of the keys of format 2."""
INPUT_KEYS = KEYS | {"ref"}
"""The keys of a document that `normalise` checks."""
UNIQUE_TERMS = frozenset({"unique_until", "unique_for", "on_duplicate"})
"""The keys that a job may have only beside `unique`."""
_NO_TERMS = (PLAIN.unique_until, PLAIN.unique_for, PLAIN.on_duplicate)
EXPIRY_KEYS = frozenset({"expires_at", "expires_after"})


def _queue_hint(name: str) -> str:
    """Return a name like this one that a queue may have."""
    import re

    near = re.sub(r"[^a-z0-9-]+", "-", name[:60].lower()).strip("-")[: names.QUEUE_MAX_CHARS].rstrip("-")
    return f"write {near or 'mail'!r}, for example"


def normalise(keys: JobSpec) -> dict[str, Any]:
    """Check the keys of format 2 (`INPUT_KEYS`) and return those that are set, as the record holds them.

    Raises:
        InvalidJobError: the error names the key and its mistake.
    """
    out: dict[str, Any] = {}
    if keys.ref is not None:
        hint = "name parents by their ids; refs are for a file with several jobs, which an inbox does not take"
        raise InvalidJobError("ref: is only for jobs of one file that name each other", key="ref", hint=hint)
    if keys.queue is not None:
        if why := names.why_bad_queue(keys.queue):
            raise InvalidJobError(f"queue: {keys.queue[:60]!r} {why}", key="queue", hint=_queue_hint(keys.queue))
        if keys.queue != DEFAULT_QUEUE:
            out["queue"] = keys.queue
    if keys.key is not None:
        out["key"] = keys.key
    if keys.after is not None:
        from queuectl.model import parents  # few jobs have any

        out["after"] = after = parents.parse(keys.after)
        if keys.id in [each if isinstance(each, str) else each.get("id") for each in after]:
            raise InvalidJobError(f"after: names the job itself, {keys.id!r}", key="after", hint="remove it")
    if keys.resources:
        from queuectl.model import needs  # few jobs have any

        out["resources"] = needs.parse(keys.resources)
    if keys.unique is not None or keys.unique_until or keys.unique_for is not None or keys.on_duplicate:
        out |= _unique(keys)
    return {**out, **_given(keys), **_later(keys), **_expiry(keys)}


def place_of(queue: str, key: str, resources: dict[str, float]) -> tuple[str, str, str]:
    """Return the queue ("": the default queue), the key and the needs as names have them ("": none)."""
    if not resources:
        return queue, names.key_flag(key), ""
    from queuectl.model import needs  # few jobs have any

    return queue, names.key_flag(key), needs.flag(resources)


def is_sound(found: Extras) -> bool:
    """Return whether the keys of a record have values that only `normalise` can have written, beyond their types."""
    if not found.unique and (found.unique_until, found.unique_for, found.on_duplicate) != _NO_TERMS:
        return False
    return not found.expires_at or (found.expires_after is None and times.instant(found.expires_at) is not None)


def _unique(keys: JobSpec) -> dict[str, Any]:
    """Check the keys of a unique job, as `normalise` does."""
    from queuectl.model import uniqueness  # few jobs have any

    made: dict[str, Any] = {}
    for_s = duration_s("unique_for", keys.unique_for)
    if for_s == 0:
        raise InvalidJobError("unique_for: zero holds no key; remove it", key="unique_for")
    given = {"unique_until": keys.unique_until, "unique_for": for_s, "on_duplicate": keys.on_duplicate}
    for key, value in given.items():
        if value is None:
            continue
        if keys.unique is None:
            raise InvalidJobError(f"{key}: is only for a job with unique", key=key, hint='add "unique": "KEY"')
        made[key] = tidy(value) if isinstance(value, float) else value
    if keys.unique is None:
        return made
    if keys.unique is False or keys.unique == "":
        hint = "remove it, or write a key or true"
        raise InvalidJobError(f"unique: {keys.unique!r} is not a key", key="unique", hint=hint)
    if keys.unique is True:
        same = uniqueness.same(msgspec.structs.asdict(keys))
        return {"unique": same, **made}
    if len(keys.unique) > KEY_MAX_CHARS:
        raise InvalidJobError(f"unique: is longer than {KEY_MAX_CHARS} characters", key="unique")
    return {"unique": keys.unique, **made}


def _given(keys: JobSpec) -> dict[str, Any]:
    """Check the keys for what a run is given, as `normalise` does."""
    made: dict[str, Any] = {}
    if keys.stdin is not None and keys.stdin_file is not None:
        raise InvalidJobError("stdin and stdin_file cannot be combined", key="stdin", hint="remove one of them")
    if keys.stdin is not None:
        if len(keys.stdin.encode("utf-8", "replace")) > STDIN_MAX_BYTES:
            hint = "write it to a file and name the file in stdin_file"
            raise InvalidJobError("stdin: is longer than 512 KiB", key="stdin", hint=hint)
        made["stdin"] = keys.stdin
    if keys.stdin_file is not None:
        if not keys.stdin_file or "\0" in keys.stdin_file:
            hint = "write the path of a file, from the folder in which the command runs"
            raise InvalidJobError("stdin_file: is not the path of a file", key="stdin_file", hint=hint)
        made["stdin_file"] = keys.stdin_file
    return made


def _later(keys: JobSpec) -> dict[str, Any]:
    """Check the keys about snoozing and giving up, as `normalise` does."""
    made: dict[str, Any] = {}
    if keys.snooze_exit_codes is not None:
        codes = set(keys.snooze_exit_codes)
        if 0 in codes:
            raise InvalidJobError("snooze_exit_codes: 0 is success", key="snooze_exit_codes", hint="remove the 0")
        for key in ("retry_exit_codes", "no_retry_exit_codes"):
            if both := codes.intersection(getattr(keys, key) or ()):
                text = f"snooze_exit_codes and {key} cannot both contain {min(both)}"
                raise InvalidJobError(text, key="snooze_exit_codes", hint="remove it from one of them")
        made["snooze_exit_codes"] = keys.snooze_exit_codes
    for key in ("snooze_max", "give_up_after"):
        if (seconds := duration_s(key, getattr(keys, key))) is not None:
            made[key] = tidy(seconds)
    return made


def _expiry(keys: JobSpec) -> dict[str, Any]:
    """Check the keys about the latest start, as `normalise` does."""
    after_s = duration_s("expires_after", keys.expires_after)
    if after_s == 0:
        text = "expires_after: zero would end the job before it starts; remove it for no limit"
        raise InvalidJobError(text, key="expires_after")
    if keys.expires_at is None:
        return {} if after_s is None else {"expires_after": tidy(after_s)}
    if after_s is not None:
        text = "expires_at and expires_after cannot be combined"
        raise InvalidJobError(text, key="expires_at", hint="remove one of them")
    try:
        return {"expires_at": times.to_text(times.from_text(keys.expires_at))}
    except ValueError as error:
        text = f"expires_at: {keys.expires_at[:60]!r} is not an instant: {error}"
        hint = "write an instant such as 2026-11-24T06:00:00Z"
        raise InvalidJobError(text, key="expires_at", hint=hint) from error
