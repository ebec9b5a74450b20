"""What a schedule may hold, and the job of each of its ticks."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.errors import InvalidJobError
from queuectl.model import document, job, schedule, times
from queuectl.model.schedule import Schedule
from queuectl.model.settings import defaults
from queuectl.model.timetable import Cron, Every

TICK_AT = 1_800_000_000.0
_DEFAULTS = defaults().retry_defaults
NIGHTLY = {"command": "backup.sh", "cron": "0 2 * * *"}


def check(given: Any, name: str = "nightly", local_zone: str = "UTC") -> Schedule:
    """The schedule in a document."""
    return schedule.check(given, name, defaults=_DEFAULTS, local_zone=local_zone)


def test_a_schedule_is_a_job_and_when_it_is_made() -> None:
    """The keys of the schedule are its own, all others are the job's."""
    made = check({**NIGHTLY, "zone": "Europe/Berlin", "queue": "disk", "max_retries": 1, "x-mine": 1})
    assert isinstance(made.timetable, Cron)
    assert made.timetable.text == "cron 0 2 * * * in Europe/Berlin"
    assert (made.catch_up, made.overlap, made.zone) == ("one", "skip", "Europe/Berlin")
    assert made.job == {"command": "backup.sh", "queue": "disk", "max_retries": 1, "x-mine": 1}
    assert made.document_of(TICK_AT) == {
        **made.job,
        "id": "nightly-20270115T080000Z",
        "env": {"QUEUECTL_TICK": "2027-01-15T08:00:00Z"},
        "unique": "schedule nightly",
    }


@pytest.mark.parametrize(
    ("overlap", "keys"),
    [
        ("skip", {"unique": "schedule nightly"}),
        ("wait", {"unique": "schedule nightly", "on_duplicate": "replace"}),
        ("allow", {}),
    ],
)
def test_jobs_that_may_not_overlap_have_a_unique_key(overlap: str, keys: dict[str, str]) -> None:
    """The key holds whoever starts a job of the schedule (P15)."""
    found = check({**NIGHTLY, "overlap": overlap}).document_of(TICK_AT)
    assert {key: value for key, value in found.items() if key in ("unique", "on_duplicate")} == keys


def test_the_zone_of_the_machine_is_the_default() -> None:
    """Without a zone a cron expression is in the zone that the caller names."""
    assert check(NIGHTLY, local_zone="Asia/Tokyo").zone == "Asia/Tokyo"
    assert check({**NIGHTLY, "zone": "UTC"}, local_zone="Asia/Tokyo").zone == "UTC"


def test_every_is_on_multiples_with_an_offset() -> None:
    """`every` and `offset` are durations."""
    made = check({"command": "true", "every": "5m", "offset": "90s"})
    assert isinstance(made.timetable, Every)
    assert made.timetable.text == "every 300 s, offset 90 s"
    assert made.zone == ""


def test_spread_and_expiry_count_from_the_tick() -> None:
    """The job of a tick starts within the spread, and not later than expires_after from there."""
    made = check({**NIGHTLY, "spread": "10m", "expires_after": "1h"})
    found = made.document_of(TICK_AT)
    run_at, expires_at = times.from_text(found["run_at"]), times.from_text(found["expires_at"])
    assert TICK_AT < run_at == made.run_at(TICK_AT) <= TICK_AT + 600
    assert expires_at == run_at + 3600
    assert "expires_after" not in found
    accepted = document.accept(found, defaults=_DEFAULTS, now_at=TICK_AT)
    assert accepted.due_at == run_at


def test_the_job_s_environment_is_kept() -> None:
    """The tick is added to the job's own variables."""
    made = check({**NIGHTLY, "env": {"A": "1"}})
    assert made.document_of(TICK_AT)["env"] == {"A": "1", "QUEUECTL_TICK": "2027-01-15T08:00:00Z"}
    assert made.job["env"] == {"A": "1"}


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ({"command": "true"}, "cron", "is missing, and so is every"),
        ({**NIGHTLY, "every": "5m"}, "cron", "cannot be combined"),
        ({"cron": "0 2 * * *"}, "command", "is missing"),
        ({**NIGHTLY, "cron": 5}, "cron", "not the number 5"),
        ({**NIGHTLY, "cron": "0 2 * *"}, "cron", "five"),
        ({**NIGHTLY, "cron": "0 0 30 2 *"}, "cron", "day of month"),
        ({**NIGHTLY, "zone": "Berlin"}, "zone", "not a time zone"),
        ({**NIGHTLY, "zone": "../../etc/passwd"}, "zone", "not a time zone"),
        ({**NIGHTLY, "zone": "/etc/localtime"}, "zone", "not a time zone"),
        ({**NIGHTLY, "zone": "a\0b"}, "zone", "not a time zone"),
        ({**NIGHTLY, "offset": "5m"}, "offset", "only for every"),
        ({"command": "true", "every": "5m", "zone": "UTC"}, "zone", "only for cron"),
        ({"command": "true", "every": 0}, "every", "at least 1"),
        ({"command": "true", "every": "1.5s"}, "every", "whole seconds"),
        ({"command": "true", "every": "5x"}, "every", "not a duration"),
        ({"command": "true", "every": -5}, "every", "zero or more"),
        ({**NIGHTLY, "catch_up": "some"}, "catch_up", "one, none or all"),
        ({**NIGHTLY, "catch_up": "all"}, "catch_up", '"overlap": "allow"'),
        ({**NIGHTLY, "overlap": True}, "overlap", "skip, wait or allow"),
        ({**NIGHTLY, "spread": "-1s"}, "spread", "duration"),
        ({**NIGHTLY, "catchup": "one"}, "catchup", "did you mean catch_up?"),
        ({**NIGHTLY, "timezone": 1, "zones": "UTC"}, "zones", "did you mean zone?"),
        ({**NIGHTLY, "id": "x"}, "id", "not for a schedule"),
        ({**NIGHTLY, "run_at": "2026-11-24T03:15:00Z"}, "run_at", "not for a schedule"),
        ({**NIGHTLY, "delay": 5}, "delay", "not for a schedule"),
        ({**NIGHTLY, "expires_at": "2026-11-24T03:15:00Z"}, "expires_at", "use expires_after"),
        ({**NIGHTLY, "unique": "x"}, "unique", "have a unique key already"),
        ({**NIGHTLY, "after": "job1"}, "after", "not for a schedule"),
        ({**NIGHTLY, "max_retries": -1}, "max_retries", "max_retries"),
        ({**NIGHTLY, "env": 5}, "env", "env"),
        ({**NIGHTLY, "expires_after": 0}, "expires_after", "zero"),
    ],
)
def test_a_mistake_names_the_key_and_what_it_takes(keys: dict[str, Any], key: str, says: str) -> None:
    """The error of a wrong schedule names the key."""
    with pytest.raises(InvalidJobError) as caught:
        check(keys)
    assert caught.value.key == key
    assert says in str(caught.value)


def test_the_nearest_zone_is_the_hint() -> None:
    """A zone that is only a city has the whole name in the hint."""
    with pytest.raises(InvalidJobError) as caught:
        check({**NIGHTLY, "zone": "Berlin"})
    assert caught.value.hint == "did you mean Europe/Berlin?"


@pytest.mark.parametrize("name", ["a b", "con", "", "x" * 65, "nightly.tmp"])
def test_a_name_that_no_job_may_have_is_refused(name: str) -> None:
    """The jobs of a schedule have its name in their ids."""
    with pytest.raises(InvalidJobError, match="name"):
        check(NIGHTLY, name)


def test_a_misspelt_key_of_the_job_is_a_warning() -> None:
    """Keys of the job are judged as in pending/."""
    assert check({**NIGHTLY, "retries": 3}).warnings == ["the key 'retries' is ignored; did you mean 'max_retries'?"]


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"[]", "empty array"), (b'[{"command": "x"}]', "array"), (b"5", "object"), (b'{"a": 1, "a": 2}', "twice")],
)
def test_a_file_that_holds_no_schedule_is_refused(data: bytes, says: str) -> None:
    """A schedule is one object."""
    with pytest.raises(InvalidJobError, match=says):
        schedule.read(data, "nightly", defaults=_DEFAULTS, local_zone="UTC")


def test_half_a_file_may_still_arrive() -> None:
    """Every beginning of a schedule's file is incomplete, not wrong (P6)."""
    data = json.dumps({**NIGHTLY, "zone": "Europe/Berlin"}).encode()
    for length in range(len(data)):
        found = schedule.read(data[:length], "nightly", defaults=_DEFAULTS, local_zone="UTC")
        assert isinstance(found, document.Incomplete)
    assert isinstance(schedule.read(data, "nightly", defaults=_DEFAULTS, local_zone="UTC"), Schedule)


@given(
    st.dictionaries(
        st.sampled_from(["cron", "every", "offset", "zone", "spread", "catch_up", "overlap", "command", "env", "x"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=12)
        | st.lists(st.text(), max_size=2)
        | st.sampled_from(["0 2 * * *", "5m", "one", "all", "allow", "UTC", "true"]),
    )
)
def test_no_document_breaks_the_check(given: dict[str, Any]) -> None:
    """Any object is a schedule whose jobs are accepted, or an InvalidJobError."""
    try:
        made = check(given)
    except InvalidJobError:
        return
    document.accept(made.document_of(TICK_AT), defaults=_DEFAULTS, now_at=TICK_AT)


def test_the_schema_of_a_schedule_has_its_keys_and_the_job_s() -> None:
    """Editors know the keys of a schedule; the schema's own examples are schedules."""
    made = schedule.schema()
    jsonschema.Draft202012Validator.check_schema(made)
    validator = jsonschema.Draft202012Validator(made)
    assert set(schedule.KEYS) <= set(made["properties"])
    assert not {"id", "run_at", "after"} & set(made["properties"])
    assert set(job.KNOWN_KEYS) - set(made["properties"]) == {"id", "run_at", "delay", "expires_at", "after", "ref"}
    examples = [example for key in schedule.KEYS for example in made["properties"][key].get("examples", [])]
    assert len(examples) >= 5
    for example in made["properties"]["cron"]["examples"]:
        check({"command": "true", "cron": example})
    validator.validate(NIGHTLY)
    for wrong in ({"command": "true"}, {**NIGHTLY, "every": "5m"}, {**NIGHTLY, "catch_up": "some"}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(wrong)
