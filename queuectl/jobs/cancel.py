"""Cancel a job: move a waiting job to dlq/ at once, ask the worker to end a running one (`spool.cancel_requests`).

A job may change between these states meanwhile, so both are tried in turn until one succeeds.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from queuectl.errors import DamagedRecordError, QueuectlError, SpoolUnavailableError, UnknownJobError
from queuectl.jobs import error_text, repair
from queuectl.jobs.rescue import Orphans
from queuectl.jobs.take import put_back
from queuectl.model import document, history, names, record
from queuectl.model.lifecycle import CANCELLED, DLQ, DONE, PENDING, RUNNING, WARNING, cancel_note
from queuectl.spool import cancel_requests, lookup
from queuectl.spool.access import unavailable
from queuectl.spool.folder import Stored
from queuectl.spool.layout import Located, record_name
from queuectl.spool.lookup import Job
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes, held
from queuectl.system import disk, files

# After its grace period, a running job has this much longer to leave running/.
_PATIENCE_S = 10.0
_POLL_S = 0.02


class Canceller:
    """Cancels jobs of one spool; see `api.Spool.cancel`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._spool, self._settings, self._clock, _ = session

    def cancel(self, job_id: str, *, by: str, reason: str) -> Job:
        """See `api.Spool.cancel`."""
        deadline = self._clock.monotonic() + self._settings.kill_grace_s + _PATIENCE_S
        while True:
            attempt = self._cancel_unless_running(job_id, by, reason)
            if isinstance(attempt, Job):
                return attempt
            ended = self._cancel_run(job_id, cancel_requests.Request(job_id, attempt, by, reason), deadline)
            if ended is not None:
                return ended

    def _cancel_unless_running(self, job_id: str, by: str, reason: str) -> Job | int:
        """Cancel a waiting job; if the job runs, return the number of its attempt instead."""
        key, drop = job_id, None
        if self._spool.find(job_id) is None and (dropped := lookup.find_drop(self._session, job_id)) is not None:
            drop = Located(PENDING, os.path.basename(dropped.path), dropped.path)
            parts = names.parse(drop.name)
            key = names.clean_id(parts.stem if parts else drop.name)  # a claim locks the stripe of the file's name
        with held(self._session, key):
            found = self._spool.find(job_id)
            if found is None and drop is not None and os.path.lexists(drop.path):
                found = drop
            if found is None:
                raise UnknownJobError(job_id)
            if found.state == PENDING:
                return self._cancel_waiting(found, key, by, reason)
            if found.state == RUNNING:
                with contextlib.suppress(DamagedRecordError, FileNotFoundError):
                    return self._spool.read(RUNNING, found.name).record.standing().starts
                return 0
            raise QueuectlError(
                f"job {job_id!r} has already ended: it is in {found.state}/", hint=f"queuectl show {job_id}"
            )

    def _cancel_waiting(self, found: Located, key: str, by: str, reason: str) -> Job:
        """Cancel a job in pending/, whose stripe is that of `key` (FORMAT.md, "Cancel").

        The end goes on record in running/, from where rescue makes the move: in pending/ it would count as a person's
        wish to run the job again.
        """
        event = history.event(CANCELLED, self._clock.now(), by=by, reason=cancel_note(by, reason), to=DLQ)
        here = Located(RUNNING, record_name(key), self._spool.path(RUNNING, record_name(key)))
        try:
            stored = self._read(found)
        except DamagedRecordError:
            job_id = self._cancel_drop(found, here, event)
        else:
            if stored.record.standing().ended_to and self._spool.holds(stored.record.id, (DONE, DLQ)):
                stored = self._give_own_id(found, stored)
            job_id = stored.record.id
            self._cancel_record(found, here, stored, event)
        name = self._spool.move(here, DLQ, record_name(job_id))
        if self._session.syncs_accepted:
            disk.sync_folder(self._spool.folder(DLQ))
        error_text.write(self._session, name)
        return lookup.load(self._session, DLQ, name)

    def _cancel_record(self, found: Located, here: Located, stored: Stored, event: dict[str, Any]) -> None:
        """Move a record to running/ and append its end; put it back if that fails."""
        tail = record.append(len(stored.data), [event], empty=not stored.record.history)
        self._take(found, here)
        try:
            disk.append(here.path, tail, sync=self._session.syncs_accepted)
        except BlockingIOError as error:
            put_back(self._session, here, found.name)
            raise _being_written(found) from error
        except OSError:
            with contextlib.suppress(OSError):
                if self._spool.read_document(here.path).data == stored.data:  # else its end may be on record
                    put_back(self._session, here, found.name)
            raise

    def _take(self, found: Located, here: Located) -> None:
        try:
            disk.move(found.path, here.path)
        except FileExistsError as error:
            what = f"another job has the id of {found.path}, and runs"
            raise QueuectlError(what, hint=f"try again when {here.path} has ended") from error

    def _give_own_id(self, found: Located, stored: Stored) -> Stored:
        """Give a copy of an ended job its own id, as a claim does (P7)."""
        parts = names.parse(found.name)
        try:
            repair.give_own_id(self._session, found, stored, parts.stem if parts else found.name.removesuffix(".json"))
        except repair.GoneError as error:
            raise _being_written(found) from error
        return self._spool.read(found.state, found.name)

    def _read(self, found: Located) -> Stored:
        """Read a waiting record and repair its torn end. Raises DamagedRecordError if queuectl did not write it."""
        try:
            return self._spool.read(found.state, found.name)
        except DamagedRecordError:
            return repair.repaired(self._session, found)

    def _cancel_drop(self, found: Located, here: Located, event: dict[str, Any]) -> str:
        """Move a drop to running/ and turn it into a record with its end, or put it back; return the job's id."""
        content = self._spool.read_document(found.path)
        job = lookup.load_drop(self._session, PENDING, found.name)
        if self._spool.find(job.id) not in (None, found):
            raise QueuectlError(f"another job has the id {job.id!r}", hint=f"delete {found.path}")
        taken = document.Accepted(job.spec, job.history, None, None, [])
        events = document.first_events(taken, by="drop", now_at=self._clock.now())
        data = record.frame({**job.spec, "id": job.id}, [*events, event])
        with self._spool.temporary(job.id, data, sync=True) as temporary:
            self._take(found, here)
            try:
                if files.sig_of(here.path) != content.sig:
                    raise _being_written(found)
                disk.replace(temporary, here.path)
            except (QueuectlError, OSError):
                put_back(self._session, here, found.name)
                raise
        return job.id

    def _cancel_run(self, job_id: str, request: cancel_requests.Request, deadline: float) -> Job | None:
        """Ask the worker to end a run and wait for the end; return None if the job waits or runs again."""
        stripes = Stripes(self._spool)
        orphans = Orphans(self._session, stripes)
        try:
            cancel_requests.put(self._spool, request)
            while True:
                with contextlib.suppress(DamagedRecordError, files.NotRegularError):
                    orphans.rescue(record_name(job_id))  # if its worker died, perhaps no pool is there to do it
                job = lookup.get(self._session, job_id)
                if not _runs(job, request.attempt) or self._clock.monotonic() >= deadline:
                    break
                time.sleep(_POLL_S)
        except OSError as error:
            raise unavailable(self._spool, error) from error
        finally:
            stripes.close()
        if _runs(job, request.attempt):
            raise SpoolUnavailableError(
                f"job {job_id!r} is still running",
                path=job.path,
                cause="its worker or its command has not reacted to the request yet; the request stays in effect",
                hint=f"queuectl show {job_id}",
            )
        cancel_requests.remove(self._spool, job_id, request.attempt)
        last: dict[str, Any] = next((event for event in reversed(job.history) if event.get("event") != WARNING), {})
        if last.get("event") == CANCELLED:
            return job
        if job.state in (PENDING, RUNNING):
            return None
        raise QueuectlError(f"job {job_id!r} ended before it was cancelled: {last.get('event')}, in {job.state}/")


def _being_written(found: Located) -> QueuectlError:
    return QueuectlError(f"{found.path} is being written by another program", hint="try again")


def _runs(job: Job, attempt: int) -> bool:
    """Whether the run with this number is still in progress."""
    return job.state == RUNNING and history.starts_in(job.history) == attempt
