"""Cancelling a job: one that waits is moved to dlq/ at once, one that runs is ended by whoever has it (see `cancels`).

A job may go from one state to the other between the look and the act, so each is tried in turn until one holds.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from typing import Any

from queuectl import api
from queuectl.errors import DamagedRecordError, QueuectlError, SpoolUnavailableError, UnknownJobError
from queuectl.jobs import error_text
from queuectl.jobs.settle import Settlements, Stripes
from queuectl.maintenance.faults import View
from queuectl.maintenance.findings import GoneError
from queuectl.maintenance.repairs import Mending
from queuectl.model import document, names, record
from queuectl.model.lifecycle import CANCELLED, DLQ, DONE, PENDING, RUNNING
from queuectl.spool import cancel_requests
from queuectl.spool.folder import Located, Stored, record_name
from queuectl.system import disk
from queuectl.system.clock import Clock

# A running job has its grace, and this much longer to be out of running/.
_PATIENCE_S = 10.0
_POLL_S = 0.02


class Cancelling:
    """Cancels jobs of one spool; see `api.Spool.cancel`."""

    def __init__(self, spool: api.Spool, *, clock: Clock, rng: random.Random) -> None:
        self._spool = spool
        self._clock = clock
        self._rng = rng

    def cancel(self, job_id: str, *, by: str, reason: str) -> api.Job:
        """See `api.Spool.cancel`."""
        deadline = self._clock.monotonic() + self._spool.settings.kill_grace_s + _PATIENCE_S
        while True:
            attempt = self._cancel_unless_running(job_id, by, reason)
            if isinstance(attempt, api.Job):
                return attempt
            ended = self._cancel_run(job_id, cancel_requests.Request(job_id, attempt, by, reason), deadline)
            if ended is not None:
                return ended

    def _cancel_unless_running(self, job_id: str, by: str, reason: str) -> api.Job | int:
        """Cancel a waiting job; of a running one the number of its attempt."""
        key, drop = job_id, None
        if self._spool.folder.find(job_id) is None and (dropped := self._spool.find_drop(job_id)) is not None:
            drop = Located(PENDING, os.path.basename(dropped.path), dropped.path)
            parts = names.parse(drop.name)
            key = names.clean_id(parts.stem if parts else drop.name)  # it is claimed under its file's name
        with self._spool.held(key):
            found = self._spool.folder.find(job_id)
            if found is None and drop is not None and os.path.lexists(drop.path):
                found = drop
            if found is None:
                raise UnknownJobError(job_id)
            if found.state == PENDING:
                return self._cancel_waiting(found, by, reason)
            if found.state == RUNNING:
                with contextlib.suppress(DamagedRecordError, FileNotFoundError):
                    return record.standing(self._spool.folder.read(RUNNING, found.name).record).starts
                return 0
            raise QueuectlError(
                f"job {job_id!r} has ended already: it is in {found.state}/", hint=f"queuectl show {job_id}"
            )

    def _cancel_waiting(self, found: Located, by: str, reason: str) -> api.Job:
        sync = self._spool.settings.durability != "off"
        now_at = self._clock.now()
        event = record.event(CANCELLED, now_at, by=by, reason=reason or f"by {by}", to=DLQ)
        try:
            stored = self._read(found)
            if record.standing(stored.record).ended_to and self._spool.folder.holds(stored.record.id, (DONE, DLQ)):
                stored = self._give_own_id(found, stored)
            job_id = stored.record.id
            offset, text = record.append(len(stored.data), [event], empty=not stored.record.history)
            disk.append(found.path, len(stored.data), offset, text, sync=sync)
        except DamagedRecordError:
            job_id = self._cancel_drop(found, event)
        name = self._spool.folder.move(found, DLQ, record_name(job_id), self._rng)
        if sync:
            disk.sync_folder(self._spool.folder.folder(DLQ))
        error_text.write(self._spool.folder, name, rng=self._rng)
        return self._spool.load(DLQ, name)

    def _give_own_id(self, found: Located, stored: Stored) -> Stored:
        """A copy of a job that has ended gets an id of its own here, too, as where it is claimed (P7)."""
        settings = self._spool.settings
        mending = Mending(self._spool.folder, settings, clock=self._clock, rng=self._rng)
        try:
            mending.give_own_id(View(found, stored.sig, stored.data, stored.record))
        except GoneError as error:
            raise QueuectlError(f"{found.path} is just being written", hint="try again") from error
        return self._spool.folder.read(found.state, found.name)

    def _read(self, found: Located) -> Stored:
        """A waiting record; its torn end is repaired. Raises DamagedRecordError where it is none of ours."""
        try:
            return self._spool.folder.read(found.state, found.name)
        except DamagedRecordError:
            return self._spool.mended(found)

    def _cancel_drop(self, found: Located, event: dict[str, Any]) -> str:
        """Make a record of a drop that no worker has looked at, with its end on record; its id."""
        content = self._spool.folder.read_document(found.path)
        job = self._spool.load_drop(PENDING, found.name, found.path)
        if self._spool.folder.find(job.id) not in (None, found):
            raise QueuectlError(f"another job has the id {job.id!r}", hint=f"delete {found.path}")
        taken = document.Accepted(job.spec, job.history, None, None, [])
        events = document.first_events(taken, by="drop", now_at=self._clock.now())
        data = record.frame({**job.spec, "id": job.id}, [*events, event])
        with self._spool.folder.temporary(job.id, data, rng=self._rng, sync=True) as temporary:
            if disk.sig_of(found.path) != content.sig:
                raise QueuectlError(f"{found.path} is just being written", hint="try again")
            disk.replace(temporary, found.path)
        return job.id

    def _cancel_run(self, job_id: str, request: cancel_requests.Request, deadline: float) -> api.Job | None:
        """Have a run ended, and wait for that; None where the job waits or runs again."""
        stripes = Stripes(self._spool.folder)
        orphans = Settlements(self._spool.folder, self._spool.settings, stripes, clock=self._clock, rng=self._rng)
        try:
            cancel_requests.put(self._spool.folder, request)
            while _runs(job := self._spool.get(job_id), request.attempt) and self._clock.monotonic() < deadline:
                with contextlib.suppress(DamagedRecordError, disk.NotRegularError):
                    orphans.rescue(record_name(job_id))  # where its worker is gone, nobody else may be there to do it
                time.sleep(_POLL_S)
        except OSError as error:
            raise api.unavailable(self._spool.folder, error) from error
        finally:
            stripes.close()
        if _runs(job, request.attempt):
            raise SpoolUnavailableError(
                f"job {job_id!r} still runs; it ends as soon as its worker, or its command, lets it", path=job.path
            )
        cancel_requests.remove(self._spool.folder, job_id, request.attempt)
        last: dict[str, Any] = next((event for event in reversed(job.history) if event.get("event") != "warning"), {})
        if last.get("event") == CANCELLED:
            return job
        if job.state in (PENDING, RUNNING):
            return None
        raise QueuectlError(f"job {job_id!r} ended by itself first: {last.get('event')}, it is in {job.state}/")


def _runs(job: api.Job, attempt: int) -> bool:
    """True while a job's run of this number goes on."""
    return job.state == RUNNING and record.starts_in(job.history) == attempt
