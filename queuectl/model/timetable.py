"""Computes the ticks of a schedule: cron expressions in time zones, and multiples of a duration. Pure.

Instants are seconds since 1970 UTC. The next tick is computed from the one before it, and what is not later is left
out: cronsim, asked from inside the hour that is repeated when clocks are set back, answers with an instant before the
question. So each fixed time runs once that night (promise P14).

This module imports cronsim and zoneinfo, so it is imported only where schedules are.
"""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from queuectl.model import times

LATE_S = 60.0
"""A tick that is noticed later than this is late."""
CAUGHT_UP_MOST = 100
"""Of more missed ticks than this, catch_up = all makes jobs of the newest."""
ONE, NONE, ALL = "one", "none", "all"

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = 5
# Spans in which the newest ticks are looked for, each this many times the one before.
_SPAN_S, _SPAN_FACTOR = 3600.0, 4.0
# No zone changes its clocks twice within this time.
_STRIDE_S = 7 * 86400.0


class Timetable(ABC):
    """The ticks of one schedule."""

    text: str
    """The expression, as the note of the schedule holds it."""

    @abstractmethod
    def after(self, instant_at: float) -> float | None:
        """Return the first tick that is later than an instant; None if there is none (within 50 years)."""

    @abstractmethod
    def newest(self, after_at: float, now_at: float, count: int) -> list[float]:
        """Return the newest ticks that are later than `after_at` and not later than `now_at`, oldest first."""

    def since(self, after_at: float) -> Iterator[float]:
        """Yield the ticks later than an instant."""
        at: float | None = after_at
        while at is not None and (at := self.after(at)) is not None:
            yield at


class Every(Timetable):
    """The multiples of a number of seconds since 1970 UTC, moved by an offset."""

    def __init__(self, every_s: int, offset_s: int = 0) -> None:
        self._every_s, self._offset_s = every_s, offset_s % every_s
        self.text = f"every {every_s} s, offset {self._offset_s} s"

    def after(self, instant_at: float) -> float | None:
        tick_at = ((instant_at - self._offset_s) // self._every_s + 1) * self._every_s + self._offset_s
        return tick_at if tick_at <= times.LATEST_AT else None

    def newest(self, after_at: float, now_at: float, count: int) -> list[float]:
        last_at = (now_at - self._offset_s) // self._every_s * self._every_s + self._offset_s
        made = [last_at - number * self._every_s for number in range(count)]
        return [tick_at for tick_at in reversed(made) if tick_at > after_at]


class Cron(Timetable):
    """A cron expression in a time zone.

    Raises:
        ValueError: the expression is not one; the text says what is wrong.
    """

    def __init__(self, expression: str, zone: str) -> None:
        self.expression = normalise(expression)
        self.zone_name = zone
        self._zone = UTC if zone == "UTC" else ZoneInfo(zone)
        self.text = f"cron {self.expression} in {zone}"

    @property
    def _is_fixed(self) -> bool:
        """Whether it is a time of the day, which runs once a day, or goes through the hours by real time."""
        minute, hour = self.expression.split()[:2]
        return not minute.startswith("*") and not hour.startswith("*")

    def after(self, instant_at: float) -> float | None:
        if instant_at >= times.LATEST_AT:
            return None
        if not self._is_fixed:
            return self._after_by_real_time(instant_at)
        asked = datetime.fromtimestamp(max(0.0, instant_at // 1), UTC).astimezone(self._zone)
        try:
            for found in CronSim(self.expression, asked):
                if (tick_at := found.astimezone(UTC).timestamp()) > instant_at:
                    return tick_at if tick_at <= times.LATEST_AT else None
        except (OverflowError, ValueError):  # the calendar ends
            return None
        return None

    def _after_by_real_time(self, instant_at: float) -> float | None:
        """Return the first later instant whose local time matches.

        cronsim is asked in the clock's own time between two of its changes: across a change it steps by whole hours,
        which passes over ticks where a zone changes by half an hour, or at a quarter to.
        """
        at = max(0.0, instant_at // 1)
        try:
            while at < times.LATEST_AT:
                offset_s = self._offset_s(at + 1)
                local = datetime.fromtimestamp(at + offset_s, UTC).replace(tzinfo=None)
                found = next(CronSim(self.expression, local), None)
                if found is None:
                    return None
                tick_at = found.replace(tzinfo=UTC).timestamp() - offset_s
                end_at = min(tick_at, at + _STRIDE_S)
                if self._offset_s(end_at) != offset_s:
                    at = self._change(at + 1, end_at, offset_s) - 1
                elif tick_at <= end_at:
                    return tick_at if tick_at <= times.LATEST_AT else None
                else:
                    at = end_at
        except (OverflowError, ValueError):  # the calendar ends
            pass
        return None

    def _offset_s(self, at: float) -> float:
        offset = datetime.fromtimestamp(at, UTC).astimezone(self._zone).utcoffset()
        return 0.0 if offset is None else offset.total_seconds()

    def _change(self, start_at: float, end_at: float, offset_s: float) -> float:
        """Return the second at which the offset changes between two instants."""
        while end_at - start_at > 1:
            middle_at = (start_at + end_at) // 2
            if self._offset_s(middle_at) == offset_s:
                start_at = middle_at
            else:
                end_at = middle_at
        return end_at

    def newest(self, after_at: float, now_at: float, count: int) -> list[float]:
        span_s = _SPAN_S
        while True:
            start_at = max(after_at, now_at - span_s)
            found = list(itertools.takewhile(lambda tick_at: tick_at <= now_at, self.since(start_at)))
            if len(found) >= count or start_at <= after_at:
                return found[-count:]
            span_s *= _SPAN_FACTOR

    def explain(self) -> str:
        """Return the expression in words."""
        try:
            return str(CronSim(self.expression, datetime(2026, 1, 1, tzinfo=UTC)).explain())
        except (ValueError, IndexError, KeyError):
            return self.expression


class Due(NamedTuple):
    """What is to be made of the ticks that are due."""

    make: list[float]
    """The ticks of which jobs are made, oldest first."""
    missed: int
    """How many others were due, as far as they were counted."""
    next_at: float | None
    """The first tick that is not due."""


def normalise(expression: str) -> str:
    """Return a cron expression with five fields and single blanks.

    Raises:
        ValueError: it is not one; the text says what is wrong.
    """
    words = expression.split()
    if len(words) == 1 and words[0].startswith("@"):
        macro = words[0].lower()
        if macro not in _MACROS:
            known = ", ".join(name for name in _MACROS if name not in ("@midnight", "@annually"))
            raise ValueError(f"{words[0][:40]!r} is unknown; the names are {known}")
        return _MACROS[macro]
    if len(words) != _FIELDS:
        more = "; for seconds use every" if len(words) == _FIELDS + 1 else ""
        raise ValueError(f"{expression[:60]!r} has {len(words)} fields instead of five, such as 0 2 * * *{more}")
    text = " ".join(words).upper()
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError, TypeError, IndexError) as error:
        raise ValueError(_cause(error, text)) from error
    return text


def _cause(error: Exception, text: str) -> str:
    """Return what cronsim found, with the field's own text."""
    fields = dict(zip(("minute", "hour", "day-of-month", "month", "day-of-week"), text.split(), strict=True))
    said = str(error)
    if isinstance(error, CronSimError) and (bad := fields.get(said.removeprefix("Bad "))) is not None:
        return f"{bad[:40]!r} is not allowed as {said.removeprefix('Bad ').replace('-', ' ')}"
    return f"{text[:60]!r} is not a cron expression"


@lru_cache(maxsize=64)
def is_zone(name: str) -> bool:
    """Return whether this machine knows a time zone."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True


def nearest_zone(name: str) -> str:
    """Return the known time zone whose name most resembles this one, or ""."""
    import difflib
    import zoneinfo

    known = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
    folded = name.lower().replace(" ", "_")
    if folded in known:
        return known[folded]
    # A city alone: Berlin.
    cities = [zone for zone in sorted(known) if zone.rpartition("/")[2] == folded]
    near = cities or difflib.get_close_matches(folded, known, n=1, cutoff=0.6)
    return known[near[0]] if near else ""


def put_off_s(schedule: str, tick_at: float, spread_s: float) -> float:
    """Return by how many seconds, to the millisecond, a tick's job is put off: each maker gets the same."""
    if not spread_s:
        return 0.0
    digest = hashlib.sha256(f"{schedule} {int(tick_at)}".encode()).digest()
    return int(int.from_bytes(digest[:8], "big") / 2**64 * spread_s * 1000) / 1000


def due(table: Timetable, next_at: float, now_at: float, *, catch_up: str, lasts_s: float | None = None) -> Due:
    """Return what is to be made of the ticks from `next_at` to `now_at`, by the catch-up rule.

    A tick whose job would not be started any more (`lasts_s` after the tick) is missed.
    """
    if next_at > now_at:
        return Due([], 0, next_at)
    found = [next_at, *table.newest(next_at, now_at, CAUGHT_UP_MOST)]
    following_at = table.after(max(found[-1], now_at))
    make = found
    if now_at - next_at > LATE_S:
        if catch_up == ONE:
            make = found[-1:]
        elif catch_up == NONE:
            make = [tick_at for tick_at in found if now_at - tick_at <= LATE_S]
        else:
            make = found[-CAUGHT_UP_MOST:]
    if lasts_s is not None:
        make = [tick_at for tick_at in make if now_at - tick_at < lasts_s]
    return Due(make, len(found) - len(make), following_at)
