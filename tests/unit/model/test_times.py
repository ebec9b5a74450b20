"""times: instants and durations as text."""

from __future__ import annotations

import pytest

from queuectl.model import times
from tests.helpers import NOON_AT


def test_instant_is_written_in_utc_with_milliseconds() -> None:
    """An instant on disk is RFC 3339 in UTC with exactly three decimals."""
    assert times.to_text(NOON_AT + 0.12) == "2027-01-15T08:00:00.120Z"
    assert times.to_text(0) == "1970-01-01T00:00:00.000Z"


def test_instant_text_is_rounded_down() -> None:
    """An event is never written as later than it was, float noise aside."""
    assert times.to_text(NOON_AT + 0.1239) == "2027-01-15T08:00:00.123Z"
    assert times.to_text(1794971700.12) == "2026-11-18T03:15:00.120Z"


def test_instant_in_a_name_is_rounded_up() -> None:
    """A name never says an instant before the one meant, or a job would be looked at before it is due."""
    assert times.to_name(NOON_AT) == "20270115T080000Z"
    assert times.to_name(NOON_AT + 0.0001) == "20270115T080000.001Z"
    assert times.to_name(NOON_AT + 0.9999) == "20270115T080001Z"


@pytest.mark.parametrize("instant_at", [-1.0, -1e300, 1e300, times.LATEST_AT])
def test_instants_out_of_range_are_clamped(instant_at: float) -> None:
    """No number can make the writing of an instant fail."""
    assert times.to_text(instant_at).endswith("Z")
    assert times.from_name(times.to_name(instant_at)) is not None


@pytest.mark.parametrize(
    ("text", "instant_at"),
    [
        ("20270115T080000Z", NOON_AT),
        ("20270115T080000.5Z", NOON_AT + 0.5),
        ("20270115T080000.005Z", NOON_AT + 0.005),
    ],
)
def test_instant_in_a_name_is_read(text: str, instant_at: float) -> None:
    """A name's instant may have one to three decimals."""
    assert times.from_name(text) == pytest.approx(instant_at, abs=1e-6)


@pytest.mark.parametrize("text", ["", "20270115", "20271315T080000Z", "20270115T250000Z", "2027-01-15T08:00:00Z", "x"])
def test_what_is_no_instant_in_a_name_is_none(text: str) -> None:
    """A name that only looks like an instant is no error."""
    assert times.from_name(text) is None


def test_instant_with_an_offset_is_read_as_utc() -> None:
    """A producer may write its own zone."""
    assert times.from_text("2027-01-15T09:00:00+01:00") == NOON_AT
    assert times.from_text("2027-01-15T08:00:00Z") == NOON_AT


@pytest.mark.parametrize(
    "text",
    [
        "2027-01-15T08:00:00",
        "1960-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "tomorrow",
        "",
        "2027-01-15T24:30:00Z",
    ],
)
def test_instant_without_zone_or_out_of_range_is_refused(text: str) -> None:
    """An instant that means different things on two machines is none."""
    with pytest.raises(ValueError):
        times.from_text(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (90, 90.0),
        (0.25, 0.25),
        ("90", 90.0),
        ("0.5", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        ("1w", 604800.0),
        ("250ms", 0.25),
        (" 5M ", 300.0),
    ],
)
def test_duration_is_seconds_or_units(value: object, seconds: float) -> None:
    """A duration is a number of seconds or a text with units, in any case."""
    assert times.parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        [],
        "",
        "5x",
        "m5",
        "5m x",
        "-5",
        -1,
        -0.5,
        float("nan"),
        float("inf"),
        10**400,
        "9" * 400,
        "99999999999999d",
        times.LONGEST_S + 1,
        "1e3",
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    """Wrong types, negative, endless and absurd durations are one kind of error, never another."""
    with pytest.raises(ValueError):
        times.parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.000s"),
        (0.007, "0.007s"),
        (4.2, "4.2s"),
        (5, "5s"),
        (59.96, "1m00s"),
        (125, "2m05s"),
        (3599.6, "1h00m"),
        (11400, "3h10m"),
        (187200, "2d04h"),
    ],
)
def test_duration_is_shown_in_two_units_at_most(seconds: float, text: str) -> None:
    """A person sees a duration at a glance, and never `60s` or `60m`."""
    assert times.format_duration(seconds) == text


def test_rounding_up_never_comes_before_the_instant() -> None:
    """A due time on disk is not before the instant that was computed."""
    assert times.round_up(NOON_AT + 0.0001) == pytest.approx(NOON_AT + 0.001, abs=1e-9)
    assert times.round_up(NOON_AT + 2) == NOON_AT + 2
