"""job: what a producer may say, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from queuectl.errors import InvalidJobError
from queuectl.model import history, job, record
from queuectl.model.job import RetryDefaults
from tests.helpers import NOON_AT

DEFAULTS = RetryDefaults(max_retries=3, backoff_base=2, backoff_max_s=3600.0, jitter=0)


def _normalise(document: dict[str, Any], defaults: RetryDefaults = DEFAULTS) -> job.Normalised:
    return job.normalise(document, defaults=defaults, now_at=NOON_AT)


def _spec(**keys: Any) -> dict[str, Any]:
    return _normalise({"command": "true", **keys}).spec


def test_only_command_is_required_and_retry_settings_are_filled_in() -> None:
    """A job carries the retry settings that counted when it was taken in."""
    assert _spec() == {"command": "true", "max_retries": 3, "backoff_base": 2, "backoff_max": 3600}


def test_a_jobs_own_settings_win() -> None:
    """What the job says counts, zero included."""
    spec = _normalise(
        {"command": "true", "max_retries": 0, "backoff_base": 0, "backoff_max": 0, "jitter": 0},
        DEFAULTS._replace(jitter=0.5),
    ).spec
    assert (spec["max_retries"], spec["backoff_base"], spec["backoff_max"]) == (0, 0, 0)
    assert "jitter" not in spec


def test_default_jitter_is_copied_into_the_job() -> None:
    """A spool with jitter gives it to jobs that name none."""
    assert _normalise({"command": "true"}, DEFAULTS._replace(jitter=0.5)).spec["jitter"] == 0.5


def test_id_comes_first() -> None:
    """Whoever opens the file sees the id at its top."""
    assert next(iter(_spec(tags=["x"], id="job1"))) == "id"


def test_durations_become_seconds() -> None:
    """On disk a duration is a number of seconds, whole ones without a point."""
    spec = _spec(timeout="1h30m", backoff_max="1.5s")
    assert spec["timeout"] == 5400
    assert isinstance(spec["timeout"], int)
    assert spec["backoff_max"] == 1.5


def test_delay_counts_from_now_and_keeps_its_length() -> None:
    """A delay is stored with the wait it came from, so that a clock that jumps strands nothing."""
    made = _normalise({"command": "true", "delay": "5m"})
    assert (made.due_at, made.delay_s) == (NOON_AT + 300, 300)
    assert "delay" not in made.spec
    assert _normalise({"command": "true", "delay": 0}).due_at is None


def test_run_at_is_kept_in_utc() -> None:
    """An instant in any zone is stored in UTC; one in the past is now."""
    made = _normalise({"command": "true", "run_at": "2027-01-15T10:00:00+01:00"})
    assert made.due_at == NOON_AT + 3600
    assert made.delay_s is None
    assert made.spec["run_at"] == "2027-01-15T09:00:00.000Z"
    assert _normalise({"command": "true", "run_at": "2001-01-01T00:00:00Z"}).due_at is None


@pytest.mark.parametrize("key", ["cron", "every"])
def test_a_job_is_no_schedule(key: str) -> None:
    """A drop, a line of a file and a file of an inbox may not schedule: the hint says where that belongs (P10)."""
    with pytest.raises(InvalidJobError) as caught:
        _normalise({"command": "true", key: "5m"})
    assert caught.value.key == key
    assert "schedules/" in caught.value.hint


def test_unknown_keys_are_kept() -> None:
    """A producer's own keys stay in the file as they are."""
    extra = {"customer": {"name": "Ann", "rows": [1, 2.5, None]}, "zzz": None}
    spec = _spec(**extra)
    assert {key: spec[key] for key in extra} == extra


@pytest.mark.parametrize(
    "key", ["state", "status", "attempts", "created_at", "last_error", "worker", "result", "x-trace", "X-Y", "$schema"]
)
def test_other_queues_keys_are_kept_without_a_warning(key: str) -> None:
    """State and counters that a producer writes, and keys with x-, are accepted, ignored, and not worth a word."""
    made = _normalise({"command": "true", key: "done"})
    assert made.spec[key] == "done"
    assert made.warnings == []


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("max_retires", "max_retries"),
        ("Max-Retries", "max_retries"),
        ("maxRetries", "max_retries"),
        ("timout", "timeout"),
        ("backoffbase", "backoff_base"),
        ("TAGS", "tags"),
        ("retries", "max_retries"),
        ("retires", "max_retries"),
        ("enviroment", "env"),
        ("max-attempts", "max_retries"),
        ("cmd", "command"),
        ("prio", "priority"),
        ("workingDirectory", "cwd"),
        ("scheduled_at", "run_at"),
        ("metadata", "meta"),
        ("outputmax", "output_max"),
    ],
)
def test_near_miss_of_a_key_is_warned_of(key: str, meant: str) -> None:
    """A typing error in a key does not go by unseen."""
    (text,) = _normalise({"command": "true", key: 5}).warnings
    assert repr(key) in text and repr(meant) in text


def test_keys_that_are_like_none_share_a_warning() -> None:
    """A key that is ignored does not go by unseen, and a thousand of them are one text."""
    (text,) = _normalise({"command": "true", "foo": 5}).warnings
    assert text == "the key 'foo' is unknown and ignored; put your own data into \"meta\""
    (text,) = _normalise({"command": "true"} | {f"qqq{number}": 5 for number in range(1000)}).warnings
    assert "'qqq4' and 995 more are unknown" in text and len(text) < 200
    assert _normalise({"command": "true", "meta": {"retries": 5, "foo": {"a": [1]}}}).warnings == []


def test_meta_is_an_object_that_is_kept() -> None:
    """A producer's own data comes back as it was given."""
    meta = {"customer": {"name": "Ann", "rows": [1, 2.5, None]}}
    assert _spec(meta=meta)["meta"] == meta


@pytest.mark.parametrize(
    ("keys", "at_fault"),
    [
        ({"command": ""}, "command"),
        ({"command": "  "}, "command"),
        ({"command": []}, "command"),
        ({"command": ["", "x"]}, "command"),
        ({"command": [1]}, "command"),
        ({"command": {"run": "x"}}, "command"),
        ({"command": None}, "command"),
        ({"command": "a\0b"}, "command"),
        ({"command": ["a", "b\0"]}, "command"),
        ({"id": 5}, "id"),
        ({"id": ""}, "id"),
        ({"id": "../../etc/passwd"}, "id"),
        ({"id": "CON"}, "id"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 1_000_001}, "max_retries"),
        ({"max_retries": "3"}, "max_retries"),
        ({"max_retries": True}, "max_retries"),
        ({"max_retries": 10**400}, "max_retries"),
        ({"backoff_base": -1}, "backoff_base"),
        ({"backoff_base": 1e7}, "backoff_base"),
        ({"backoff_base": 10**400}, "backoff_base"),
        ({"backoff_base": float("inf")}, "backoff_base"),
        ({"backoff_max": "soon"}, "backoff_max"),
        ({"backoff_max": -1}, "backoff_max"),
        ({"jitter": 1.1}, "jitter"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -5}, "timeout"),
        ({"timeout": 10**400}, "timeout"),
        ({"timeout": "99999999d"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"priority": 1.5}, "priority"),
        ({"priority": 1_000_000}, "priority"),
        ({"priority": -(10**400)}, "priority"),
        ({"run_at": "tomorrow"}, "run_at"),
        ({"run_at": "2027-01-15T08:00:00"}, "run_at"),
        ({"run_at": 5}, "run_at"),
        ({"delay": "1x"}, "delay"),
        ({"delay": 1, "run_at": "2027-01-15T08:00:00Z"}, "delay"),
        ({"cwd": 5}, "cwd"),
        ({"cwd": "a\0"}, "cwd"),
        ({"env": {"A": 1}}, "env"),
        ({"env": {"": "x"}}, "env"),
        ({"env": {"A=B": "x"}}, "env"),
        ({"env": {"A": "\0"}}, "env"),
        ({"env": ["A=1"]}, "env"),
        ({"tags": "x"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"no_retry_exit_codes": ["1"]}, "no_retry_exit_codes"),
        ({"no_retry_exit_codes": 1}, "no_retry_exit_codes"),
        ({"no_retry_exit_codes": [10**400]}, "no_retry_exit_codes"),
        ({"retry_exit_codes": []}, "retry_exit_codes"),
        ({"retry_exit_codes": ["1"]}, "retry_exit_codes"),
        ({"retry_exit_codes": [1], "no_retry_exit_codes": [2]}, "retry_exit_codes"),
        ({"meta": "x"}, "meta"),
        ({"meta": [1]}, "meta"),
        ({"output_max": 0}, "output_max"),
        ({"output_max": "1 lot"}, "output_max"),
        ({"output_max": True}, "output_max"),
        ({"output_max": 2**61}, "output_max"),
    ],
)
def test_what_cannot_be_is_refused_by_name(keys: dict[str, Any], at_fault: str) -> None:
    """Every wrong value is one kind of error that names its key (P6)."""
    with pytest.raises(InvalidJobError) as caught:
        _spec(**keys)
    assert caught.value.key == at_fault


def test_missing_command_names_the_near_miss() -> None:
    """Who wrote `comand` is told so."""
    with pytest.raises(InvalidJobError) as caught:
        _normalise({"comand": "true"})
    assert '"comand"' in caught.value.hint
    with pytest.raises(InvalidJobError) as caught:
        _normalise({})
    assert '"command"' in caught.value.hint


@pytest.mark.parametrize("known", job.KNOWN_KEYS)
def test_every_key_has_a_meaning_in_the_schema(known: str) -> None:
    """An editor that knows the schema can explain each key."""
    assert job.schema()["properties"][known]["description"]


def test_schema_is_a_schema() -> None:
    """The published schema is valid draft 2020-12 and its text parses."""
    jsonschema.Draft202012Validator.check_schema(job.schema())
    assert json.loads(job.schema_text()) == job.schema()


def _is_valid(document: object) -> bool:
    return bool(jsonschema.Draft202012Validator(job.schema()).is_valid(document))


@pytest.mark.parametrize(
    "document",
    [
        {"command": "echo Hello World"},
        {"$schema": "x", "command": ["python3", "a b.py"], "id": "job1", "tags": ["x"], "env": {"A": "1"}},
        {"command": "true", "timeout": "5m", "delay": 3, "priority": -9, "no_retry_exit_codes": [2], "jitter": 0.5},
        {"command": "true", "retry_exit_codes": [75], "output_max": "1.5M"},
        {"command": "true", "run_at": "2027-01-15T08:00:00Z", "cwd": "/tmp", "backoff_base": 2, "max_retries": 0},
        {"command": "true", "customer": 7},
    ],
)
def test_schema_and_checks_accept_the_same_jobs(document: dict[str, Any]) -> None:
    """What an editor shows as right is taken in."""
    assert _is_valid(document)
    _normalise(document)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"command": ""},
        {"command": []},
        {"command": 1},
        {"command": "true", "max_retries": -1},
        {"command": "true", "priority": 1_000_000},
        {"command": "true", "tags": "x"},
        {"command": "true", "env": {"A": 1}},
        [],
        "true",
    ],
)
def test_schema_refuses_what_the_checks_refuse(document: object) -> None:
    """What an editor marks as wrong would have been rejected."""
    assert not _is_valid(document)
    if isinstance(document, dict):
        with pytest.raises(InvalidJobError):
            _normalise(document)


def test_schema_knows_our_own_records() -> None:
    """A record that a person opens in an editor is not marked as wrong."""
    data = record.frame({"id": "a", **_spec()}, [history.event("enqueued", NOON_AT, by="enqueue")])
    assert _is_valid(json.loads(data))


def test_depth_is_counted_in_arrays_and_objects() -> None:
    """DEPTH_LIMIT levels are taken and one more is not, however they are mixed (P6)."""

    def nested(levels: int) -> object:
        value: object = 1
        for level in range(levels):
            value = [value, 2] if level % 2 else {"a": value, "b": 3}
        return value

    assert not job.is_deep(nested(job.DEPTH_LIMIT))
    assert job.is_deep(nested(job.DEPTH_LIMIT + 1))
    assert not job.is_deep("[" * 1000)
