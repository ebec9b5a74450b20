"""Make a record of a dropped file: a fresh copy with an id and a history replaces it in running/ (P1, P7, P9).

A drop that may run at once does not wait for the disk: the adopter writes its copy to tmp/ with `started`, the worker
starts the command, and then the copy is fsynced and replaces the drop (`Settlements.secure`). Until then the worker
holds the stripe of the id. After a crash in between, the rescuer finds the drop in running/ and the copy in tmp/. The
lease that the copy names tells whether the command still runs.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import msgspec
from msgspec import structs

from queuectl.errors import InvalidJobError
from queuectl.flows import dependencies
from queuectl.flows.admission import Admission, Refusal
from queuectl.flows.gates import Passage
from queuectl.jobs import blocking, ending
from queuectl.jobs.take import Taken, put_back
from queuectl.jobs.verdict import Busy, Claimed, Dead, Gated, Later, Skipped
from queuectl.model import document, expiry, history, names, record, times
from queuectl.model.lifecycle import DLQ, DONE, ENQUEUED, PENDING, REQUEUED, RUNNING, STARTED, WARNING
from queuectl.spool.layout import Located, name_for, record_name
from queuectl.spool.lease import outlives
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk


class Start(msgspec.Struct, frozen=True):
    """Who starts a job once it is adopted."""

    worker: str
    lease: str
    where: dict[str, str]
    """See `Claims.where`."""
    syncs_later: bool
    """The command of a new job may start before its record is on disk."""
    admission: Admission


class Named(NamedTuple):
    """A drop whose id differs from its file's name: its record is in running/ and has yet to be started."""

    where: Located
    item: record.Record
    data: bytes


class Adopter:
    """Makes records from the dropped files of one spool."""

    def __init__(self, session: Session, stripes: Stripes, roster: Roster) -> None:
        self._session = session
        self._spool, _, self._clock, self._rng = session
        self._stripes = stripes
        self._roster = roster

    def adopt(
        self, taken: Taken, accepted: document.Accepted, start: Start | None, held: contextlib.ExitStack
    ) -> Claimed | Named | Dead | Skipped | Later | Gated | Busy:
        """Make a record of a drop in running/, and start it; without `start`, or if it is not due, put it back to wait.

        `held` keeps the stripe of the job's id, if it differs from the stripe of the file.

        Raises:
            InvalidJobError: the drop names an id that the spool already holds, or cannot be kept as a record.
            OSError: a problem of the machine, or of this file.
        """
        candidate, here = taken.candidate, taken.here
        job_id = candidate.job_id
        wanted = accepted.spec.get("id")
        dropped = names.as_dropped(candidate.name)
        dropped_as = "" if dropped == f"{wanted or job_id}.json" else names.as_text(dropped)
        now_at = self._clock.now()
        events = document.first_events(accepted, by="drop", now_at=now_at, file=dropped_as)
        final_id = self._final_id(taken, wanted, held, keep=bool(accepted.history))
        if final_id is None:
            put_back(self._session, here, candidate.name)
            return Busy()
        if wanted not in (None, final_id):
            text = f"the id {wanted!r} is in use, so this job continues as {final_id!r}"
            events.append(history.event(WARNING, now_at, text=text))
        spec = {**accepted.spec, "id": final_id}
        if "unique" in spec:
            return self._adopt_unique(taken, accepted, spec, events, start)
        return self._adopt(taken, spec, events, start)

    def _adopt_unique(
        self,
        taken: Taken,
        accepted: document.Accepted,
        spec: dict[str, Any],
        events: list[dict[str, Any]],
        start: Start | None,
    ) -> Claimed | Named | Dead | Skipped | Later | Gated | Busy:
        """Judge a drop with a unique key, note it, and adopt it; or skip it. The order is that of `unique_enqueue`."""
        from queuectl.jobs import unique_drops  # few drops have unique keys

        session = self._session
        with unique_drops.judged(session, spec, events, accepted) as judged:
            if judged is None:
                put_back(session, taken.here, taken.candidate.name)
                return Busy()
            if judged.is_skipped:
                with ending.on_record():
                    # Not fsynced by default: of a job that does not run, a power cut may take the record.
                    data = record.frame(judged.spec, judged.events)
                    self._spool.replace_file(taken.here.path, data, hint=spec["id"], sync=session.syncs_all)
                    why = judged.events[-1]["reason"]
                    return Skipped(self._spool.move(taken.here, DONE, record_name(spec["id"])), why)
            return self._adopt(taken, judged.spec, judged.events, start)

    def _final_id(self, taken: Taken, wanted: str | None, held: contextlib.ExitStack, *, keep: bool) -> str | None:
        """Return the id of a dropped job, with its stripe held; None if that stripe is busy.

        `keep` says that the drop has a history. Such a job was accepted once, so if its id is now in use (two jobs
        with one id were kept under different names, P7), the job continues under a new id.

        Raises:
            InvalidJobError: the drop names an id that the spool already holds.
        """
        here, job_id = taken.here, taken.candidate.job_id

        def taken_by(some_id: str) -> str:
            if some_id == job_id and (state := self._spool.holds(some_id, (DONE, DLQ))):
                return state
            # Our own file is now running/`job_id`. A waiting job may have flags in its name.
            found = self._roster.find(some_id)
            return "" if found is None or found.path == here.path else found.state

        if wanted is not None and (state := taken_by(wanted)) and not keep:
            raise InvalidJobError(
                f"a job with the id {wanted!r} already exists, in {state}/",
                key="id",
                hint="remove the id to get a new one, or use another id",
            )
        if wanted is None or taken_by(wanted):
            wanted = job_id
            while taken_by(wanted):
                # Dropping report.json every night is normal: the date and time keep the ids distinct.
                stamp = times.to_name(int(self._clock.now())).rstrip("Z")
                wanted = names.with_suffix(job_id, f"{stamp}-{names.new_token(self._rng, 2)}")
        if names.stripe_of(wanted) != names.stripe_of(job_id):
            other = self._stripes.of(wanted)
            if not other.try_acquire():
                return None
            held.callback(other.release)
        return wanted

    def _adopt(
        self, taken: Taken, spec: dict[str, Any], events: list[dict[str, Any]], start: Start | None
    ) -> Claimed | Named | Dead | Later | Gated | Busy:
        """Replace the file by a fresh copy and start it, or put it back to wait.

        The copy detaches the job from a handle or a hard link that the producer kept. The copy is fsynced before it
        replaces the original, because otherwise a power cut could leave an empty file instead of a whole one. That
        happens here, or in `secure` after the start (not on Windows, where another program's open handle would block
        the replacement).
        """
        here, now_at = taken.here, self._clock.now()
        data, item = record.frame_checked(spec, events)
        standing = item.standing()
        waits_to_start = standing.ended_to not in (DONE, DLQ) and not (
            standing.last is not None and standing.last.event == STARTED
        )
        if waits_to_start and (why := expiry.why_expired(item, now_at)):
            data = _with([ending.expired(now_at, why)], data)
            with ending.on_record():
                self._replace(here, item.id, data)
                return ending.bury(self._session, here, item.id, why)
        parent = ""
        if item.extras.after and item.blocked is not None:
            verdict = dependencies.look(self._spool, item)
            parent = "" if verdict is None else verdict.parent
            # A parent that does not let it start at all is met again at the claim under that name.
            new = [blocking.unblocked(now_at)] if verdict is None else []
            new += blocking.waiting(verdict, item, now_at) if isinstance(verdict, dependencies.Waits) else []
            data = _with(new, data)
            item = record.decode(data)
        waits = (
            bool(parent)
            or start is None
            or (standing.last is not None and standing.last.event == STARTED)  # next time it is judged as a record
            or (standing.starts and outlives(self._spool, item, mine=start.lease))  # the same
            or (standing.ended_to not in (DONE, DLQ) and not history.is_due(standing.due_at, standing.delay_s, now_at))
            or item.priority < taken.candidate.parts.priority
        )
        if start is None or waits:
            return Later(self._put_back_to_wait(here, item, standing, data, parent), standing.due_at)
        name = record_name(item.id)
        if name != here.name:
            return self._give_name(here, name, item, data)
        admitted = start.admission.admit(item, start.lease)
        if isinstance(admitted, Refusal):
            return Gated(self._put_back_to_wait(here, item, standing, data), *admitted)
        try:
            claimed = self._start(here, item, standing, data, start, admitted)
        except BaseException:
            if admitted is not None:
                admitted.undo()
            raise
        if admitted is not None:
            admitted.open()
            claimed.gate = admitted
        return claimed

    def _put_back_to_wait(
        self, here: Located, item: record.Record, standing: history.Standing, data: bytes, parent: str = ""
    ) -> str:
        """Replace the file by its record, and move it to pending/ under its full name; return that name."""
        self._replace(here, item.id, data)
        wanted = names.blocked_name(item.id, parent) if parent else name_for(item, standing, self._clock.now())
        new_name = self._spool.move(here, PENDING, wanted)
        self._roster.add(new_name)
        return new_name

    def _start(
        self,
        here: Located,
        item: record.Record,
        standing: history.Standing,
        data: bytes,
        start: Start,
        admitted: Passage | None,
    ) -> Claimed:
        """Put the record with its start in the place of the drop, or next to it."""
        now_at = self._clock.now() if admitted is None or admitted.start is None else admitted.start.at
        events = []
        if standing.ended_to in (DONE, DLQ):
            events.append(history.event(REQUEUED, now_at, by="move"))
            standing = structs.replace(standing, failures=0)
        attempt, lease = standing.starts + 1, start.lease
        events.append(history.event(STARTED, now_at, attempt=attempt, worker=start.worker, lease=lease, **start.where))
        data = _with(events, data)
        is_new = standing.last is not None and standing.last.event == ENQUEUED  # any other has a run in its history
        if is_new and start.syncs_later:
            copy = self._spool.start_path(item.id, lease)
            disk.create(copy, data, sync=False, mode=self._spool.file_mode)
            return Claimed(item, data, attempt=1, failures=0, lease=lease, copy=copy)
        self._replace(here, item.id, data)
        return Claimed(item, data, attempt=attempt, failures=standing.failures, lease=lease)

    def _replace(self, here: Located, job_id: str, data: bytes) -> None:
        sync = self._session.syncs_accepted
        self._spool.replace_file(here.path, data, hint=job_id, sync=sync)

    def _give_name(self, here: Located, name: str, item: record.Record, data: bytes) -> Named | Busy:
        """Rename a record to its own id before its start, so that a failure in between is not counted as a run (P9)."""
        self._replace(here, item.id, data)
        where = Located(RUNNING, name, self._spool.path(RUNNING, name))
        try:
            disk.move(here.path, where.path)
        except FileExistsError:
            put_back(self._session, here, name)
            return Busy()
        return Named(where, item, data)


def _with(events: list[dict[str, Any]], data: bytes) -> bytes:
    """Return a record, which has events, with more of them."""
    return record.append(len(data), events).on(data) if events else data
