"""Converts instants and durations from and to text. Computes only; `system.clock` reads the clocks.

In memory an instant is a float, seconds since 1970 UTC (names end in `_at`), and a duration is a float in seconds
(names end in `_s`). On disk an instant is RFC 3339 in UTC with milliseconds, `2026-11-24T03:15:00.120Z`; in a file
name, where Windows allows no colon, it is `20261124T031500.120Z`.
"""

from __future__ import annotations

import functools
import math
import re
import time
from datetime import UTC, datetime, timedelta

# The last instant with a year of four digits; it is also within the limits of gmtime.
LATEST_AT = 253402300799.0
# Longer durations are refused: a hundred years is a typing error, and sums stay below LATEST_AT.
LONGEST_S = 100 * 366 * 86400.0
# Milliseconds: the rounding error of a float of seconds times 1000, until the year 2255. Without this margin a whole
# millisecond would become the one before or after.
_NOISE_MS = 0.002

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d|w)")
_NAME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(?:\.(\d{1,3}))?Z")


# On Windows gmtime ends with the year 3000.
_GMTIME_LATEST_AT = 32_000_000_000


def _calendar(whole: int) -> time.struct_time:
    """Return the parts of a date in UTC, from `time.gmtime` if possible, because that is ten times as fast."""
    if whole < _GMTIME_LATEST_AT:
        return time.gmtime(whole)
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=whole)).utctimetuple()


def to_text(instant_at: float) -> str:
    """Return RFC 3339 in UTC with milliseconds, rounded down, for an instant in seconds since 1970."""
    if not 0.0 <= instant_at <= LATEST_AT:
        instant_at = min(max(instant_at, 0.0), LATEST_AT)
    whole, rest = divmod(int(instant_at * 1000 + _NOISE_MS), 1000)
    return f"{_second_to_text(whole)}.{rest:03d}Z"


@functools.lru_cache(maxsize=16)
def _second_to_text(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", _calendar(whole))


@functools.lru_cache(maxsize=16)
def second_to_stamp(whole: int) -> str:
    """Return a second since 1970 as generated ids begin: `20261124-031500`."""
    return time.strftime("%Y%m%d-%H%M%S", _calendar(whole))


def to_name(instant_at: float) -> str:
    """Return an instant for a file name, rounded up to the next millisecond (never early)."""
    milliseconds = math.ceil(min(max(instant_at, 0.0), LATEST_AT) * 1000 - _NOISE_MS)
    whole, rest = divmod(milliseconds, 1000)
    text = time.strftime("%Y%m%dT%H%M%S", _calendar(whole))
    return f"{text}.{rest:03d}Z" if rest else f"{text}Z"


def from_name(text: str) -> float | None:
    """Return the instant written by `to_name`, or None if the text is not one."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    milliseconds = int((match.group(7) or "0").ljust(3, "0"))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return (moment + timedelta(milliseconds=milliseconds)).timestamp()


def from_text(text: str) -> float:
    """Return the instant of an RFC 3339 text with a zone (`Z` or an offset).

    Raises:
        ValueError: not such a text, no zone, or a year outside 1970 to 9999.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("it must have the form 2026-11-24T03:15:00Z") from error
    if moment.tzinfo is None:
        raise ValueError("it has no time zone; add Z for UTC or an offset such as +01:00")
    instant_at = moment.timestamp()
    if not 0 <= instant_at <= LATEST_AT:
        raise ValueError("it is outside the years 1970 to 9999")
    return instant_at


def instant(text: str) -> float | None:
    """Return the instant of a text as `from_text`, or None if the text is not an instant."""
    try:
        return from_text(text)
    except ValueError:
        return None


def parse_duration(value: object) -> float:
    """Return the seconds of a number or a text such as `30s`, `5m`, `1h30m`, `2d`, `1.5h`.

    Raises:
        ValueError: not a duration, negative, not finite, or longer than a hundred years.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected a number of seconds or a text such as 30s, 5m, 2h, 1d")
    if isinstance(value, str):
        seconds = _parse_duration_text(value.strip().lower())
    else:
        if isinstance(value, int) and value.bit_length() > 64:
            raise ValueError("it is longer than a hundred years")
        seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("a duration is zero or more")
    if seconds > LONGEST_S:
        raise ValueError("it is longer than a hundred years")
    return seconds


def _parse_duration_text(text: str) -> float:
    if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", text):
        return float(text)
    position, seconds = 0, 0.0
    for match in _PART.finditer(text):
        if match.start() != position:
            break
        seconds += float(match.group(1)) * _UNITS[match.group(2)]
        position = match.end()
    if position != len(text) or not text:
        raise ValueError(f"{text[:40]!r} is not a duration such as 30s, 5m, 2h, 1d or a number of seconds")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration for a person, with at most two units: `0.007s`, `4.2s`, `2m05s`, `3h10m`, `2d04h`."""
    if seconds < 1:
        return f"{max(seconds, 0):.3f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def round_up(instant_at: float) -> float:
    """Return the instant at the next whole millisecond, so that neither its text nor its name is earlier."""
    return math.ceil(instant_at * 1000 - _NOISE_MS) / 1000
