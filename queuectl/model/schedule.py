"""Defines the keys of a schedule and checks them: a job, and when it is made again (FORMAT.md, section 4). Pure.

A schedule is imported only where a spool has any.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from queuectl.errors import InvalidJobError
from queuectl.model import document, extras, job, mistakes, spec, tick_name, times, timetable
from queuectl.model.job import RetryDefaults

SKIP, WAIT, ALLOW = "skip", "wait", "allow"
"""What happens at a tick while the last job of the schedule has not ended."""
DEFAULT_CATCH_UP, DEFAULT_OVERLAP = timetable.ONE, SKIP
TICK_VARIABLE = "QUEUECTL_TICK"
"""The variable with the tick, in the environment of the command."""
_SHORTEST_S = 1.0
# These keys belong to one job, and each tick makes another.
_NOT_HERE = {
    "id": "each tick makes a job with an id of its own",
    "run_at": "the ticks say when a job starts",
    "delay": "the ticks say when a job starts",
    "expires_at": "use expires_after, which counts from the tick",
    "after": "each tick makes another job",
    "ref": "each tick makes another job",
}
_WRITTEN_BY_US = ("format", "history")


class ScheduleSpec(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The keys that a schedule has beside those of its job."""

    cron: Annotated[
        str | None,
        Meta(
            description="When jobs are made: minute, hour, day of the month, month and day of the week; or @hourly, "
            "@daily, @weekly, @monthly, @yearly.",
            examples=["0 2 * * *", "*/15 8-18 * * MON-FRI", "0 6 L * *", "@daily"],
            extra={"takes": "a text such as 0 2 * * * or @daily"},
        ),
    ] = None
    every: Annotated[
        spec.Duration | None,
        Meta(
            description="Make a job at each multiple of this since 1970 UTC: seconds or 30s, 5m, 2h, 1d.",
            examples=["15m"],
            extra=spec.SECONDS,
        ),
    ] = None
    offset: Annotated[
        spec.Duration | None,
        Meta(description="With every: move all ticks by this much.", examples=["5m"], extra=spec.SECONDS),
    ] = None
    zone: Annotated[
        str | None,
        Meta(
            description="With cron: the time zone. Default: the zone of the machine.",
            examples=["Europe/Berlin"],
            extra={"takes": "a text such as Europe/Berlin or UTC"},
        ),
    ] = None
    spread: Annotated[
        spec.Duration | None,
        Meta(
            description="Put each job off by a part of this, so that schedules of one time do not start together.",
            examples=["10m"],
            extra=spec.SECONDS,
        ),
    ] = None
    catch_up: Annotated[
        Literal["one", "none", "all"] | None,
        Meta(
            description="Ticks that passed while no pool looked: make one job for the newest (one), none (none), or "
            "one for each of the newest 100 (all). Default: one.",
            extra={"takes": "one, none or all"},
        ),
    ] = None
    overlap: Annotated[
        Literal["skip", "wait", "allow"] | None,
        Meta(
            description="At a tick while the last job of the schedule has not ended: make no job (skip), one that "
            "waits for its end (wait), or one that may run beside it (allow). Default: skip.",
            extra={"takes": "skip, wait or allow"},
        ),
    ] = None


KEYS = tuple(field.encode_name for field in msgspec.structs.fields(ScheduleSpec))


class Schedule(msgspec.Struct, frozen=True):
    """A schedule that was checked."""

    name: str
    timetable: timetable.Timetable
    spread_s: float
    catch_up: str
    overlap: str
    expires_after_s: float | None
    job: dict[str, Any]
    """The keys of the job, without those that belong to a tick."""
    warnings: list[str]

    @property
    def zone(self) -> str:
        """The time zone of a cron expression, "" without one."""
        return self.timetable.zone_name if isinstance(self.timetable, timetable.Cron) else ""

    def run_at(self, tick_at: float) -> float:
        """Return the earliest start of the job of a tick."""
        return tick_at + timetable.put_off_s(self.name, tick_at, self.spread_s)

    def document_of(self, tick_at: float, *, job_id: str = "") -> dict[str, Any]:
        """Return the document of the job of a tick."""
        made = {**self.job, "id": job_id or tick_name.job_id(self.name, tick_at)}
        made["env"] = {**(made.get("env") or {}), TICK_VARIABLE: tick_text(tick_at)}
        if self.overlap != ALLOW:
            # Whoever else starts a job of the schedule (a retry by hand, `schedule run`) does not overlap either (P15).
            made["unique"] = unique_key(self.name)
            if self.overlap == WAIT:
                made["on_duplicate"] = "replace"
        run_at = self.run_at(tick_at)
        if run_at > tick_at:
            made["run_at"] = times.to_text(run_at)
        if self.expires_after_s is not None:
            made["expires_at"] = times.to_text(run_at + self.expires_after_s)
        return made


def unique_key(name: str) -> str:
    """Return the unique key of the jobs of a schedule that may not overlap."""
    return f"schedule {name}"


def tick_text(tick_at: float) -> str:
    """Return a tick as the environment of a command has it: `2026-11-25T02:00:00Z`."""
    return times.to_text(tick_at).replace(".000Z", "Z")


def read(data: bytes, name: str, *, defaults: RetryDefaults, local_zone: str) -> Schedule | document.Incomplete:
    """Parse the bytes of a schedule's file; return Incomplete if they are not (yet) whole.

    Raises:
        InvalidJobError: it is not a schedule; the error names the key and what the key takes.
    """
    parsed = document.parse(data, lines=False)
    match parsed:
        case document.Incomplete():
            return parsed
        case document.Refused():
            raise InvalidJobError(parsed.why, hint=parsed.hint)
        case document.Many():
            raise InvalidJobError("it is an array, and a schedule is one object", hint="write a file per schedule")
        case document.Single():
            return check(parsed.document, name, defaults=defaults, local_zone=local_zone)


def check(given: Mapping[str, Any], name: str, *, defaults: RetryDefaults, local_zone: str) -> Schedule:
    """Check a parsed document; `local_zone` is the time zone of a cron expression without one.

    Raises:
        InvalidJobError: the error names the key and what the key takes.
    """
    if why := tick_name.why_bad_name(name):
        raise InvalidJobError(f"the name {name[:80]!r} {why}", hint="rename the file")
    keys = _convert({key: value for key, value in given.items() if key in KEYS})
    table = _timetable(keys, local_zone)
    rest = {key: value for key, value in given.items() if key not in KEYS}
    for key, why in _NOT_HERE.items():
        if key in rest:
            raise InvalidJobError(f"{key}: is not for a schedule: {why}", key=key, hint="remove it")
    for key in rest:
        # A key of the job that is misspelt is only a warning; this one would change when jobs are made.
        if key not in job.KNOWN_KEYS and (near := difflib.get_close_matches(key[:40].lower(), KEYS, 1, 0.8)):
            raise InvalidJobError(f"{key[:40]}: is unknown; did you mean {near[0]}?", key=key)
    for key in _WRITTEN_BY_US:
        rest.pop(key, None)
    expires_after_s = spec.duration_s("expires_after", rest.get("expires_after"))
    made = Schedule(
        name=name,
        timetable=table,
        spread_s=spec.duration_s("spread", keys.spread) or 0.0,
        catch_up=keys.catch_up or DEFAULT_CATCH_UP,
        overlap=keys.overlap or DEFAULT_OVERLAP,
        expires_after_s=expires_after_s,
        job=rest,
        warnings=[],
    )
    for key in ("unique", *extras.UNIQUE_TERMS):
        if key in rest and made.overlap != ALLOW:
            hint = 'remove it, or add "overlap": "allow"'
            raise InvalidJobError(f"{key}: the jobs of a schedule have a unique key already", key=key, hint=hint)
    if made.catch_up == timetable.ALL and made.overlap != ALLOW:
        hint = 'add "overlap": "allow"; to run them one after the other, add a "key" too'
        raise InvalidJobError(
            'catch_up: all makes several jobs at once, so it needs "overlap": "allow"', key="catch_up", hint=hint
        )
    accepted = document.accept(rest, defaults=defaults, now_at=0.0)  # raises for a mistake in the job
    made.job.pop("expires_after", None)
    document.accept(made.document_of(0.0), defaults=defaults, now_at=0.0)
    made.warnings.extend(accepted.warnings)
    return made


def _convert(given: dict[str, Any]) -> ScheduleSpec:
    try:
        return msgspec.convert(given, ScheduleSpec)
    except msgspec.ValidationError:
        pass
    found = [
        mistake
        for field in msgspec.structs.fields(ScheduleSpec)
        if field.encode_name in given
        for mistake in mistakes.of_value(field.type, given[field.encode_name], field.encode_name)
    ]
    texts = [mistake.text for mistake in found]
    raise InvalidJobError(
        mistakes.in_words(texts),
        key=found[0].place.split("[")[0],
        hint=found[0].hint if len(found) == 1 else "",
        mistakes=tuple(texts[: mistakes.NAMED_AT_MOST]),
    )


def _timetable(keys: ScheduleSpec, local_zone: str) -> timetable.Timetable:
    if (keys.cron is None) == (keys.every is None):
        if keys.cron is None:
            hint = 'add "cron": "0 2 * * *" or "every": "15m"'
            raise InvalidJobError("cron: is missing, and so is every", key="cron", hint=hint)
        raise InvalidJobError("cron and every cannot be combined", key="cron", hint="remove one of them")
    if keys.every is not None:
        if keys.zone is not None:
            hint = 'remove it; or write a time of the day: "cron": "0 2 * * *"'
            raise InvalidJobError("zone: is only for cron, because every counts in UTC", key="zone", hint=hint)
        every_s, offset_s = _whole("every", keys.every), _whole("offset", keys.offset)
        if every_s < _SHORTEST_S:
            raise InvalidJobError("every: takes whole seconds, at least 1", key="every")
        return timetable.Every(every_s, offset_s)
    if keys.offset is not None:
        raise InvalidJobError("offset: is only for every", key="offset", hint="write the time into cron")
    return _cron(keys.cron or "", keys.zone or local_zone)


def _whole(key: str, value: spec.Duration | None) -> int:
    seconds = spec.duration_s(key, value) or 0.0
    if seconds != int(seconds):
        raise InvalidJobError(f"{key}: takes whole seconds", key=key)
    return int(seconds)


def _cron(expression: str, zone: str) -> timetable.Cron:
    if not timetable.is_zone(zone):
        near = timetable.nearest_zone(zone)
        hint = f"did you mean {near}?" if near else "write a name such as Europe/Berlin or UTC"
        raise InvalidJobError(f"zone: {zone[:60]!r} is not a time zone that this machine knows", key="zone", hint=hint)
    try:
        table = timetable.Cron(expression, zone)
    except ValueError as error:
        hint = "write minute, hour, day of the month, month, day of the week: 0 2 * * *"
        raise InvalidJobError(f"cron: {error}", key="cron", hint=hint) from error
    if table.after(0.0) is None:
        raise InvalidJobError(f"cron: {expression[:60]!r} never comes", key="cron", hint="check day and month")
    return table


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a schedule's file, for editors."""
    made = job.schema()
    own = msgspec.json.schema(ScheduleSpec)["$defs"]["ScheduleSpec"]["properties"]
    of_job = {key: value for key, value in made["properties"].items() if key not in (*_NOT_HERE, *_WRITTEN_BY_US)}
    return {
        **made,
        "title": "queuectl schedule",
        "description": "One schedule for the folder schedules/ of a queuectl spool: a job, and when it is made.",
        "properties": {**own, **of_job},
        "oneOf": [{"required": ["cron"]}, {"required": ["every"]}],
    }


def schema_text() -> str:
    """Return `schema` as the text of a file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
