"""Checks of the values of settings: each converts a TOML value to the value to use, or raises ValueError."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from queuectl.model import sizes, times

FOREVER = "forever"
UNLIMITED = "unlimited"
AUTO = "auto"


def integer(low: int, high: int) -> Callable[[Any], int]:
    """Return the check of a whole number."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return check


def integer_or_auto(low: int, high: int) -> Callable[[Any], int | None]:
    """Return the check of a whole number, or None for `auto`."""
    whole = integer(low, high)
    return lambda value: None if value == AUTO else whole(value)


def number(low: float, high: float) -> Callable[[Any], float]:
    """Return the check of a number."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError
        return value

    return check


def boolean(value: Any) -> bool:
    """Check a boolean."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def duration(low_s: float, high_s: float, *, forever: bool = False) -> Callable[[Any], float | None]:
    """Return the check of a duration, which makes seconds of it; None for `forever`."""

    def check(value: Any) -> float | None:
        if forever and value == FOREVER:
            return None
        seconds = times.parse_duration(value)
        if not low_s <= seconds <= high_s:
            raise ValueError
        return seconds

    return check


def size(value: Any) -> int | None:
    """Return a number of bytes for a size such as `100M`; None for `unlimited`."""
    return None if value == UNLIMITED else sizes.parse(value)


def exit_codes(value: Any) -> tuple[int, ...]:
    """Check a list of exit codes other than 0."""
    if not isinstance(value, list | tuple) or not all(type(code) is int and -(2**31) <= code < 2**32 for code in value):
        raise ValueError
    if 0 in value:
        raise ValueError
    return tuple(value)


def one_of(*words: str) -> Callable[[Any], str]:
    """Return the check of one of these words."""

    def check(value: Any) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return check


def text(value: Any) -> str:
    """Check a text without NUL."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value


def address(value: Any) -> str:
    """Check the address of a scheduler; "" for none."""
    if value and not (isinstance(value, str) and _ADDRESS.fullmatch(value)):
        raise ValueError
    return str(value)


def command(value: Any) -> tuple[str, ...]:
    """Check a program and its arguments; an empty list for none."""
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise ValueError
    if value and not value[0].strip():
        raise ValueError
    return tuple(value)


# A name, an IPv4 address, or an IPv6 address in brackets; or a folder of this machine's own nodes.
_ADDRESS = re.compile(r"(?:tls|tcp)://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}|unix:/[^\0]+")
