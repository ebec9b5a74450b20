"""Do the steps of a pool that are due every 0.2 s, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# Stop files, PAUSED, arriving files and orphans are checked this often, so that recovery takes less than a second.
TICK_S = 0.2

Step = Callable[[float], object]


class Plan(NamedTuple):
    """The steps of a tick."""

    first: Step
    """The step that is always done."""
    is_in_place: Callable[[float], bool]
    """Checks whether the spool is in place."""
    steps: list[Step]
    """The steps if it is; a new step needs one line."""
    without_spool: Callable[[], None]
    """The step if it is not."""


class Ticks:
    """A duty of the loop that does the steps of a plan every `TICK_S`. Each gets the time (monotonic)."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._next_s = 0.0

    def step(self, now_s: float) -> None:
        """Do a tick if it is time."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + TICK_S
        self._plan.first(now_s)
        if not self._plan.is_in_place(now_s):
            self._plan.without_spool()
            return
        for step in self._plan.steps:
            step(now_s)

    def due_s(self) -> float:
        """Return when the next tick is due (monotonic)."""
        return self._next_s

    def soon(self) -> None:
        """Do the next tick in the next round of the loop."""
        self._next_s = 0.0
