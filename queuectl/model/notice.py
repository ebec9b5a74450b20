"""Defines the reports for a person about a spool: one type and one signature for every source."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

INFO, WARNING = "info", "warning"


class Notice(NamedTuple):
    """A report that is not about one attempt."""

    level: str
    """INFO or WARNING."""
    kind: str
    """The name of the event for programs: `rejected`, `stuck`, `trouble` ..."""
    text: str


Notify = Callable[[Notice], None]
