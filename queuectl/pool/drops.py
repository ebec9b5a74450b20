"""Act on drops that are still arriving (see `arrivals`): try changed ones again, split or reject quiet ones."""

from __future__ import annotations

from queuectl.jobs.triage import Triage
from queuectl.jobs.verdict import Arriving, Busy, Declined
from queuectl.model import names
from queuectl.pool.arrivals import Arrivals
from queuectl.pool.core import Core


class Drops:
    """Handles the arriving files of one pool."""

    def __init__(self, core: Core, arrivals: Arrivals, triage: Triage) -> None:
        self._core = core
        self._arrivals = arrivals
        self._triage = triage

    def step(self, _now_s: float) -> None:
        """Suggest changed files again, then settle the quiet ones."""
        for name in self._arrivals.changed():
            self._core.queue.unskip(name, self._core.session.clock.now())
        for name, arriving in self._arrivals.quiet():
            self._settle(name, arriving)

    def _settle(self, name: str, arriving: Arriving) -> None:
        """Split or reject a file that has been quiet for long enough."""
        if names.is_batch(name) and not arriving.why:
            self._core.dispatcher.split(name)
        elif arriving.sig is not None:
            with self._core.breaker.guard():
                try:
                    verdict: Declined = self._triage.reject_quiet(name, arriving)
                except OSError as error:
                    stuck = self._triage.stuck(name, error)
                    if stuck is None:
                        raise
                    verdict = stuck
                if not isinstance(verdict, Arriving | Busy):  # if it just changed or is busy, wait for the next pass
                    self._core.dispatcher.passed(None, name, verdict)
