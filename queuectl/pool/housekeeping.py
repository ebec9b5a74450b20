"""What a pool does for its spool beside the jobs: what died is swept, what is old goes, what was torn is mended.

All of it in small steps, and none of it in a hurry: a pool that does not get to it leaves only files that cost room.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from queuectl.jobs.claim import Claims
from queuectl.jobs.error_text import OrphanTexts
from queuectl.jobs.settle import Stripes
from queuectl.maintenance.recovery import Aftermath
from queuectl.maintenance.rescuer import Rescue
from queuectl.maintenance.retention import Retention
from queuectl.model.settings import Settings
from queuectl.pool.breaker import Troubles
from queuectl.spool import cancel_requests
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock

_SWEEP_EVERY_S = 30.0
# How often the records are tried again that could not be mended: mostly their ids were busy for an instant.
_MEND_AGAIN_S = 1.0


class Housekeeping:
    """The housekeeping of one pool. `tell(level, kind, text)` is called for what people should hear."""

    def __init__(
        self,
        spool: SpoolDir,
        settings: Settings,
        claims: Claims,
        stripes: Stripes,
        rescue: Rescue,
        troubles: Troubles,
        *,
        clock: Clock,
        rng: random.Random,
        tell: Callable[[str, str, str], None],
    ) -> None:
        self._spool = spool
        self._claims = claims
        self._rescue = rescue
        self._troubles = troubles
        self._clock = clock
        self._tell = tell
        self._retention = Retention(spool, settings, stripes, clock=clock, rng=rng, tell=tell)
        self._orphan_texts = OrphanTexts(spool, clock=clock)
        self._aftermath: Aftermath | None = None
        self._next_sweep_s = 0.0
        self._next_mend_s = 0.0

    @property
    def is_mending(self) -> bool:
        """True until each record was looked at that a pool without a clean end may have left torn."""
        return self._aftermath is not None and not self._aftermath.over

    @property
    def is_clean(self) -> bool:
        """False where the next pool has to look for torn records once more."""
        return self._aftermath is None

    def mend(self) -> None:
        """A pool did not end cleanly: look for what it left torn, from now on, step by step."""
        self._aftermath = Aftermath(self._spool, self._claims)

    def step(self) -> None:
        """A little of it. To be called again and again."""
        now_s = self._clock.monotonic()
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + _SWEEP_EVERY_S
            with self._troubles.taken():
                self._rescue.sweep_leases()
                cancel_requests.sweep(self._spool)
                self._orphan_texts.sweep()
        with self._troubles.taken():
            self._retention.step()
            self._mend()

    def _mend(self) -> None:
        if self._aftermath is None:
            return
        if not self._aftermath.over:
            mended = self._aftermath.step()
        elif (now_s := self._clock.monotonic()) >= self._next_mend_s:
            self._next_mend_s = now_s + _MEND_AGAIN_S
            mended = self._aftermath.again()
        else:
            return
        if mended:
            self._tell("warning", "mended", f"repaired the torn end of {mended} finished records")
        if self._aftermath.over and not self._aftermath.left:
            self._aftermath = None
