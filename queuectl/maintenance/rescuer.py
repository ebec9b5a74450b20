"""Rescue: finds jobs whose worker died by the lock that the system freed, and puts them right (promise P5).

For each file in running/ that none of this pool's own live workers is known to run: if its claimer died before the
start it goes back to pending/; if its outcome is on record only the move is made; if its lease is free the run is
recorded as abandoned and the job moves on by the state table. A held lease means alive, however long it takes: slow
is not dead. The work itself is `jobs.rescue`, under the id's stripe. A file that cannot be rescued because of itself
or its lock is tried more and more seldom, and holds up no other (P6).
"""

from __future__ import annotations

from typing import NamedTuple

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

# A file in trouble is looked at after this long, then twice, 4 times ...; the trouble is reported if it lasts.
_AGAIN_FIRST_S, _AGAIN_MOST_S = 0.2, 30.0
_REPORT_AFTER_TRIES = 3


class Rescued(NamedTuple):
    """A job that was found without its worker, and where it went."""

    job_id: str
    settled: Settled


class Rescue:
    """Looks after running/ for a supervisor."""

    def __init__(self, session: Session, stripes: Stripes, *, notify: Notify = lambda _notice: None) -> None:
        self._session = session
        self._spool = session.spool
        self._orphans = Orphans(session, stripes)
        self._blame = Blame(session.spool, clock=session.clock)
        self._clock = session.clock
        self.foreign: set[str] = set()
        """Names in running/ that are no files, as the last look found them: left alone, never waited for (P11)."""
        self._notify = notify
        self._stuck: dict[str, tuple[int, float]] = {}
        """Files in trouble: how often they were tried, and when they are to be tried again (monotonic)."""

    @property
    def left_alone(self) -> set[str]:
        """Names in running/ that a pool does not wait for: no files, and files whose trouble lasts."""
        return self.foreign | {name for name, (tries, _) in self._stuck.items() if tries >= _REPORT_AFTER_TRIES}

    def rescue_all(self, mine: set[str]) -> list[Rescued]:
        """Go through running/ once and return what was rescued; `mine` are the ids that this pool's live workers run.

        Raises:
            OSError: the machine's trouble; what could not be done is done at a later pass.
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
        """Look at a file later that is in trouble; raises the error again if the machine is."""
        fault = self._blame.fault(error, self._spool.path(RUNNING, name))
        if fault is None:
            raise error
        tries = self._stuck.get(name, (0, 0.0))[0] + 1
        pause_s = min(_AGAIN_FIRST_S * 2.0 ** min(tries, 20), _AGAIN_MOST_S)
        self._stuck[name] = tries, self._clock.monotonic() + pause_s
        if tries == _REPORT_AFTER_TRIES:
            cure = f"; to cure it: {fault.cure}" if fault.cure else ""
            text = f"{RUNNING}/{name} has no worker and cannot be put right: {fault.text}; this is tried again{cure}"
            self._notify(Notice(WARNING, "stuck", text))
