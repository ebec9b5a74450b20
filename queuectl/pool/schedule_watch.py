"""Look at schedules/ every 2 s, and make jobs when a tick is due (promise P14).

Without a file in schedules/ this costs one stat per look: nothing is imported that knows cron or time zones.
Trouble with schedules/ is reported once and stops no other job (P9).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from queuectl.model.notice import WARNING, Notice
from queuectl.pool.core import Core
from queuectl.pool.folder_watch import FolderWatch
from queuectl.pool.presence import Presence
from queuectl.spool import schedule_files

if TYPE_CHECKING:
    from queuectl.jobs.ticker import Ticker

LOOK_EVERY_S = 2.0
# When another pool has the lock, or work is left.
_AGAIN_S = 0.02


class ScheduleWatch:
    """A duty of the loop: makes the jobs of the schedules, together with the other pools of the spool."""

    def __init__(self, core: Core, presence: Presence, *, is_local: bool) -> None:
        self._core = core
        self._spool = core.session.spool
        self._clock = core.session.clock
        self._presence = presence
        self._folder = FolderWatch([core.session.spool.schedules_dir], clock=core.session.clock, is_local=is_local)
        self._listed: list[str] = []
        self._ticker: Ticker | None = None
        self._told = ""
        """The kind of trouble that was reported last, "" after a look without any."""
        self._look_s = -math.inf  # at once
        self._looked_at = -math.inf

    def step(self, now_s: float) -> None:
        """Look, if it is time."""
        if now_s < self._due_s(now_s) or self._core.shutdown.has_begun or not self._presence.is_in_place:
            return
        self._look_s, self._looked_at = now_s + LOOK_EVERY_S, self._clock.now()
        trouble = ""
        try:
            self._look(now_s)
        except OSError as error:
            trouble = f"{error.strerror or error}: {error.filename or self._spool.schedules_dir}"
        if self._ticker is not None:
            trouble = trouble or self._ticker.trouble
        kind = trouble.partition(":")[0]  # the names of files differ each time
        if kind and kind != self._told:
            text = f"schedules: {trouble}; queuectl tries again every {LOOK_EVERY_S:.0f} s"
            self._core.notify(Notice(WARNING, "schedule", text))
        self._told = kind

    def _look(self, now_s: float) -> None:
        if self._folder.may_have_changed():
            self._listed = schedule_files.names(self._spool)
        if self._ticker is None:
            if not self._listed:
                return
            from queuectl.jobs.ticker import Ticker

            self._ticker = Ticker(self._core.session, notify=self._core.notify)
        if made := self._ticker.look(self._listed, list_again=lambda: schedule_files.names(self._spool)):
            self._core.dispatcher.add(made)
        if self._ticker.is_behind:
            self._look_s = now_s + _AGAIN_S

    def due_s(self) -> float:
        """Return when the next look is due (monotonic): the clock on the wall decides, and may have been set."""
        return self._due_s(self._clock.monotonic())

    def _due_s(self, now_s: float) -> float:
        if self._ticker is None or self._ticker.next_at == math.inf:
            return self._look_s
        wait_s = self._ticker.next_at - self._clock.now()
        # A tick that is due and was not made (the disk refuses) waits for the next look.
        if wait_s <= 0 and self._ticker.next_at <= self._looked_at:
            return self._look_s
        return min(self._look_s, now_s + max(0.0, wait_s))

    def close(self) -> None:
        """Close the lock file, also in a forked process."""
        if self._ticker is not None:
            self._ticker.close()
