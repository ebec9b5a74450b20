"""List pending/ and watch it in between: the listing is the truth that events only hint at (promise P8).

pending/ is listed every `scan_s`, and at once if something asks for it. In between, events of the file system bring
names, as long as there is little to do: with many names in memory, the next listing brings all new ones at once.
"""

from __future__ import annotations

import math
from typing import Any

from queuectl.maintenance.rejected_files import RejectedFiles
from queuectl.maintenance.stale import Stale
from queuectl.model.lifecycle import PENDING
from queuectl.model.notice import INFO, Notice
from queuectl.pool.control import Control
from queuectl.pool.core import Core
from queuectl.pool.due_times import DueTimes
from queuectl.pool.folder_watch import FolderWatch
from queuectl.pool.hooks import STALE, Hooks
from queuectl.pool.presence import Presence
from queuectl.pool.ticks import TICK_S
from queuectl.spool import batch
from queuectl.system import volume
from queuectl.system.watch import Watch

# A listing may take up to this share of the time: at a million names one listing is most of a second.
_SCAN_SHARE = 0.05
# With more names in memory than this, events would only bring what the next listing brings at once.
_DISARM_AT = 200
# Listings with more names than this are kept.
_LONG = 5000
# A pool that ends on its own arms the watch after this long with little to do. Most of those that run out of jobs end
# before, and have no use for it: the library takes 10 ms to import, and the system up to 20 ms to end the events.
_CALM_S = 0.1
# If the system refuses events, the next try is this much later.
_ARM_AGAIN_S = 5.0
# If the file system reports no changes, pending/ is listed at least this often, by names alone. A slow listing is made
# less often all the same (_SCAN_SHARE).
BLIND_SCAN_S = 2.0


class Scanner:
    """Lists pending/ and rejected/ for one pool, and watches pending/ in between."""

    def __init__(self, core: Core, presence: Presence, control: Control, hooks: Hooks) -> None:
        self._core = core
        self._clock = core.session.clock
        self._spool = spool = core.session.spool
        self._presence = presence
        self._control = control
        self.due_times = DueTimes(core)
        self._rejected = RejectedFiles(core.session)
        self._stale = Stale(core.session, on_stale=lambda name: hooks.fire(STALE, spool.path(PENDING, name)))
        self._watch = Watch(spool.folder(PENDING))
        nature = volume.of(spool.folder(PENDING)).nature
        self.is_local = volume.reports_events(nature)
        self._ends_on_its_own = core.options.drain or core.options.max_jobs is not None
        self._may_arm = self.is_local or nature == volume.UNKNOWN
        scan_s = core.session.settings.scan_s
        self._scan_s = scan_s if self.is_local else min(scan_s, BLIND_SCAN_S)
        self._pending = FolderWatch([spool.folder(PENDING)], clock=self._clock, is_local=self.is_local)
        self._listed: tuple[list[str], list[str]] | None = None
        """A long listing, as long as nothing else can be there."""
        self.fresh: list[str] = []
        """The names that events have brought since the last round of the loop."""
        self._next_scan_s = -math.inf  # at once
        self._next_arm_s = 0.0
        self._calm_until_s = math.inf
        """When there will have been little to do for `_CALM_S` (monotonic); inf while there is more to do."""

    # --------------------------------------------------------------------------------------------------- source

    @property
    def conn(self) -> Any:
        """The source of events, or None while the watch is not armed."""
        return self._watch.source

    def receive(self) -> None:
        """Receive the names that events bring; `PromptFeeding` takes them from `fresh`."""
        self.fresh += self._watch.names()

    # ----------------------------------------------------------------------------------------------------- duty

    def step(self, now_s: float) -> None:
        """List pending/ if it is time."""
        if now_s >= self._next_scan_s:
            self.scan()

    def due_s(self) -> float:
        """Return when pending/ is listed next (monotonic)."""
        return self._next_scan_s

    def scan_soon(self) -> None:
        """List pending/ in this round of the loop."""
        self._next_scan_s = -math.inf

    def scan(self) -> None:
        """List pending/, rejected/ and the unfinished splits."""
        started_s = self._clock.monotonic()
        if not self._presence.is_in_place:
            self._next_scan_s = started_s + TICK_S
            return
        core = self._core
        with core.breaker.guard():
            generated, others = self._list()
            self.due_times.begin(started_s)
            self._stale.check(generated + others, paused=self._control.is_paused)
            for name in self._rejected.readmit():
                text = f"{name} is now a valid job and moved from rejected/ back to pending/"
                core.notify(Notice(INFO, "healed", text))
                core.dispatcher.add([name])
            core.dispatcher.go_on_splitting(batch.unfinished(self._spool))
        took_s = self._clock.monotonic() - started_s
        self._next_scan_s = self._clock.monotonic() + max(self._scan_s, took_s / _SCAN_SHARE)

    def _list(self) -> tuple[list[str], list[str]]:
        """List pending/ and take over its names, unless it is long and shows nothing new for certain."""
        has_changed = self._pending.may_have_changed()
        if self._listed is not None and not has_changed:
            return self._listed
        listed = self._spool.waiting()
        self._core.dispatcher.trust_listing()
        self._core.queue.update(*listed, self._clock.now())
        self._listed = listed if len(listed[0]) + len(listed[1]) > _LONG else None
        return listed

    def arm(self, *, is_calm: bool) -> None:
        """Arm the watch while there is little to do (`is_calm`), and list once more after that.

        The same applies while all workers run long jobs, so that a drop is judged as soon as it arrives. Network and
        user-space file systems are not watched, because they report some of our own changes and none of others'.
        """
        if not self._may_arm:
            return
        if self._core.options.drain and self._core.dispatcher.is_empty:
            return  # the pool ends now
        if len(self._core.queue) > _DISARM_AT:
            self._watch.disarm()
        elif not is_calm:
            self._calm_until_s = math.inf
        elif not self._watch.armed and (now_s := self._clock.monotonic()) >= self._next_arm_s:
            self._calm_until_s = min(self._calm_until_s, now_s + _CALM_S)
            if self._ends_on_its_own and now_s < self._calm_until_s:
                return
            if self._watch.arm():
                self.scan_soon()
            else:
                self._next_arm_s = now_s + _ARM_AGAIN_S

    def close(self) -> None:
        """End the watch."""
        self._watch.close()

    def close_inherited(self) -> None:
        """Close the handles, also in a forked process."""
        self._watch.close_inherited()
        self._stale.close_inherited()
