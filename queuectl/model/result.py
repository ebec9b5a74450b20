"""Reads what a command gave back, as far as it is shown or handed on: JSON, or a bounded text. Computes only."""

from __future__ import annotations

import json
import math
from typing import Any

SHOWN_MAX_BYTES = 64 * 1024
"""A longer result is named by its path only."""


def as_json(data: bytes) -> Any:
    """Return the value in a JSON text, or None for any other text."""
    try:
        return json.loads(data.decode(), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def as_text(data: bytes) -> str | None:
    """Return a text in UTF-8, or None for anything else. Not safe to show."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
