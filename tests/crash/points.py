"""Which points of a sweep the default run takes: each n-th, others for each operation. The slow run takes all."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeVar

import pytest

_T = TypeVar("_T")


def each_nth(points: Sequence[_T], nth: int, name: str) -> Sequence[_T]:
    """Return each n-th of the points, from one that hangs on the operation's name; all if there are fewer than `nth`.

    Operations have steps in common (a lease, a move, a log), so a step that one sweep leaves out is in another one.
    """
    return points[zlib.crc32(name.encode()) % nth :: nth] if len(points) >= nth else points


def by_default(nth: int) -> list[object]:
    """Return what a test's `nth` is: this by default, and 1 in the slow run."""
    return [nth, pytest.param(1, marks=pytest.mark.slow)]
