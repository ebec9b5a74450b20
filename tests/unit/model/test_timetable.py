"""When the ticks of a schedule are: cron in time zones at every change of the clocks, and multiples of a duration."""

from __future__ import annotations

import functools
import itertools
import random
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.model import timetable
from queuectl.model.timetable import ALL, NONE, ONE, Cron, Every

# Half an hour of summer time; winter time in Ramadan; none any more; 45 minutes; both signs; two changes at midnight.
ODD_ZONES = (
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Chatham",
    "America/St_Johns",
    "Europe/Dublin",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Europe/Berlin",
)
YEAR_AT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
NEXT_YEAR_AT = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
DAY_S = 86400.0


@functools.cache
def _changes(zone: str) -> list[float]:
    """The instants of 2026 at which the clocks of a zone change, to the minute."""
    where, found = ZoneInfo(zone), []
    for hour in range(365 * 24):
        at = YEAR_AT + hour * 3600
        offsets = [datetime.fromtimestamp(each, UTC).astimezone(where).utcoffset() for each in (at, at + 3600)]
        if offsets[0] != offsets[1]:
            found += [
                at + minute * 60 + 60
                for minute in range(60)
                if datetime.fromtimestamp(at + minute * 60, UTC).astimezone(where).utcoffset()
                != datetime.fromtimestamp(at + minute * 60 + 60, UTC).astimezone(where).utcoffset()
            ]
    return found


def _ticks(table: timetable.Timetable, start_at: float, end_at: float) -> list[float]:
    return list(itertools.takewhile(lambda at: at < end_at, table.since(start_at)))


def _local(at: float, zone: str) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone))


def test_the_odd_zones_have_changes() -> None:
    """The zones of these tests change their clocks in 2026, but for those that are there because they do not."""
    assert {zone for zone in ODD_ZONES if not _changes(zone)} == {"Pacific/Apia", "Asia/Kathmandu"}


@pytest.mark.parametrize("zone", ODD_ZONES)
@pytest.mark.parametrize("hour", [0, 1, 2, 3])
def test_each_day_has_exactly_one_run_of_a_fixed_time(zone: str, hour: int) -> None:
    """A daily time runs once on each day of 2026, also in the hours that are left out or repeated (P14)."""
    for minute in (0, 30, 59):
        ticks = _ticks(Cron(f"{minute} {hour} * * *", zone), YEAR_AT, NEXT_YEAR_AT)
        days = [_local(at, zone).date() for at in ticks]
        assert len(days) == len(set(days)) >= 364
        assert all(after - before == timedelta(days=1) for before, after in itertools.pairwise(days))


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_a_fixed_time_in_a_gap_runs_at_its_end_and_in_a_fold_at_the_first_pass(zone: str) -> None:
    """Around each change a time of the day runs when the clocks show it for the first time, or have jumped over it."""
    for change_at in _changes(zone):
        for minutes in range(-90, 90, 5):
            wanted = _local(change_at, zone).replace(tzinfo=None) + timedelta(minutes=minutes)
            table = Cron(f"{wanted.minute} {wanted.hour} {wanted.day} {wanted.month} *", zone)
            (tick_at,) = _ticks(table, YEAR_AT, NEXT_YEAR_AT)
            shown = [
                at
                for at in (change_at - 10800 + step * 60 for step in range(360))
                if _local(at, zone).replace(tzinfo=None) >= wanted
            ]
            assert tick_at == shown[0], (zone, wanted)


@pytest.mark.parametrize("zone", ODD_ZONES)
@pytest.mark.parametrize("expression", ["*/20 * * * *", "15 * * * *", "* 2 * * *", "7,37 */2 * * *", "*/7 1-3 * * *"])
def test_wildcards_run_by_real_time(zone: str, expression: str) -> None:
    """An expression with a wildcard as minute or hour runs whenever the local time matches, in both passes."""
    minute, hour = expression.split()[:2]
    for change_at in _changes(zone):
        start_at = change_at - 4 * 3600
        expected = []
        for step in range(1, 8 * 60):
            local = _local(start_at + step * 60, zone)
            if _matches(minute, local.minute, 0, 59) and _matches(hour, local.hour, 0, 23):
                expected.append(start_at + step * 60)
        assert _ticks(Cron(expression, zone), start_at, start_at + 8 * 3600) == expected


def _matches(field: str, value: int, first: int, last: int) -> bool:
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, high = (first, last) if span == "*" else (int(span.split("-")[0]), int(span.split("-")[-1]))
        if low <= value <= high and (value - low) % int(step or 1) == 0:
            return True
    return False


@pytest.mark.parametrize("zone", ODD_ZONES)
@pytest.mark.parametrize("expression", ["30 2 * * *", "0,30 0-3 * * *", "*/20 * * * *", "0 3 L * *", "15 1 * * MON#1"])
def test_the_question_s_instant_does_not_matter(zone: str, expression: str) -> None:
    """Whenever it is asked, the next tick is the first one of all that is later: a restart changes nothing (P14)."""
    table = Cron(expression, zone)
    rng = random.Random(1)
    is_monthly = not expression.endswith(" * * *")
    around_s = (40 if is_monthly else 2) * DAY_S
    for change_at in _changes(zone) or [YEAR_AT + 100 * DAY_S]:
        ticks = _ticks(table, change_at - around_s, change_at + around_s)
        asked = [change_at + rng.uniform(-2 * 3600, 2 * 3600) for _ in range(60)]
        for at in [*asked, *(tick + shift for tick in ticks[:20] for shift in (-0.5, 0, 0.5))]:
            if at < ticks[-1]:
                assert table.after(at) == next(tick for tick in ticks if tick > at)


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_a_scheduler_that_restarts_each_minute_runs_a_night_once(zone: str) -> None:
    """Somebody who asks anew every minute, through a night in which clocks are set back, sees one tick at 02:30."""
    table = Cron("30 2 * * *", zone)
    for change_at in _changes(zone):
        seen = {table.after(change_at - 12 * 3600 + minute * 60) for minute in range(24 * 60)}
        inside = [at for at in seen if at is not None and abs(at - change_at) < 12 * 3600]
        assert len(inside) == 1


@given(st.integers(1, 10**6), st.integers(0, 10**7), st.floats(0, 3e9), st.integers(1, 50), st.floats(0, 1e7))
def test_every_is_on_multiples(every: int, offset: int, at: float, count: int, ahead: float) -> None:
    """Ticks of `every` are multiples since 1970, moved by the offset, and need no anchor."""
    table = Every(every, offset)
    tick_at = table.after(at)
    assert tick_at is not None
    assert at < tick_at <= at + every
    assert (tick_at - offset) % every == 0
    newest = table.newest(at, at + ahead, count)
    assert newest == _ticks(table, at, at + ahead + 1e-6)[-count:] if ahead / every < 1000 else len(newest) == count


@pytest.mark.parametrize("expression", ["* * * * *", "0 * * * *", "30 2 * * *", "0 0 1 * *", "*/7 3,4 * * FRI"])
def test_the_newest_ticks_are_found_without_walking_through_all(expression: str) -> None:
    """After a year without a pool, the newest ticks are found at once, and are the last of all (P14)."""
    table = Cron(expression, "Europe/Berlin")
    for count in (1, 5, 100):
        newest = table.newest(YEAR_AT, NEXT_YEAR_AT, count)
        assert newest == sorted(set(newest))
        assert newest[-1] <= NEXT_YEAR_AT < (table.after(newest[-1]) or 0)
        assert all(table.after(before) == after for before, after in itertools.pairwise(newest))
        assert len(newest) == count or newest == _ticks(table, YEAR_AT, NEXT_YEAR_AT + 0.5)
    assert table.newest(NEXT_YEAR_AT, NEXT_YEAR_AT, 5) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 2 * *", "five"),
        ("0 0 2 * * *", "for seconds use every"),
        ("61 * * * *", "'61' is not allowed as minute"),
        ("0 24 * * *", "hour"),
        ("0 0 32 * *", "day of month"),
        ("0 0 * FOO *", "month"),
        ("0 0 * * 9", "day of week"),
        ("@reboot", "@daily"),
        ("@", "@daily"),
        ("", "five"),
        ("L * * * *", "minute"),
        ("0 0 30 2 *", "day of month"),
        ("*/0 * * * *", "minute"),
        ("0 0 ? * *", "day of month"),
        ("٣ * * * *", "minute"),
    ],
)
def test_a_wrong_expression_says_which_field(text: str, says: str) -> None:
    """The error names the field and its text."""
    with pytest.raises(ValueError, match=re.escape(says)):
        Cron(text, "UTC")


@given(st.text("0123456789*,-/#LWMONJAN@ \t?", max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Any text is an expression or raises ValueError, and an expression has a next tick or none."""
    try:
        table = Cron(text, "Europe/Berlin")
    except ValueError:
        return
    assert (at := table.after(YEAR_AT)) is None or at > YEAR_AT
    assert table.explain()


@pytest.mark.parametrize(
    ("late_s", "catch_up", "made", "missed"),
    [
        (0, ONE, [0], 0),
        (30, ONE, [0, 10, 20, 30], 0),
        (30, NONE, [0, 10, 20, 30], 0),
        (60, ONE, [0, 10, 20, 30, 40, 50, 60], 0),
        (70, ONE, [70], 7),
        (70, NONE, [10, 20, 30, 40, 50, 60, 70], 1),
        (70, ALL, [0, 10, 20, 30, 40, 50, 60, 70], 0),
        (5000, ONE, [5000], 100),
        (5000, NONE, [4940, 4950, 4960, 4970, 4980, 4990, 5000], 94),
        (5000, ALL, list(range(4010, 5001, 10)), 1),
    ],
)
def test_the_catch_up_rule(late_s: float, catch_up: str, made: list[int], missed: int) -> None:
    """FORMAT.md, "Late": one for the newest, none, or each of the newest hundred (P14)."""
    first_at = 1_800_000_000.0
    due = timetable.due(Every(10), first_at, first_at + late_s, catch_up=catch_up)
    assert [at - first_at for at in due.make] == made
    assert due.missed == missed
    assert due.next_at == first_at + late_s + 10


def test_a_tick_whose_job_has_expired_makes_none() -> None:
    """With expires_after the newest missed tick makes a job only while that would start."""
    table, at = Every(3600), 1_800_000_000.0
    assert timetable.due(table, at, at + 300, catch_up=ONE, lasts_s=301).make == [at]
    late = timetable.due(table, at, at + 300, catch_up=ONE, lasts_s=300)
    assert (late.make, late.missed, late.next_at) == ([], 1, at + 3600)


def test_what_is_not_due_is_left_alone() -> None:
    """Before the next tick nothing is made."""
    assert timetable.due(Every(10), 1000.0, 999.9, catch_up=ALL) == timetable.Due([], 0, 1000.0)


@given(st.text("abc-", min_size=1, max_size=8), st.integers(0, 10**10), st.floats(0, 10**6))
def test_spread_is_the_same_for_every_maker(name: str, tick: int, spread: float) -> None:
    """The part of the spread depends on name and tick alone, and is within it."""
    first = timetable.put_off_s(name, float(tick), spread)
    assert first == timetable.put_off_s(name, float(tick), spread)
    assert 0 <= first <= spread


def test_spread_spreads() -> None:
    """A hundred schedules of one time start all over the spread."""
    parts = sorted(timetable.put_off_s(f"job{number}", 1_800_000_000.0, 600.0) for number in range(100))
    assert parts[0] < 60
    assert parts[-1] > 540
    assert max(after - before for before, after in itertools.pairwise(parts)) < 60


@pytest.mark.parametrize(
    ("typed", "near"),
    [("europe/berlin", "Europe/Berlin"), ("Berlin", "Europe/Berlin"), ("Europ/Berlin", "Europe/Berlin")],
)
def test_a_wrong_zone_has_a_near_one(typed: str, near: str) -> None:
    """A city alone or a typing error names the zone that was meant."""
    assert timetable.nearest_zone(typed) == near
