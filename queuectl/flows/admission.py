"""Say whether a claimed job may start now: its queue is taken by this pool, not paused, and its gate is open."""

from __future__ import annotations

from typing import NamedTuple

from queuectl.flows import boards
from queuectl.flows.gates import Gates, Passage, Shut
from queuectl.model.queues import DEFAULT, Queues
from queuectl.model.record import Record
from queuectl.spool import pause
from queuectl.spool.session import Session

PAUSED, NOT_TAKEN = "paused", "not taken"
NEEDS, NO_PLACE = "needs", "no place"
"""The job needs resources: its name did not say so, or no node has them free."""
# How long a worker may take to notice PAUSED-QUEUE, so that short jobs share a look.
_PAUSED_WITHIN_S = 0.005


class Refusal(NamedTuple):
    """A job that may not start now: its queue, its key as in its name, and why."""

    queue: str
    key: str
    why: str
    wait_s: float = 0.0
    """In how many seconds a rate lets the next job start."""


class Admission:
    """Admits the jobs of one worker. `only` are the queues that its pool takes; none: all."""

    def __init__(self, session: Session, only: tuple[str, ...] = ()) -> None:
        self._spool, self._clock = session.spool, session.clock
        self._only = frozenset(only)
        self.offers: dict[str, float] = {}
        """The resources of the place where the next job would start; a machine that runs jobs itself has none."""
        self._gates = Gates(session)
        self._limits: Queues = session.settings.queues
        self._unpaused_s: dict[str, float] = {}
        """When each PAUSED-QUEUE was last found missing (monotonic)."""

    def use(self, session: Session) -> None:
        """Use the queues of new settings."""
        self._gates.use(session)
        self._limits = session.settings.queues

    def admit(self, item: Record, lease: str) -> Passage | Refusal | None:
        """Return the place of a job, with its gate locked; None if it passes no gate; or why it may not start.

        Raises:
            OSError: a problem of the machine, or of the files of the gate.
        """
        queue = item.extras.queue or DEFAULT
        if item.extras.resources != self.offers:
            return Refusal(queue, "", NEEDS)
        if self._only and queue not in self._only:
            return Refusal(queue, "", NOT_TAKEN)
        now_s = self._clock.monotonic()
        if now_s - self._unpaused_s.get(queue, -1.0) >= _PAUSED_WITHIN_S and self._is_paused(queue, now_s):
            return Refusal(queue, "", PAUSED)
        if not self._limits and not item.extras.key:
            return None
        place = boards.place_of(item, self._limits)
        if place is None:
            return None
        passage = self._gates.enter(place, lease, item.id)
        return Refusal(queue, place.key, passage.why, passage.wait_s) if isinstance(passage, Shut) else passage

    def _is_paused(self, queue: str, now_s: float) -> bool:
        if pause.is_paused(self._spool, queue):
            return True
        if len(self._unpaused_s) > 1000:
            self._unpaused_s.clear()
        self._unpaused_s[queue] = now_s
        return False

    def close(self) -> None:
        """Close all lock files."""
        self._gates.close()
