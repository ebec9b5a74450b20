"""Takes over the runs of a worker that died, while their commands go on elsewhere (FORMAT.md, section 4, "Locks").

One process speaks to the nodes in the name of a session: whoever holds its lock. So two workers never prolong one lease
by different bounds (promise P3). The stamp of a session is left to run out, because a file that was dragged out of
running/ may be of a run that nobody takes over.
"""

from __future__ import annotations

from typing import NamedTuple

from queuectl.errors import DamagedRecordError
from queuectl.jobs import repair
from queuectl.jobs.verdict import Claimed
from queuectl.model import record
from queuectl.model.lifecycle import RUNNING, STARTED
from queuectl.spool import stamps
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system.locks import NamedLock

# How often to look for sessions whose worker died, and when to look again at one that has nothing to take over.
_LOOK_EVERY_S, _AGAIN_S = 1.0, 10.0


class Adopted(NamedTuple):
    """A run to go on with: its job, the lock of its lease, and where its command is."""

    claimed: Claimed
    lock: NamedLock
    session: str
    node: str
    member: str


class Adoption:
    """Looks for the runs of dead workers, for one worker."""

    def __init__(self, session: Session, stripes: Stripes, *, own: str) -> None:
        self._session = session
        self._spool, _, self._clock, _ = session
        self._stripes = stripes
        self._own = own
        self._held: dict[str, NamedLock] = {}
        """The sessions whose runs this worker goes on with."""
        self._is_missing: set[str] = set()
        """Those of which a run could not be looked at yet."""
        self._not_before_s: dict[str, float] = {}
        self._next_s = 0.0

    @property
    def sessions(self) -> list[str]:
        """The sessions that this worker goes on with."""
        return list(self._held)

    def step(self) -> list[Adopted]:
        """Return the runs to take over now. Raises OSError."""
        now_s = self._clock.monotonic()
        if now_s < self._next_s:
            return []
        self._next_s = now_s + _LOOK_EVERY_S
        found: list[Adopted] = []
        for session in stamps.sessions(self._spool):
            if session == self._own or now_s < self._not_before_s.get(session, 0.0):
                continue
            if session in self._held:
                if session in self._is_missing:
                    found += self._take(session)
                continue
            stamp = stamps.read(self._spool, session)
            if stamp is None or stamp.left_s() <= 0 or (lock := stamps.lock(self._spool, session)) is None:
                continue
            taken = self._take(session)
            if taken or session in self._is_missing:
                self._held[session] = lock
                found += taken
            else:
                lock.close()
                self._not_before_s[session] = now_s + _AGAIN_S
        return found

    def release(self, session: str) -> None:
        """Leave a session alone, because none of its runs is left."""
        if session not in self._is_missing:
            self._held.pop(session).close()
            self._not_before_s[session] = self._clock.monotonic() + _AGAIN_S

    def _take(self, session: str) -> list[Adopted]:
        """Take the runs of a dead session that are free."""
        self._is_missing.discard(session)
        found = []
        for name in self._spool.job_names(RUNNING):
            stripe = self._stripes.of(name.removesuffix(".json"))
            if self._lease_of(name, session) is None:
                continue
            if not stripe.try_acquire():
                self._is_missing.add(session)
                continue
            try:
                adopted = self._take_one(name, session)
            finally:
                stripe.release()
            if adopted is not None:
                found.append(adopted)
        return found

    def _lease_of(self, name: str, session: str) -> str | None:
        """Return the lease that a job runs under, if it is one of this session."""
        try:
            data = self._spool.read_document(self._spool.path(RUNNING, name)).data
            # An outcome that its worker was killed in writing is as good as none.
            last = record.decode(record.repair(data) or data).standing().last
        except (OSError, DamagedRecordError):
            return None
        if last is None or last.event != STARTED or stamps.session_of(last.lease) != session:
            return None
        return last.lease

    def _take_one(self, name: str, session: str) -> Adopted | None:
        """Take the lease of a run, under the stripe of its job."""
        lease = self._lease_of(name, session)
        if lease is None:
            return None
        lock = NamedLock(self._spool.lease_path(lease))
        if not lock.try_acquire():
            return None
        try:
            stored = repair.repaired(self._session, Located(RUNNING, name, self._spool.path(RUNNING, name)))
        except (OSError, DamagedRecordError, repair.GoneError):
            lock.close()
            self._is_missing.add(session)
            return None
        standing = stored.record.standing()
        start = standing.last_start
        if start is None or start is not standing.last or start.lease != lease:
            lock.close()
            return None
        claimed = Claimed.on_record(stored, standing, lease=lease, name=name)
        return Adopted(claimed, lock, session, start.node, start.member)
