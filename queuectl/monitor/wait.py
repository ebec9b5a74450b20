"""Wait until jobs have ended, with a few calls of the system per look. Only looks.

A few jobs are looked for by name; many by a listing of done/ and dlq/, unless these hold so many other jobs that names
are cheaper. To know that a job is still in the spool takes a listing of pending/, so this is checked every few seconds
only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from queuectl.errors import QueuectlError, UnknownJobError
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.monitor import rejected
from queuectl.monitor.results import Ending, ending_of, refused
from queuectl.spool import groups, lookup
from queuectl.spool.layout import record_name
from queuectl.spool.session import Session

# How often to check that a job that has not ended is still there; this takes at most one part in so many of the time.
_THERE_EVERY_S, _THERE_PARTS = 5.0, 20
# A job that ends at once is seen at once; for a job that takes a minute, a second does not matter.
_LOOK_FIRST_S, _LOOK_LAST_S, _LOOK_SHARE = 0.02, 1.0, 0.02
# So many jobs are looked for by name, two stats each, whatever the folders hold ...
_BY_NAME = 20
# ... and more than that if a listing has more than this many names per job.
_NAMES_PER_JOB = 20


class Wait:
    """Waits for some jobs: `ended` has those that have ended, `left` the others, as they were named."""

    def __init__(self, session: Session, ids: list[str]) -> None:
        self.ended: dict[str, Ending] = {}
        self.left = list(dict.fromkeys(ids))
        self._session = session
        self._spool = session.spool
        self._clock = session.clock
        self._sure_at_s = session.clock.monotonic() + _THERE_EVERY_S
        self._listed = 0
        """How many names the last listing had."""

    def poll(self) -> list[Ending]:
        """Return the jobs that have ended since the last poll, in the order in which they were named.

        Raises:
            UnknownJobError: a job was deleted meanwhile.
            QueuectlError: a job was rejected.
            DamagedRecordError: the record of a job that ended is torn.
        """
        found = self._ended_of(self._candidates())
        if self.left and self._clock.monotonic() >= self._sure_at_s:
            began_s = self._clock.monotonic()
            found += self._make_sure()
            now_s = self._clock.monotonic()
            self._sure_at_s = now_s + max(_THERE_EVERY_S, _THERE_PARTS * (now_s - began_s))
        return found

    def _ended_of(self, candidates: list[str]) -> list[Ending]:
        """Move jobs that have ended from `left` to `ended`."""
        found = {job_id: ending for job_id in candidates if (ending := ending_of(self._session, job_id)) is not None}
        if found:
            self.ended |= found
            self.left = [job_id for job_id in self.left if job_id not in found]
        return list(found.values())

    def _candidates(self) -> list[str]:
        """Return the jobs that may have ended."""
        if len(self.left) <= _BY_NAME or self._listed > _NAMES_PER_JOB * len(self.left):
            return self.left
        listed = [name for state in (DLQ, DONE) for name in self._spool.names(self._spool.folder(state))]
        self._listed = len(listed)
        found = {record_name(job_id) for job_id in self.left}.intersection(listed)
        return [job_id for job_id in self.left if record_name(job_id) in found] if found else []

    def until_ended(
        self, *, first: bool, limit_s: float | None, on_wait: Callable[[float], None] = lambda _passed_s: None
    ) -> bool:
        """Wait until all (with `first`: any) have ended; return False if `limit_s` is over before. Raises as `poll`.

        `on_wait` is called before each pause, with the seconds that have passed.
        """
        begun_s = self._clock.monotonic()
        while True:
            self.poll()
            if not self.left or (first and self.ended):
                return True
            passed_s = self._clock.monotonic() - begun_s
            pause_s = min(_LOOK_LAST_S, max(_LOOK_FIRST_S, passed_s * _LOOK_SHARE))
            if limit_s is not None:
                if passed_s >= limit_s:
                    return False
                pause_s = min(pause_s, limit_s - passed_s)
            on_wait(passed_s)
            time.sleep(pause_s)

    def _make_sure(self) -> list[Ending]:
        """Raise if a job is gone: no poll would ever find its end. Return those that have ended meanwhile."""
        lost, ended = self.left, []
        if len(lost) > _BY_NAME:
            there: set[str] = set()
            wanted = set(lost)
            # In the order in which jobs move: one that moves meanwhile is seen twice rather than not at all.
            for state in (PENDING, RUNNING, DLQ, DONE):
                listed = self._spool.names(self._spool.folder(state))
                there |= wanted.intersection(map(groups.id_of, listed))
            lost = [job_id for job_id in lost if job_id not in there]
            ended = self._ended_of(lost)
        for job_id in lost:
            if job_id not in self.ended:
                self._seek(job_id)
        return ended

    def _seek(self, job_id: str) -> None:
        """Raise if a job is neither waiting, running nor ended."""
        if self._spool.find(job_id) is not None:
            return
        try:
            lookup.get(self._session, job_id)
        except UnknownJobError as error:
            if name := refused(self._spool, job_id, whole=True):
                why = rejected.refusal(self._spool, name).why
                raise QueuectlError(f"{job_id} was rejected: {why}", hint=f"see {REJECTED}/{name}") from error
            raise UnknownJobError(job_id, hint="the job existed before; somebody deleted it") from error
