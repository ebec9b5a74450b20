"""What a person should know about a spool: one type and one signature for all that report it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

INFO, WARNING = "info", "warning"


class Notice(NamedTuple):
    """Something to report that is not about one run."""

    level: str
    """INFO or WARNING."""
    kind: str
    """The name of the event for programs: `rejected`, `stuck`, `trouble` ..."""
    text: str


Notify = Callable[[Notice], None]
