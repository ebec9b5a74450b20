"""Rescue jobs whose worker died, which shows in a lock that the operating system released (promise P5).

For each file in running/ that no live worker of this pool is known to run: if its claimer died before the start, it
goes back to pending/; if its outcome is on record, only the move is made; if its lease is free, the run is recorded as
abandoned and the job moves as the state table says. A held lease means alive, however long the run takes: slow is not
dead. `jobs.rescue` does the work, under the id's stripe. A file that cannot be rescued because of a problem of the file
or its lock is tried less and less often, and does not delay the others (P6).
"""

from __future__ import annotations

import msgspec

from queuectl.errors import DamagedRecordError
from queuectl.jobs import error_text
from queuectl.jobs.rescue import Orphans
from queuectl.jobs.verdict import Settled
from queuectl.model.lifecycle import DLQ, RUNNING
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.spool.blame import Blame
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import files

# A file with a problem is tried again after this long, then twice, 4 times ...; a lasting problem is reported.
_AGAIN_FIRST_S, _AGAIN_MOST_S = 0.2, 30.0
_REPORT_AFTER_TRIES = 3


class Rescued(msgspec.Struct, frozen=True):
    """A job that was found without its worker, and its new place."""

    job_id: str
    settled: Settled


class Rescue:
    """Watches running/ for a supervisor."""

    def __init__(self, session: Session, stripes: Stripes, *, notify: Notify = lambda _notice: None) -> None:
        self._session = session
        self._spool = session.spool
        self._orphans = Orphans(session, stripes)
        self._blame = Blame(session.spool, clock=session.clock)
        self._clock = session.clock
        self.foreign: set[str] = set()
        """Names in running/ that are not files, as of the last pass: left alone, never waited for (P11)."""
        self._notify = notify
        self._stuck: dict[str, tuple[int, float]] = {}
        """Files with a problem: how often they were tried, and when to try them again (monotonic)."""

    @property
    def left_alone(self) -> set[str]:
        """Names in running/ that a pool does not wait for: not files, or files with a lasting problem."""
        return self.foreign | {name for name, (tries, _) in self._stuck.items() if tries >= _REPORT_AFTER_TRIES}

    def take_halted(self) -> list[str]:
        """Return the queues that rescued runs have halted since the last call."""
        halted, self._orphans.halted = self._orphans.halted, []
        return halted

    def rescue_all(self, mine: set[str]) -> list[Rescued]:
        """Go through running/ once and return the rescued jobs; `mine` are the ids that this pool's live workers run.

        Raises:
            OSError: a problem of the machine; a later pass does the rest.
        """
        found = []
        foreign: set[str] = set()
        listed = self._spool.job_names(RUNNING)
        if self._stuck:
            self._stuck = {name: self._stuck[name] for name in listed if name in self._stuck}
        for name in listed:
            job_id = name.removesuffix(".json")
            if job_id in mine or (name in self._stuck and self._clock.monotonic() < self._stuck[name][1]):
                continue
            try:
                settled = self._orphans.rescue(name)
            except (DamagedRecordError, files.NotRegularError):
                foreign.add(name)
                continue
            except OSError as error:
                self._put_off(name, error)
                continue
            self._stuck.pop(name, None)
            if settled is not None:
                if settled.to == DLQ:
                    error_text.write(self._session, settled.name)
                found.append(Rescued(job_id, settled))
        self.foreign = foreign
        return found

    def _put_off(self, name: str, error: OSError) -> None:
        """Put off a file with a problem; raise the error again if it is a problem of the machine."""
        fault = self._blame.fault(error, self._spool.path(RUNNING, name))
        if fault is None:
            raise error
        tries = self._stuck.get(name, (0, 0.0))[0] + 1
        pause_s = min(_AGAIN_FIRST_S * 2.0 ** min(tries, 20), _AGAIN_MOST_S)
        self._stuck[name] = tries, self._clock.monotonic() + pause_s
        if tries == _REPORT_AFTER_TRIES:
            cure = f"; to fix this: {fault.cure}" if fault.cure else ""
            text = f"{RUNNING}/{name} has no worker and cannot be rescued: {fault.text}; queuectl tries again{cure}"
            self._notify(Notice(WARNING, "stuck", text))
