"""What a pool looks at once its workers have their first names, so that no job waits for it."""

from __future__ import annotations

from queuectl.model.notice import INFO, WARNING, Notice
from queuectl.pool.core import Core
from queuectl.pool.crew import Crew
from queuectl.pool.housekeeping import Housekeeping

# A worker that takes longer to start does not keep the pool from its look.
_LATEST_S = 1.0


class FirstLook:
    """A duty of the loop, after that which suggests names: a quick check of the spool; then the housekeeping begins."""

    def __init__(self, core: Core, crew: Crew, housekeeping: Housekeeping) -> None:
        self._core = core
        self._crew = crew
        self._housekeeping = housekeeping
        self._until_s = core.session.clock.monotonic() + _LATEST_S
        self.is_over = False

    def step(self, now_s: float) -> None:
        """Look, if it is time."""
        if self.is_over or (self._crew.has_unready and now_s < self._until_s):
            return
        self.is_over = True
        self._check()
        self._housekeeping.begin()

    def due_s(self) -> float | None:
        """Return when to look at the latest (monotonic), or None after the look."""
        return None if self.is_over else self._until_s

    def _check(self) -> None:
        """Report the findings of a quick check of the spool (see `check.quick`)."""
        from queuectl.maintenance import check

        with self._core.breaker.guard():
            for found in check.quick(self._core.session):
                level = WARNING if found.severity == "problem" else INFO
                self._core.notify(Notice(level, "check", f"{found.path}: {found.text}"))
