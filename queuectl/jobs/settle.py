"""Settling a run, and rescuing one whose worker is gone (promises P2, P4, P5, P7).

Settling needs no lock, since only who holds the lease may settle: append the outcome, then one move to where the
outcome says. A crash in between leaves an outcome on record, and rescue makes the move it tells.

Rescue looks at a file in running/ under its id's stripe: whoever is claiming it holds that stripe, and whoever runs it
holds the lease that its `started` names. With both free nobody has it.
"""

from __future__ import annotations

from typing import Any

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.jobs import reject, repair
from queuectl.jobs.verdict import Claimed, Settled
from queuectl.model import document, lifecycle, names, record, times
from queuectl.model.lifecycle import PENDING, RUNNING, Outcome
from queuectl.spool import cancel_requests
from queuectl.spool.blame import Blame
from queuectl.spool.folder import RECORD_MAX_BYTES, START, Located, name_for, record_name
from queuectl.spool.lease import is_alive
from queuectl.spool.output import keep_output
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files


class Settlements:
    """Settles and rescues the runs of one spool."""

    def __init__(self, session: Session, stripes: Stripes) -> None:
        self._session = session
        self._spool, self._settings, self._clock, self._rng = session
        self._sync_accepted, self._sync_all = session.syncs_accepted, session.syncs_all
        self._stripes = stripes
        self.blame = Blame(session.spool, clock=session.clock, rng=session.rng)

    # --------------------------------------------------------------------------------------------------- settle

    def secure(self, claimed: Claimed) -> None:
        """Force the record of a drop to disk and put it in the drop's place. To be called when its command runs.

        Raises:
            OSError: the disk does not take it; the drop is where it was, and this is to be called again.
        """
        if not claimed.copy:
            return
        path, copy = self._spool.path(RUNNING, claimed.name), claimed.copy
        try:
            disk.sync_file(copy)
        except OSError:  # the kernel may have dropped what it could not write, and then say that all is well
            copy = self._spool.write_temporary(claimed.job_id, claimed.data, rng=self._rng, sync=True)
        try:
            if files.sig_of(path) is None and (found := self._spool.find(claimed.job_id)) is not None:
                path = found.path  # dragged away: whoever claims it there has to see that it runs (P3)
            if files.sig_of(path) is None:
                disk.unlink(copy)  # somebody has deleted the job: it is not to come back
            else:
                disk.replace(copy, path)
        except OSError:
            if copy != claimed.copy:
                disk.unlink(copy)
            raise
        if copy != claimed.copy:
            disk.unlink(claimed.copy)
        claimed.copy = ""
        if claimed.stripe is None:
            self._stripes.of(claimed.job_id).release()
        else:
            claimed.stripe.close()

    def part(self, claimed: Claimed) -> None:
        """Hold the stripe that a run still needs apart from the worker's own, which goes on with other jobs."""
        if claimed.copy and claimed.stripe is None:
            claimed.stripe = self._stripes.part(claimed.job_id)

    def settle(self, claimed: Claimed, outcome: Outcome) -> Settled:
        """Record how a run ended, then move the job to where that leads.

        The caller holds the lease that the `started` event names (or, for a dead run, has its lock).

        Raises:
            FileNotFoundError: the job's file is gone from running/: somebody deleted or moved it.
            OSError: the outcome could not be recorded, or the file not moved. To be tried again with the same object.
        """
        here = Located(RUNNING, claimed.name, self._spool.path(RUNNING, claimed.name))
        self.secure(claimed)
        if claimed.recorded is None:
            claimed.recorded = self._record_outcome(here, claimed, outcome)
        if claimed.moved is None:
            to, _, due_at, delay_s, reason, _ = claimed.recorded
            claimed.moved = self._finish_move(here, claimed.record, to, due_at, delay_s, reason)
        if self._sync_all:
            disk.sync_folder(self._spool.folder(claimed.moved.to))
        return claimed.moved

    def _record_outcome(self, here: Located, claimed: Claimed, outcome: Outcome) -> Settled:
        decision = lifecycle.decide(outcome, failures=claimed.failures, policy=claimed.record.policy, rng=self._rng)
        lifecycle.check_move(RUNNING, outcome.kind, decision.to)
        now_at = self._clock.now()
        due_at = None if decision.delay_s is None else times.round_up(now_at + decision.delay_s)
        reason = lifecycle.noted(outcome.reason, decision)
        event = record.event(
            outcome.kind,
            now_at,
            attempt=claimed.attempt,
            exit_code=outcome.exit_code,
            duration_s=None if outcome.duration_s is None else round(outcome.duration_s, 3),
            reason=reason,
            to=decision.to,
            due_at="" if due_at is None else times.to_text(due_at),
            delay_s=None if decision.delay_s is None else round(decision.delay_s, 3),
            killed=outcome.killed or None,
            left=outcome.left or None,
        )
        self._append_outcome(here, claimed, event)
        return Settled(decision.to, here.name, due_at, decision.delay_s, reason)

    def _append_outcome(self, here: Located, claimed: Claimed, event: dict[str, Any]) -> None:
        offset, text = record.append(claimed.size, [event])
        try:
            claimed.size = disk.append(here.path, claimed.size, offset, text, sync=self._sync_all)
            return
        except BlockingIOError:
            pass
        edited = files.read(here.path, RECORD_MAX_BYTES)
        if record.is_record(edited.data):
            item = record.decode(edited.data)
            last = record.standing(item).last
            if last is not None and last.event in lifecycle.OUTCOMES and last.attempt == claimed.attempt:
                return  # the try before got it there and failed to sync it
            offset, text = record.append(len(edited.data), [event], empty=not item.history)
            disk.append(here.path, len(edited.data), offset, text, sync=self._sync_all)
            return
        # Somebody edited the record while it ran, and it is none any more. The run and its outcome are what we know:
        # they go on record in a fresh copy of what was run, and the edited text is kept beside the rejected files.
        # Copied, then replaced: at no instant is there no file in running/.
        data = claimed.data[: -len(record.CLOSING)] + text
        why = "it was changed while the job ran; the job went on as it was started"
        with self._spool.temporary(claimed.job_id, data, rng=self._rng, sync=self._sync_accepted) as temporary:
            reject.keep_copy(self._session, claimed.name, edited.data, why, "")
            disk.replace(temporary, here.path)

    def _finish_move(
        self,
        here: Located,
        item: record.Record,
        to: str,
        due_at: float | None,
        delay_s: float | None,
        reason: str,
    ) -> Settled:
        name = record_name(item.id)
        if to == PENDING:
            name = names.waiting_name(item.id, due_at, item.priority, item.owner)
        name = self._spool.move(here, to, name, self._rng)
        return Settled(to, name, due_at, delay_s, reason)

    # --------------------------------------------------------------------------------------------------- rescue

    def rescue(self, name: str) -> Settled | None:
        """Look at one file in running/ and, if nobody runs it, finish or undo what its owner could not.

        Returns what was done, or None where the job is alive, being claimed just now, or gone.
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
            whole = self._repair(here.path, here.name, data)
            if whole is None:
                # Claimed and not taken in yet: it goes back as it was.
                name = self._spool.move(here, PENDING, here.name, self._rng)
                return Settled(PENDING, name, None, None, "not started")
            data = whole
        try:
            item = record.decode(data, path=here.path)
        except DamagedRecordError:
            # Our framing around something else. If it runs (edited meanwhile), the next claim finds that out.
            name = self._spool.move(here, PENDING, here.name, self._rng)
            return Settled(PENDING, name, None, None, "not started")
        standing = record.standing(item)
        last = standing.last
        if last is None or last.event not in ("started", *lifecycle.OUTCOMES):
            # Its claimer died before the start; the stripe is free, so it is not on its way.
            name = self._spool.move(here, PENDING, name_for(item, standing, self._clock.now()), self._rng)
            return Settled(PENDING, name, standing.due_at, None, "not started")
        if self._is_running(standing) or self._has_changed(here, data):
            return None
        if last.event in lifecycle.OUTCOMES:
            allowed = lifecycle.TABLE[RUNNING, last.event]
            to = last.to if last.to in allowed else allowed[0]
            return self._finish_move(here, item, to, standing.due_at, standing.delay_s, "outcome was on record")
        claimed = Claimed(
            item, data, attempt=standing.starts, failures=standing.failures, lease=last.lease, name=here.name
        )
        keep_output(self._spool, self._spool.output_path(last.lease), item.id, standing.starts, self._rng)
        request = cancel_requests.find(self._spool, item.id, standing.starts)
        if request is not None:
            settled = self.settle(claimed, Outcome(lifecycle.CANCELLED, reason=request.text))._replace(cancelled=True)
            cancel_requests.remove(self._spool, item.id, standing.starts)
            return settled
        return self.settle(claimed, Outcome("abandoned", reason="its worker died"))

    def _put_start_in_place(self, here: Located) -> bytes | None:
        """Put the record that a dead claimer wrote in the place of the drop; None where there is none.

        Its command may still run: the record names the lease that tells. A record that a power cut left torn is no
        loss: nothing runs any more, and the drop is whole.
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
        """Delete tmp/`name`, the record of a drop, where its job has gone on without it, or was taken away."""
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

    def mend_ended(self, state: str, name: str) -> bool | None:
        """Repair a record in done/ or dlq/ that lost its end; False if it needs no repair, None if its id is busy.

        Raises:
            OSError: the machine's trouble; the file is as it was.
        """
        stripe = self._stripes.of(name.removesuffix(".json"))
        if not stripe.try_acquire():
            return None
        path = self._spool.path(state, name)
        try:
            content = self._spool.read_document(path)
            return self._repair(path, name, content.data) is not None
        except (FileNotFoundError, files.NotRegularError):
            return False
        finally:
            stripe.release()

    def _repair(self, path: str, name: str, data: bytes) -> bytes | None:
        """Put the repair of a torn record in its place; None where there is nothing to repair (see `repair.mend`)."""
        return repair.mend(self._session, path, name, data)

    def _runs_all_the_same(self, data: bytes) -> bool:
        """True where what is no whole record names a lease that is held: an edit, or half of what is written just now.

        Whoever reads beside a write may see a part of it. A repair of that would take the place of the file that the
        outcome is written to.
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
        return self._is_running(record.standing(item))

    def _has_changed(self, here: Located, data: bytes) -> bool:
        """True where a file whose lease is free is not as it was read; the next look sees it as it is.

        Its owner may have written between our reading and our trying of the lease. Since the lease is free, nobody
        writes any more, and what is read now is the last word.
        """
        return self._spool.read_document(here.path).data != data

    def _is_running(self, standing: record.Standing) -> bool:
        start = standing.last_start
        return start is not None and is_alive(self._spool, start.lease)


def _knows_a_run(data: bytes) -> bool:
    """True for a record whose last word is a start or an outcome."""
    if not record.is_framed(data):
        return False
    try:
        last = record.standing(record.decode(data)).last
    except DamagedRecordError:
        return False
    return last is not None and last.event in ("started", *lifecycle.OUTCOMES)
