"""What a running command says about its progress: the last line of a file that it writes. Computes only.

The line is `42`, `42 page 3 of 7`, `page 3 of 7`, or a JSON object with `percent`, `text` or both. It comes from a
command, so it is made safe to show and cut.
"""

from __future__ import annotations

import json
import math
import re

import msgspec

from queuectl.model.text import safe

TAIL_BYTES = 4096
_CHARS = 120
_NUMBER = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)(?:\s*%)?(?=\s|$)\s*")


class Progress(msgspec.Struct, frozen=True):
    """A share from 0 to 100, or None if the command gives none, and a text that is safe to show."""

    percent: float | None
    text: str

    def __str__(self) -> str:
        share = "" if self.percent is None else f"{self.percent:.0f} %"
        return f"{share}  {self.text}" if share and self.text else share or self.text


def parse(tail: bytes) -> Progress | None:
    """Return the progress in the last bytes of the file, or None if they have no text."""
    lines = tail[-TAIL_BYTES:].decode("utf-8", "replace").split("\n")
    line = next(
        (text for text in reversed([text.rstrip("\r").rpartition("\r")[2].strip() for text in lines]) if text), ""
    )
    if not line:
        return None
    if line.startswith("{"):
        return _from_json(line)
    match = _NUMBER.match(line)
    if match is None:
        return Progress(None, _shown(line))
    return Progress(_percent(float(match[1])), _shown(line[match.end() :]))


def _from_json(line: str) -> Progress:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return Progress(None, _shown(line))
    percent, text = document.get("percent"), document.get("text")
    is_number = isinstance(percent, int | float) and not isinstance(percent, bool)
    return Progress(_percent(percent) if is_number else None, _shown(text) if isinstance(text, str) else "")


def _percent(value: float) -> float | None:
    try:
        return min(100.0, max(0.0, float(value))) if math.isfinite(value) else None
    except OverflowError:
        return None


def _shown(text: str) -> str:
    text = safe(text[:_CHARS])
    return text if len(text) <= _CHARS else text[: _CHARS - 1] + "…"
