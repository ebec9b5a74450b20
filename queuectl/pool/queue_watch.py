"""Notice what changes about queues while a pool runs: their limits, their pauses, and room behind full gates.

Each is a look at each tick: a listing of the spool's root, a stat of queuectl.toml, and a read of the board of each
queue whose gate a worker found shut. So nothing is tried again and again, however many jobs wait.
"""

from __future__ import annotations

from queuectl.errors import QueuectlError
from queuectl.flows import boards
from queuectl.flows.gates import Gates, has_room
from queuectl.model import queues, settings
from queuectl.model.notice import INFO, WARNING, Notice
from queuectl.model.queues import Queues
from queuectl.model.settings import Settings
from queuectl.pool.core import Core
from queuectl.pool.crew import Crew
from queuectl.spool import pause, settings_file
from queuectl.spool.pools import Pool
from queuectl.system import files

# How often the leases on a full board are tried. Workers blank their lines and rescue those of the dead, so this only
# finds what both missed.
_PROVE_EVERY_S = 1.0


class QueueWatch:
    """Watches the queues of one pool."""

    def __init__(self, core: Core, pool: Pool, crew: Crew) -> None:
        self._core = core
        self._pool = pool
        self._crew = crew
        self._spool = core.session.spool
        self._gates = Gates(core.session)
        self._limits: Queues = core.session.settings.queues
        self._paused: dict[str, str] = {}
        """The reason of each paused queue."""
        self._settings_sig = self._sig()
        self._prove_s = 0.0

    def step(self, now_s: float) -> None:
        """Look at everything."""
        with self._core.breaker.guard():
            self._look_at_pauses()
            self._look_at_settings()
            self._look_at_boards(now_s)

    def close(self) -> None:
        """Close all lock files."""
        self._gates.close()

    # ------------------------------------------------------------------------------------------------------ pauses

    def _look_at_pauses(self) -> None:
        paused: dict[str, str] = {}
        for queue in pause.paused_queues(self._spool):
            if not pause.is_over(self._spool, self._core.session.clock.now(), queue):
                paused[queue] = pause.reason(self._spool, queue)
        if paused.keys() == self._paused.keys():
            return
        for queue in paused.keys() - self._paused.keys():
            word = "halted" if pause.halted_by(self._spool, queue) else "paused"
            why = f": {paused[queue]}" if paused[queue] else ""
            text = f"queue {queue} is {word}{why}; to resume: queuectl resume {queue}, or delete PAUSED-{queue}"
            self._core.notify(Notice(INFO, "paused", text))
        for queue in self._paused.keys() - paused.keys():
            self._core.notify(Notice(INFO, "unpaused", f"queue {queue} is no longer paused"))
        self._paused = paused
        self._core.queue.pause_queues(paused)

    # ---------------------------------------------------------------------------------------------------- settings

    def _sig(self) -> files.FileSig | None:
        try:
            return files.sig_of(self._spool.settings_path)
        except OSError:
            return None

    def _look_at_settings(self) -> None:
        """Read queuectl.toml again if it has changed. If it is wrong, the queues stay as they are."""
        sig = self._sig()
        if sig == self._settings_sig:
            return
        self._settings_sig = sig
        read_at = self._core.session.clock.now()
        try:
            new = settings.parse(settings_file.read(self._spool.settings_path), path=self._spool.settings_path)
        except (QueuectlError, OSError) as error:
            self._core.notify(Notice(WARNING, "reloaded", f"the settings stay as they were: {error}"))
            return
        if new.queues != self._limits:
            self._use(new, read_at)

    def _use(self, new: Settings, read_at: float) -> None:
        old = dict(self._limits)
        queues.replace(self._limits, new.queues)
        for queue in old.keys() | new.queues.keys():
            if not queues.counts_alike(old.get(queue, queues.Queue()), new.queues.get(queue, queues.Queue())):
                self._gates.discard(queue)
        self._crew.send_queues()
        self._core.queue.change_limits(self._limits, slots=self._crew.slots)
        used = self._crew.session.settings
        if new._replace(queues=used.queues) == used:
            self._pool.queues_read(read_at=read_at)
        self._core.notify(Notice(INFO, "reloaded", "the settings of the queues were read again"))

    # ------------------------------------------------------------------------------------------------------ boards

    def _look_at_boards(self, now_s: float) -> None:
        shut, keys = self._core.queue.watched
        if not shut and not keys:
            return
        proves = now_s >= self._prove_s
        if proves:
            self._prove_s = now_s + _PROVE_EVERY_S
        for queue in shut | {queue for queue, _ in keys}:
            inside = boards.read(self._spool, queue)
            if proves:
                inside = boards.alive(self._spool, inside)
            limits = self._limits.get(queue, queues.Queue())
            outcomes = boards.outcomes(self._spool, queue) if limits.has_breaker else ""
            if queue in shut and has_room(limits, len(inside), outcomes) and queue not in self._paused:
                self._core.queue.reopen(queue)
            with_key = [entry.key for entry in inside]
            for key in [key for each, key in keys if each == queue]:
                if with_key.count(key) < limits.per_key:
                    self._core.queue.reopen(queue, key)
