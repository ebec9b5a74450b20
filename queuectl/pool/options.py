"""How a pool works: what `queuectl worker start` is asked for."""

from __future__ import annotations

from typing import NamedTuple


class Options(NamedTuple):
    """The options of one pool."""

    workers: int
    """How many worker processes it has."""
    cwd: str
    """The folder in which jobs run that name none."""
    drain: bool = False
    """End when nothing is left."""
    max_jobs: int | None = None
    """End after this many runs."""
