"""Settle a run: record its outcome, then move the job to its next state (promises P2, P4, P5, P7).

Settling needs no lock, because only the holder of the lease may settle: append the outcome, then make one move. A crash
in between leaves an outcome on record, and `rescue` makes the move.
"""

from __future__ import annotations

from typing import Any

from queuectl.jobs import budget
from queuectl.jobs.verdict import Claimed, Settled
from queuectl.model import history, lifecycle, names, record, times
from queuectl.model.extras import PLAIN
from queuectl.model.lifecycle import DONE, PENDING, RUNNING, Outcome
from queuectl.spool import rejected
from queuectl.spool.desk import NOTHING
from queuectl.spool.folder import RECORD_MAX_BYTES
from queuectl.spool.layout import Located, record_name
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files


class Settlements:
    """Settles the runs of one spool."""

    def __init__(self, session: Session, stripes: Stripes) -> None:
        self._session = session
        self._spool, _, self._clock, self._rng = session
        self._sync_accepted, self._sync_all = session.syncs_accepted, session.syncs_all
        self._stripes = stripes

    # --------------------------------------------------------------------------------------------------- settle

    def secure(self, claimed: Claimed) -> None:
        """Fsync the record of a drop and replace the drop with it. Call this once its command runs.

        Raises:
            OSError: the disk refuses the change; the drop is unchanged. Call this again.
        """
        if not claimed.copy:
            return
        path, copy = self._spool.path(RUNNING, claimed.name), claimed.copy
        try:
            disk.sync_file(copy)
        except OSError:  # the kernel may have dropped what it could not write, and report success the next time
            copy = self._spool.write_temporary(claimed.job_id, claimed.data, sync=True)
        try:
            if files.sig_of(path) is None and (found := self._spool.find(claimed.job_id)) is not None:
                path = found.path  # dragged away: a worker that claims it there must see that it runs (P3)
            if files.sig_of(path) is None:
                disk.unlink(copy)  # somebody has deleted the job, so it must not come back
            else:
                disk.replace(copy, path)
        except OSError:
            if copy != claimed.copy:
                disk.unlink(copy)
            raise
        if copy != claimed.copy:
            disk.unlink(claimed.copy)
        claimed.copy = ""
        self._release_stripe(claimed)

    def leave(self, claimed: Claimed) -> None:
        """Give back the stripe of a drop whose record is not on disk: the run is over, and left to the rescuer."""
        if claimed.copy:
            self._release_stripe(claimed)

    def _release_stripe(self, claimed: Claimed) -> None:
        if claimed.stripe is None:
            self._stripes.of(claimed.job_id).release()
        else:
            claimed.stripe.close()

    def part(self, claimed: Claimed) -> None:
        """Separate the stripe that a run still needs from the worker's stripes, which the next jobs need."""
        if claimed.copy and claimed.stripe is None:
            claimed.stripe = self._stripes.part(claimed.job_id)

    def settle(self, claimed: Claimed, outcome: Outcome) -> Settled:
        """Record how a run ended, then move the job to its next state.

        The caller holds the lease that the `started` event names (or, for a dead run, its lock).

        Raises:
            FileNotFoundError: the job's file is no longer in running/: somebody deleted or moved it.
            OSError: the outcome could not be recorded, or the file could not be moved. Try again with the same object.
        """
        here = Located(RUNNING, claimed.name, self._spool.path(RUNNING, claimed.name))
        if claimed.copy:
            self.secure(claimed)
        if claimed.recorded is None:
            claimed.recorded = self._record_outcome(here, claimed, outcome)
        if claimed.moved is None:
            claimed.moved = self.move(here, claimed.record, claimed.recorded)
        if claimed.gate is not None:
            claimed.gate.leave(outcome)
        if claimed.record.extras is not PLAIN and claimed.record.extras.unique:
            from queuectl.jobs import uniques  # few jobs have unique keys

            uniques.settled(self._session, claimed.record, claimed.moved.to, claimed.moved.name)
        if self._sync_all:
            disk.sync_folder(self._spool.folder(claimed.moved.to))
        return claimed.moved

    def _record_outcome(self, here: Located, claimed: Claimed, outcome: Outcome) -> Settled:
        now_at = self._clock.now()
        if outcome.kind == lifecycle.SUCCEEDED:
            decision = lifecycle.SUCCESS
        else:
            policy = budget.policy_of(claimed.record, self._session.settings)
            spent = budget.spent(claimed, outcome, policy, now_at)
            decision = lifecycle.decide(outcome, failures=claimed.failures, policy=policy, rng=self._rng, spent=spent)
        lifecycle.check_move(RUNNING, outcome.kind, decision.to)
        if decision is lifecycle.SUCCESS and claimed.given is NOTHING and _is_plain(outcome):
            event = history.succeeded(now_at, attempt=claimed.attempt, duration_s=outcome.duration_s or 0.0)
            self._append_outcome(here, claimed, [event])
            return Settled(decision.to, here.name, None, None, "")
        due_at = None if decision.delay_s is None else times.round_up(now_at + decision.delay_s)
        reason = lifecycle.noted(outcome.reason, decision)
        event = history.event(
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
            result_bytes=claimed.given.result_bytes,
            progress=claimed.given.progress if outcome.kind in lifecycle.COUNTED else "",
        )
        events = [event]
        if claimed.given.warnings:
            events = [history.event(lifecycle.WARNING, now_at, text=text) for text in claimed.given.warnings]
            events.append(event)
        if decision.to == PENDING and claimed.record.extras is not PLAIN and claimed.record.extras.unique:
            from queuectl.jobs import uniques

            other = uniques.replacement(self._session, claimed.record)
            if other:
                events.append(uniques.replaced(now_at, other))
                self._append_outcome(here, claimed, events)
                reason = lifecycle.joined(reason, f"not tried again, because {other} took its place")
                return Settled(DONE, here.name, None, None, reason, skipped=True)
        self._append_outcome(here, claimed, events)
        return Settled(decision.to, here.name, due_at, decision.delay_s, reason)

    def _append_outcome(self, here: Located, claimed: Claimed, events: list[dict[str, Any]]) -> None:
        tail = record.append(claimed.size, events)
        try:
            claimed.size = disk.append(here.path, tail, sync=self._sync_all)
            return
        except BlockingIOError:
            pass
        edited = files.read(here.path, RECORD_MAX_BYTES)
        if record.is_record(edited.data):
            item = record.decode(edited.data)
            if any(each.event in lifecycle.OUTCOMES and each.attempt == claimed.attempt for each in item.history):
                return  # the earlier try wrote it and failed to sync it
            tail = record.append(len(edited.data), events, empty=not item.history)
            disk.append(here.path, tail, sync=self._sync_all)
            return
        # Somebody edited the record while the job ran, so that it is no longer a record. We know the run and its
        # outcome: record both in a fresh copy of what was run, and keep the edited text in rejected/.
        # Copy, then replace, so that running/ holds a file at every instant.
        data = claimed.data[: -len(record.CLOSING)] + tail.data
        why = "somebody changed this record while the job was running; the job continued as it was started"
        with self._spool.temporary(claimed.job_id, data, sync=self._sync_accepted) as temporary:
            rejected.keep_copy(self._session, claimed.name, edited.data, rejected.Reason(why))
            disk.replace(temporary, here.path)

    def move(self, here: Located, item: record.Record, led: Settled) -> Settled:
        """Move a job whose outcome is on record to its next state; return `led` with the file's name there."""
        name = record_name(item.id)
        if led.to == PENDING:
            name = names.waiting_name(item.id, led.due_at, item.priority, item.owner, place=item.place)
        name = self._spool.move(here, led.to, name)
        # `_replace` takes five times as long.
        return Settled(led.to, name, led.due_at, led.delay_s, led.reason, skipped=led.skipped)


def _is_plain(outcome: Outcome) -> bool:
    """Return whether a success has no more to say than how long it took, as most have."""
    return (
        outcome.exit_code == 0
        and outcome.duration_s is not None
        and not (outcome.reason or outcome.killed or outcome.left)
    )
