"""What a pool does for its spool beside the jobs: what died is swept, what is old goes, what was torn is mended.

All of it in small steps, and none of it in a hurry: a pool that does not get to it leaves only files that cost room.
"""

from __future__ import annotations

from queuectl.maintenance.recovery import Recovery
from queuectl.maintenance.retention import Retention
from queuectl.maintenance.sweeper import Sweeper
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.pool.breaker import Breaker
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes

_SWEEP_EVERY_S = 30.0
# How often the records are tried again that could not be mended: mostly their ids were busy for an instant.
_MEND_AGAIN_S = 1.0


class Housekeeping:
    """The housekeeping of one pool. `notify` is called for what people should know."""

    def __init__(
        self,
        session: Session,
        stripes: Stripes,
        breaker: Breaker,
        *,
        notify: Notify,
    ) -> None:
        self._session, self._stripes = session, stripes
        self._breaker = breaker
        self._clock = session.clock
        self._notify = notify
        self._retention = Retention(session, stripes, notify=notify)
        self._sweeper = Sweeper(session, stripes)
        self._recovery: Recovery | None = None
        self._next_sweep_s = 0.0
        self._next_mend_s = 0.0

    @property
    def is_mending(self) -> bool:
        """True until each record was looked at that a pool without a clean end may have left torn."""
        return self._recovery is not None and not self._recovery.is_over

    @property
    def is_clean(self) -> bool:
        """False where the next pool has to look for torn records once more."""
        return self._recovery is None

    def mend(self) -> None:
        """A pool did not end cleanly: look for what it left torn, from now on, step by step."""
        self._recovery = Recovery(self._session, self._stripes)

    def sweep_leases(self) -> None:
        """Delete the leases that dead workers left, once more. Raises OSError."""
        self._sweeper.sweep_leases()

    def step(self) -> None:
        """A little of it. To be called again and again."""
        now_s = self._clock.monotonic()
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + _SWEEP_EVERY_S
            with self._breaker.guard():
                self._sweeper.sweep()
        with self._breaker.guard():
            self._retention.step()
            self._mend()

    def _mend(self) -> None:
        if self._recovery is None:
            return
        if not self._recovery.is_over:
            mended = self._recovery.step()
        elif (now_s := self._clock.monotonic()) >= self._next_mend_s:
            self._next_mend_s = now_s + _MEND_AGAIN_S
            mended = self._recovery.again()
        else:
            return
        if mended:
            self._notify(Notice(WARNING, "mended", f"repaired the torn end of {mended} finished records"))
        if self._recovery.is_over and not self._recovery.left:
            self._recovery = None
