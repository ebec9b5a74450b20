"""A reason why a job does not start."""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """A reason: its name for programs, a sentence, and the command or the move that changes it ("": nothing does)."""

    kind: str
    text: str
    change: str
