"""Keep runs whose outcome cannot be recorded because of a problem of their own file, and try again (P4, P6).

The worker continues with other jobs meanwhile. Each such run keeps its lease locked, so that it does not look
abandoned. It also keeps the stripe of a drop whose record is not in its place yet. If the worker ends first, the lease
is free and rescue records the run as abandoned.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from queuectl.jobs.settle import Settlements
from queuectl.jobs.verdict import Claimed, Settled
from queuectl.model.lifecycle import RUNNING, Outcome
from queuectl.spool import lease
from queuectl.spool.desk import NOTHING, keep_result
from queuectl.spool.output import keep_output
from queuectl.spool.session import Session
from queuectl.system.locks import NamedLock

# A worker keeps at most this many. With more it waits for one of them, as it waits for a full disk.
_MOST = 8
_FIRST_S, _LONGEST_S = 0.5, 30.0


class EndedRun(msgspec.Struct, frozen=True):
    """An ended run: the name that the worker received, the job, and how it ended."""

    name: str
    claimed: Claimed
    outcome: Outcome
    started_s: float
    """When the run began (monotonic)."""
    command: str = ""
    """The same as in `messages.Finished`."""
    is_last: bool = False
    """The same as in `Ended`."""


class _Kept(NamedTuple):
    run: EndedRun
    lock: NamedLock
    tries: int
    next_s: float


class Unsettled:
    """The runs of one worker that cannot be settled now."""

    def __init__(self, session: Session, settlements: Settlements) -> None:
        self._spool, _, self._clock, _ = session
        self._settlements = settlements
        self.runs: list[_Kept] = []

    @property
    def is_full(self) -> bool:
        """True while no more runs can be kept."""
        return len(self.runs) >= _MOST

    def wait_s(self) -> float | None:
        """Return the number of seconds until one of them is tried again; None if there is none."""
        if not self.runs:
            return None
        return max(0.0, min(kept.next_s for kept in self.runs) - self._clock.monotonic())

    def keep(self, run: EndedRun, lock: NamedLock) -> None:
        """Keep a run, and its lease."""
        self._settlements.part(run.claimed)
        self.runs.append(_Kept(run, lock, 1, self._clock.monotonic() + _FIRST_S))

    def step(self, *, at_once: bool = False) -> list[tuple[EndedRun, Settled | None]]:
        """Try the due runs (or all) again; return the settled ones, with None for a file that is gone."""
        now_s = self._clock.monotonic()
        ended: list[tuple[EndedRun, Settled | None]] = []
        left = []
        for kept in self.runs:
            if not at_once and now_s < kept.next_s:
                left.append(kept)
                continue
            claimed = kept.run.claimed
            settled = None
            try:
                output = self._spool.output_path(claimed.lease)
                keep_output(self._spool, output, claimed.job_id, claimed.attempt)
                if claimed.given == NOTHING:
                    claimed.given = keep_result(self._spool, claimed.lease, claimed.job_id, claimed.attempt)
                settled = self._settlements.settle(claimed, kept.run.outcome)
            except OSError as error:
                if self._spool.is_taken_away(error, RUNNING, claimed.name):
                    lease.end(kept.lock)
                    ended.append((kept.run, None))
                    continue
                pause_s = min(_FIRST_S * 2.0 ** min(kept.tries, 20), _LONGEST_S)
                left.append(kept._replace(tries=kept.tries + 1, next_s=now_s + pause_s))
                continue
            lease.end(kept.lock)
            ended.append((kept.run, settled))
        self.runs = left
        return ended

    def close(self) -> None:
        """Release the leases, so that rescue records the runs that could not be settled."""
        for kept in self.runs:
            kept.lock.close()
        self.runs.clear()
