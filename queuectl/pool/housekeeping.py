"""Periodic maintenance: remove what dead workers left, delete expired jobs, repair torn records.

All of this happens in small steps, and nothing depends on it: a pool without time for it leaves only files that take up
space.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from queuectl.maintenance.retention import Retention
from queuectl.maintenance.sweeper import Sweeper
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.pool.breaker import Breaker
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes

if TYPE_CHECKING:
    from queuectl.maintenance.key_note_sweep import KeyNoteSweep
    from queuectl.maintenance.recovery import Recovery

_SWEEP_EVERY_S = 30.0
# Records that could not be repaired are tried again this often; usually their ids were busy for an instant.
_REPAIR_AGAIN_S = 1.0
# A spool without notes of keys is looked at this often.
_NOTES_EVERY_S = 600.0


class Housekeeping:
    """The housekeeping of one pool. `notify` is called with messages for people."""

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
        self._key_notes: KeyNoteSweep | None = None
        self._next_notes_s = 0.0
        self._recovery: Recovery | None = None
        self._has_begun = False
        self._next_sweep_s = 0.0
        self._next_repair_s = 0.0

    @property
    def is_repairing(self) -> bool:
        """True until every record was examined that may be torn because a pool did not stop cleanly."""
        return self._recovery is not None and not self._recovery.is_over

    @property
    def is_clean(self) -> bool:
        """False if the next pool must look for torn records again."""
        return self._recovery is None

    def start_repair(self) -> None:
        """Start to look for torn records, step by step, because a pool did not stop cleanly."""
        from queuectl.maintenance.recovery import Recovery

        self._recovery = Recovery(self._session, self._stripes)

    def sweep_leases(self) -> None:
        """Delete the leases that dead workers left, a last time. Raises OSError."""
        self._sweeper.sweep_leases()

    def compare_clock(self) -> None:
        """Do what comes before the first job of this pool (see `Retention.compare_clock`)."""
        with self._breaker.guard():
            self._retention.compare_clock()

    def begin(self) -> None:
        """Make the first step, which `step` waits for."""
        self._has_begun = True
        self.step()

    def step(self) -> None:
        """Do a small step. Call this repeatedly."""
        if not self._has_begun:
            return
        now_s = self._clock.monotonic()
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + _SWEEP_EVERY_S
            with self._breaker.guard():
                self._sweeper.sweep()
        with self._breaker.guard():
            self._retention.step()
            self._sweep_key_notes()
            self._repair()

    def _sweep_key_notes(self) -> None:
        if self._key_notes is None:
            now_s = self._clock.monotonic()
            if now_s < self._next_notes_s:
                return
            self._next_notes_s = now_s + _NOTES_EVERY_S
            if not os.path.isdir(self._session.spool.unique_dir):
                return
            from queuectl.maintenance.key_note_sweep import KeyNoteSweep  # few spools have unique keys

            self._key_notes = KeyNoteSweep(self._session)
        self._key_notes.step()

    def _repair(self) -> None:
        if self._recovery is None:
            return
        if not self._recovery.is_over:
            repaired = self._recovery.step()
        elif (now_s := self._clock.monotonic()) >= self._next_repair_s:
            self._next_repair_s = now_s + _REPAIR_AGAIN_S
            repaired = self._recovery.again()
        else:
            return
        if repaired:
            records = "record" if repaired == 1 else "records"
            self._notify(Notice(WARNING, "mended", f"repaired the torn end of {repaired} finished {records}"))
        if self._recovery.is_over and not self._recovery.left:
            self._recovery = None
