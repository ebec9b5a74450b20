"""Parses a rate, such as `100/1m`: so many starts in any window of this length, and no more. Computes only."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from queuectl.model import times

# A look at the log of starts reads this many lines at most.
COUNT_LIMIT = 10_000
SHORTEST_S, LONGEST_S = 0.1, 366 * 86400.0
ALLOWED = (
    f"a number of starts from 1 to {COUNT_LIMIT}, a slash, and a duration from 0.1s to 366d, such as "
    '"100/1m"; "" means no limit'
)
_TEXT = re.compile(r"\s*([0-9]{1,9})\s*/\s*(\S+)\s*")
_UNIT = re.compile("ms|[smhdw]")


class Rate(NamedTuple):
    """So many starts in any window of `window_s` seconds, at most."""

    starts: int
    window_s: float


def check(value: object) -> str:
    """Return the text of a rate, or "" for no limit; a duration without a number (`100/m`) gets one (`100/1m`).

    Raises:
        ValueError: not a rate, or out of range.
    """
    if value == "":
        return ""
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    count, duration = match.groups()
    if _UNIT.fullmatch(duration.lower()):
        duration = f"1{duration}"
    if not 1 <= int(count) <= COUNT_LIMIT or not SHORTEST_S <= times.parse_duration(duration) <= LONGEST_S:
        raise ValueError
    return f"{int(count)}/{duration}"


@functools.lru_cache(maxsize=256)
def of(text: str) -> Rate | None:
    """Return the rate that a checked text says, None for ""."""
    if not text:
        return None
    count, _, duration = text.partition("/")
    return Rate(int(count), times.parse_duration(duration))
