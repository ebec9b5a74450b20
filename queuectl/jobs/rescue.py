"""Rescue a job whose worker died: complete what is on record, or put back what was not started (P2, P3, P5, P7).

Each file in running/ is examined under the stripe of its id. A worker that claims the job holds that stripe, and a
worker that runs it holds the lease that its `started` event names. If both are free, the job has no owner.
"""

from __future__ import annotations

from msgspec import structs

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.flows.gates import Gates
from queuectl.jobs import repair
from queuectl.jobs.settle import Settlements
from queuectl.jobs.verdict import Claimed, Settled
from queuectl.model import document, history, lifecycle, record
from queuectl.model.extras import DEFAULT_QUEUE
from queuectl.model.lifecycle import ABANDONED, PENDING, RUNNING, STARTED, Outcome
from queuectl.spool import cancel_requests
from queuectl.spool.desk import keep_result
from queuectl.spool.folder import RECORD_MAX_BYTES
from queuectl.spool.layout import START, Located, name_for, record_name
from queuectl.spool.lease import is_alive, is_locked
from queuectl.spool.output import keep_output
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files

_DIED = Outcome(ABANDONED, reason="its worker died")


class Orphans:
    """The jobs of one spool whose worker died."""

    def __init__(self, session: Session, stripes: Stripes) -> None:
        self._session = session
        self._spool, self._settings, self._clock, _ = session
        self._stripes = stripes
        self._settlements = Settlements(session, stripes)
        self._gates = Gates(session)
        self.halted: list[str] = []
        """Queues that the runs which were found dead have halted. The caller empties the list."""

    def rescue(self, name: str) -> Settled | None:
        """Complete or undo the work of the dead owner of one file in running/; return what was done.

        Return None if the job is alive, being claimed, or gone.
        """
        here = Located(RUNNING, name, self._spool.path(RUNNING, name))
        stripe = self._stripes.of(name[: -len(".json")])
        if not stripe.try_acquire():
            return None
        try:
            return self._rescue(here)
        except FileNotFoundError:
            return None
        finally:
            stripe.release()

    def _rescue(self, here: Located) -> Settled | None:
        data = self._spool.read_document(here.path).data
        if not _knows_a_run(data) and (started := self._put_start_in_place(here)) is not None:
            data = started
        if not record.is_framed(data):
            if self._runs_all_the_same(data) or self._has_changed(here, data):
                return None
            whole = repair.repair(self._session, here, data)
            if whole is None:
                return self._put_back(here, here.name)  # claimed but not adopted yet: put it back unchanged
            data = whole
        try:
            item = record.decode(data, path=here.path)
        except DamagedRecordError:
            # Our framing around other content. If it runs (edited meanwhile), the next claim finds that out.
            return self._put_back(here, here.name)
        standing = item.standing()
        last = standing.last
        if last is None or last.event not in (STARTED, *lifecycle.ENDINGS):
            # Its claimer died before the start; the stripe is free, so no worker is starting it.
            return self._put_back(here, name_for(item, standing, self._clock.now()), standing.due_at)
        if self._is_running(standing) or self._has_changed(here, data):
            return None
        if last.event in lifecycle.ENDINGS:
            allowed = lifecycle.TABLE.get((RUNNING, last.event)) or lifecycle.TABLE[PENDING, last.event]
            to = last.to if last.to in allowed else allowed[0]
            led = Settled(to, "", standing.due_at, standing.delay_s, "outcome was on record")
            return self._settlements.move(here, item, led)
        claimed = Claimed(
            item, data, attempt=standing.starts, failures=standing.failures, lease=last.lease, name=here.name
        )
        settled = self._settle(claimed)
        queue = item.extras.queue or DEFAULT_QUEUE
        if self._gates.forget(queue, last.lease, None if settled.cancelled else _DIED):
            self.halted.append(queue)
        return settled

    def _put_back(self, here: Located, name: str, due_at: float | None = None) -> Settled:
        """Move a file that was not started back to pending/."""
        return Settled(PENDING, self._spool.move(here, PENDING, name), due_at, None, "not started")

    def _settle(self, claimed: Claimed) -> Settled:
        """Settle a run whose worker died: as cancelled if a request for that exists, else as abandoned."""
        job_id, attempt = claimed.job_id, claimed.attempt
        keep_output(self._spool, self._spool.output_path(claimed.lease), job_id, attempt)
        claimed.given = keep_result(self._spool, claimed.lease, job_id, attempt)
        request = cancel_requests.find(self._spool, job_id, attempt)
        if request is not None:
            settled = self._settlements.settle(claimed, Outcome(lifecycle.CANCELLED, reason=request.text))
            cancel_requests.remove(self._spool, job_id, attempt)
            return structs.replace(settled, cancelled=True)
        return self._settlements.settle(claimed, _DIED)

    def _put_start_in_place(self, here: Located) -> bytes | None:
        """Replace a drop with the record that its dead claimer wrote; return that record, or None if there is none.

        The command may still run: the record names its lease. A record that a power cut left torn is no loss, because
        after the power cut nothing runs and the drop is whole.
        """
        for name in self._spool.starts(here.name.removesuffix(".json")):
            path = self._spool.tmp_path(name)
            data = files.read(path, RECORD_MAX_BYTES).data
            if record.is_record(data):
                disk.sync_file(path)
                disk.replace(path, here.path)
                return data
            disk.unlink(path)
        return None

    def sweep_start(self, name: str) -> None:
        """Delete tmp/`name`, the record of a drop, if its job has continued without it or was moved away."""
        job_id, _, lease = name.removeprefix(START).partition(",")
        stripe = self._stripes.of(job_id)
        if is_alive(self._spool, lease) or not stripe.try_acquire():
            return
        try:
            place = self._spool.path(RUNNING, record_name(job_id))
            if files.sig_of(place) is None or _knows_a_run(self._spool.read_document(place).data):
                disk.unlink(self._spool.tmp_path(name))
        finally:
            stripe.release()

    def _runs_all_the_same(self, data: bytes) -> bool:
        """Whether an incomplete record still names a held lease: somebody edits it, or it was read during a write.

        A repair would replace the file that the outcome is written to.
        """
        try:
            item = record.decode(record.repair(data) or b"")
        except DamagedRecordError:
            parsed = document.parse(data, lines=False)
            if not isinstance(parsed, document.Single):
                return False
            try:
                taken = document.accept(
                    parsed.document, defaults=self._settings.retry_defaults, now_at=self._clock.now()
                )
                item = record.decode(record.frame({"id": "", **taken.spec}, taken.history))
            except (InvalidJobError, DamagedRecordError):
                return False
        return self._is_running(item.standing())

    def _has_changed(self, here: Located, data: bytes) -> bool:
        """Whether a file whose lease is free has changed since it was read; the next pass reads the final version.

        Its owner may have written after we read the file and before we tried the lease. Now that the lease is free,
        no process writes to it.
        """
        return self._spool.read_document(here.path).data != data

    def _is_running(self, standing: history.Standing) -> bool:
        start, last = standing.last_start, standing.last
        if start is None or last is None:
            return False
        return (is_locked if last.event in lifecycle.ENDINGS else is_alive)(self._spool, start.lease)


def _knows_a_run(data: bytes) -> bool:
    """Whether the last event of a record is a start or an outcome."""
    if not record.is_framed(data):
        return False
    try:
        last = record.decode(data).standing().last
    except DamagedRecordError:
        return False
    return last is not None and last.event in (STARTED, *lifecycle.ENDINGS)
