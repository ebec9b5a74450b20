"""Change a running pool as people ask by files (another number of slots, new settings), and record its workers."""

from __future__ import annotations

from queuectl.errors import QueuectlError
from queuectl.model import settings
from queuectl.model.notice import INFO, WARNING, Notice
from queuectl.pool.core import Core
from queuectl.pool.crew import Crew
from queuectl.spool import settings_file
from queuectl.spool.pools import Pool


class Adjustment:
    """Acts on the requests POOL.scale and POOL.reload, and keeps the pool's record of its workers current."""

    def __init__(self, core: Core, pool: Pool, crew: Crew) -> None:
        self._core = core
        self._pool = pool
        self._crew = crew

    def step(self, _now_s: float) -> None:
        """Act on the requests that are there, and record changed workers, unless the pool ends."""
        if self._core.shutdown.has_begun:
            return
        with self._core.breaker.guard():
            asked = self._pool.scale_request()
            if asked is not None and asked.is_cluster:
                self._crew.scale_cluster(asked.slots)
                self._pool.rescaled(cluster_slots=asked.slots)
                self._core.notify(Notice(INFO, "scaled", f"now up to {asked.slots} slots on nodes"))
            elif asked is not None:
                processes = self._crew.scale(asked.slots)
                self._pool.rescaled(count=asked.slots, processes=processes)
                self._core.notify(Notice(INFO, "scaled", f"now {asked.slots} slots in {processes} worker processes"))
            if self._pool.is_reload_asked():
                self._reload()
            if self._crew.has_changed:
                self._pool.note_workers(self._crew.roster())
                self._crew.has_changed = False

    def _reload(self) -> None:
        """Read the settings again. If the file is wrong, the pool keeps those that it has."""
        spool, read_at = self._core.session.spool, self._core.session.clock.now()
        try:
            new = settings.parse(settings_file.read(spool.settings_path), path=spool.settings_path)
        except QueuectlError as error:
            self._pool.forget_reload()
            self._core.notify(Notice(WARNING, "reloaded", f"the settings stay as they were: {error}"))
            return
        made, held = settings.reload(self._crew.session.settings, new)
        self._crew.reload(made)
        self._core.shutdown.settings = made
        self._pool.reloaded(made, held, read_at=read_at)
        later = f"; in use from the next start: {', '.join(held)}" if held else ""
        self._core.notify(Notice(INFO, "reloaded", f"settings read again{later}"))
