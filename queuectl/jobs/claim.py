"""Claim a job and start it. The order of the steps is what keeps promises P2, P3, P4 and P7.

A claim holds the stripe of the id (one of 64 permanent lock files; a process that is suspended during a claim blocks
one 64th of the ids, never all of them):

    1. try-lock the stripe                busy: skip this job, take the next
    2. move pending/NAME running/ID.json  gone: another worker won; taken: this id already runs
    3. read it; adopt a file that is not a record: a fresh copy in tmp/, fsynced, renamed over it (`adopt`)
    3a. if its queue or key has a limit: pass the gate (`flows.gates`), which stays locked until 4 is done
    4. append `started`, naming the lease that this worker holds
    5. unlock the stripe; run exactly what was read

The stripe decides, not the rename, because on Windows and SMB two claimers can both "win" a rename. A crash
between 2 and 4 leaves a file in running/ without `started`, and `rescue` puts it back. After 4 the lease tells whether
the run is alive. `settle` has the steps after a run.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any

from msgspec import structs

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.flows.admission import Admission, Refusal
from queuectl.jobs import blocking, ending, error_text, reject
from queuectl.jobs.adopt import Adopter, Named, Start
from queuectl.jobs.judge import Candidate, Content, Drop, Judge, Judged, Whole, candidate_of
from queuectl.jobs.settle import Settlements
from queuectl.jobs.split import Splits
from queuectl.jobs.take import CHANGED, Take, Taken, put_back
from queuectl.jobs.verdict import (
    Alive,
    Arriving,
    Busy,
    Claimed,
    Dead,
    Declined,
    Gated,
    Later,
    Skipped,
    Stuck,
)
from queuectl.model import document, expiry, folding, history, names, record
from queuectl.model.extras import PLAIN
from queuectl.model.lifecycle import (
    ABANDONED,
    DLQ,
    DONE,
    PENDING,
    RELEASED,
    REQUEUED,
    RUNNING,
    STARTED,
    WARNING,
    Outcome,
)
from queuectl.model.spec import UNTIL_STARTED
from queuectl.spool.layout import Located, name_for, record_name
from queuectl.spool.lease import is_alive, outlives
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files, sharing


class Claims:
    """Claims jobs of one spool for one worker."""

    def __init__(
        self,
        session: Session,
        stripes: Stripes,
        *,
        worker: str,
        is_local: bool = True,
        admission: Admission | None = None,
    ) -> None:
        self._session = session
        self._admission = Admission(session) if admission is None else admission
        self._spool, self._clock = session.spool, session.clock
        self._stripes = stripes
        self._sync_accepted, self._sync_all = session.syncs_accepted, session.syncs_all
        self._worker = worker
        self.where: dict[str, str] = {}
        """The node that the next claimed job starts on: `node` and `member` of `started`; empty: on this machine."""
        # After a power cut no command runs on this machine, so a drop may start before its record is on disk.
        self._starts_first = is_local and session.settings.durability == "queue" and os.name != "nt"
        self._settlements = Settlements(session, stripes)
        self._judge = Judge(session)
        self.blame = self._judge.blame
        self._take = Take(session, self._judge)
        roster = Roster(session.spool, clock=session.clock)
        self._adopter = Adopter(session, stripes, roster)
        self.splits = Splits(session, stripes, self._judge, roster)

    def stuck(self, name: str, error: OSError) -> Stuck | None:
        """Return why this file cannot be claimed, after `claim` or `split` raised; None if the machine is at fault."""
        return self._judge.stuck(name, error)

    def claim(self, name: str, lease: str) -> Claimed | Declined:
        """Try to make the file pending/`name` this worker's job.

        Raises:
            OSError: a problem of the machine (full disk ...) or of this file, see `stuck`. The file is back in
                pending/, or in running/ without `started`, from where rescue puts it back.
        """
        candidate = candidate_of(name)
        if not isinstance(candidate, Candidate):
            return candidate
        stripe = self._stripes.of(candidate.job_id)
        if not stripe.try_acquire():
            return Busy()
        made: Claimed | Declined | None = None
        try:
            made = self._claim(candidate, lease)
            return made
        finally:
            if not (isinstance(made, Claimed) and made.copy):
                stripe.release()

    def _claim(self, candidate: Candidate, lease: str) -> Claimed | Declined:
        judged: Whole | Drop | None = None
        if not candidate.is_published:
            found = self._judge.judge_file(candidate.name, is_adopted_next=True)
            if not isinstance(found, Whole | Drop):
                here = Located(PENDING, candidate.name, self._spool.path(PENDING, candidate.name))
                return self._decline(candidate, here, found)
            judged = found
        try:
            moved = self._take.move(candidate)
        except PermissionError as error:
            if not sharing.is_held(error):
                raise
            return self._judge.unreadable(self._spool.path(PENDING, candidate.name), error)
        if not isinstance(moved, Located):
            return moved
        try:
            taken = self._take.open(candidate, moved, judged)
            if not isinstance(taken, Taken):
                return taken
            try:
                return self._start_or_adopt(taken, judged, lease)
            finally:
                taken.close()
        except ending.UnburiedError:
            raise
        except OSError as error:
            self._undo(moved, candidate.name, lease, error)
            raise

    def _decline(self, candidate: Candidate, here: Located, judged: Judged) -> Declined:
        """Handle a file that cannot be claimed: reject it, split it, or leave it."""
        if isinstance(judged, document.Refused):
            return reject.refuse(self._session, here, candidate.name, judged)
        if here.state == RUNNING:
            put_back(self._session, here, candidate.name)
        if isinstance(judged, document.Many):
            return self.splits.begin(candidate.name, candidate.job_id)
        assert not isinstance(judged, Whole | Drop), "these can be claimed"
        return judged

    def _start_or_adopt(self, taken: Taken, judged: Whole | Drop | None, lease: str) -> Claimed | Declined:
        """Start a record; turn any other file into a record first."""
        item = record.exact(taken.data) if taken.has_one_name else None
        if item is not None and record_name(item.id) == taken.here.name and not self._is_copy(item):
            try:
                return self._start(taken, item, lease)
            except PermissionError:  # then the file is adopted like a drop
                pass
            except BlockingIOError:  # an editor saved it between the read and the append
                put_back(self._session, taken.here, taken.candidate.name)
                return Arriving(taken.sig, CHANGED)
        # Only a file with a generated name was not judged before, or a record that must not start unchanged.
        drop: Content
        if isinstance(judged, Drop):
            drop = judged
        else:
            drop = self._judge.judge_content(taken.data, taken.sig, is_adopted_next=True)
        if not isinstance(drop, Drop):
            return self._decline(taken.candidate, taken.here, drop)
        return self._adopt(taken, drop.accepted, lease)

    def _adopt(self, taken: Taken, accepted: document.Accepted, lease: str) -> Claimed | Declined:
        start = Start(self._worker, lease, self.where, self._starts_first, self._admission)
        try:
            with contextlib.ExitStack() as held:
                adopted = self._adopter.adopt(taken, accepted, start, held)
                return self._start_named(adopted, lease) if isinstance(adopted, Named) else adopted
        except InvalidJobError as error:
            refused = document.Refused(str(error), error.hint)
            return reject.refuse(self._session, taken.here, taken.candidate.name, refused)

    def _start_named(self, named: Named, lease: str) -> Claimed | Alive | Busy | Dead | Skipped | Later | Gated:
        where, item, data = named
        candidate = Candidate(where.name, names.NameParts(item.id, None, item.priority), item.id)
        try:
            return self._start(Taken(candidate, where, data, None, has_one_name=True), item, lease)
        except ending.UnburiedError:
            raise
        except OSError as error:
            self._undo(where, where.name, lease, error)
            raise

    def _is_copy(self, item: record.Record) -> bool:
        """Whether a record has ended and done/ or dlq/ still holds the same job, so that this file is a copy of it.

        A copy is a separate job. It continues under its own id, so that the two never share a run, log or text.
        """
        last = item.history[-1] if item.history else None
        if last is None or (last.to not in (DONE, DLQ) and last.event != WARNING):
            return False
        return item.standing().ended_to in (DONE, DLQ) and bool(self._spool.holds(item.id, (DONE, DLQ)))

    def _start(
        self, taken: Taken, item: record.Record, lease: str
    ) -> Claimed | Alive | Busy | Dead | Skipped | Later | Gated:
        """Append `started` to a record, unless the job must wait."""
        here, data, parts = taken.here, taken.data, taken.candidate.parts
        now_at = self._clock.now()
        standing = history.standing(item.history)
        events: list[dict[str, Any]] = []
        last = standing.last
        if last is not None and last.event == STARTED:
            # Somebody dragged it out of running/. If the run is alive, never start a second (P3). If dead, it counts.
            if is_alive(self._spool, last.lease):
                return self._still_alive(taken, standing)
            return self._abandon(here, item, data, standing)
        is_requeued = standing.ended_to in (DONE, DLQ)
        if is_requeued:
            events.append(history.event(REQUEUED, now_at, by="move"))
            standing = structs.replace(standing, failures=0, due_at=None)
        elif item.extras is not PLAIN and (why := expiry.why_expired(item, now_at)):
            return self._expire(taken, item, why)
        if item.extras is not PLAIN and item.extras.unique and self._is_asked(item, standing, is_requeued):
            from queuectl.jobs import uniques  # few jobs have unique keys

            left = uniques.ask(
                self._session,
                here,
                taken.candidate.name,
                data,
                item,
                events,
                is_requeued=is_requeued,
                fd=taken.fd,
            )
            if left is not None:
                return left
        has_parents = item.extras is not PLAIN and item.blocked is not None
        if has_parents and (declined := blocking.ask(self._session, here, data, item, events, fd=taken.fd)) is not None:
            return declined
        if not is_requeued and (
            item.priority < parts.priority
            or (standing.due_at is not None and not history.is_due(standing.due_at, standing.delay_s, now_at))
        ):
            return Later(self._wait(taken, item, standing, has_parents=has_parents), standing.due_at)
        if standing.starts and outlives(self._spool, item, mine=lease):
            return self._still_alive(taken, standing)
        attempt = standing.starts + 1
        admitted = self._admission.admit(item, lease)
        if isinstance(admitted, Refusal):
            return Gated(self._wait(taken, item, standing, has_parents=has_parents), *admitted)
        try:
            # The time of the answers above, not of the question: a parent may have ended since the claim began.
            at = self._clock.now() if admitted is None or admitted.start is None else admitted.start.at
            start = history.started(at, attempt=attempt, worker=self._worker, lease=lease)
            events.append({**start, **self.where} if self.where else start)
            folded = folding.fold(data, item) if len(data) > folding.FOLD_BYTES else None
            tail = record.append(len(folded or data), events, empty=not item.history)
            if folded is None:
                disk.append(here.path, tail, sync=self._sync_all, fd=taken.fd)
            else:
                self._replace_folded(here, item.id, len(data), tail.on(folded))
                data = folded
        except BaseException:
            if admitted is not None:
                admitted.undo()
            raise
        if admitted is not None:
            admitted.open()
        if len(events) > 1:
            error_text.forget(self._spool, here.name)
        on_disk = tail.on(data)
        return Claimed(item, on_disk, attempt, standing.failures, lease, name=here.name, gate=admitted)

    @staticmethod
    def _is_asked(item: record.Record, standing: history.Standing, is_requeued: bool) -> bool:
        """Return whether a unique job asks the note of its key: not once it has given the key up at its first start."""
        return is_requeued or not standing.starts or item.extras.unique_until != UNTIL_STARTED

    def _wait(self, taken: Taken, item: record.Record, standing: history.Standing, *, has_parents: bool) -> str:
        """Put a job that must wait back under its full name; return the name. Its parents, if any, are met."""
        if has_parents:
            item = record.decode(blocking.settle_parents(self._session, taken.here, taken.data, item, fd=taken.fd))
        wanted = name_for(item, standing, self._clock.now(), taken.candidate.parts.arrived)
        return self._spool.move(taken.here, PENDING, wanted)

    def _replace_folded(self, here: Located, job_id: str, size: int, data: bytes) -> None:
        """Replace the record that was read by one with a folded history and the start.

        No other process writes to the old record: we hold the stripe, and no process of the last run is left.

        Raises:
            BlockingIOError: the record's size has changed, because an editor saved it.
        """
        with self._spool.temporary(job_id, data, sync=self._sync_accepted) as temporary:
            sig = files.sig_of(here.path)
            if sig is None or sig.size != size:
                raise BlockingIOError(errno.EWOULDBLOCK, "another program changed the record", here.path)
            disk.replace(temporary, here.path)

    def _expire(self, taken: Taken, item: record.Record, why: str) -> Dead:
        """Move a job that must not start any more to dlq/."""
        event = ending.expired(self._clock.now(), why)
        tail = record.append(len(taken.data), [event], empty=not item.history)
        with ending.on_record():
            disk.append(taken.here.path, tail, sync=self._sync_all, fd=taken.fd)
            return ending.bury(self._session, taken.here, item.id, why)

    def _still_alive(self, taken: Taken, standing: history.Standing) -> Alive:
        """Put back a job if a process of its last run still holds the lease: two runs never overlap (P3)."""
        put_back(self._session, taken.here, taken.candidate.name)
        last, start = standing.last, standing.last_start
        left = ", ".join(map(str, last.left)) if last is not None and last.left else ""
        what = f"a process left by its last run ({left})" if left else "a process of its last run"
        return Alive(f"{what} still holds the lease {start.lease if start is not None else ''}")

    def _abandon(self, here: Located, item: record.Record, data: bytes, standing: history.Standing) -> Dead | Later:
        claimed = Claimed(item, data, attempt=standing.starts, failures=standing.failures, lease="")
        settled = self._settlements.settle(
            claimed, Outcome(ABANDONED, reason="its worker died, or its file was moved while it ran")
        )
        return Dead(settled.name) if settled.to == DLQ else Later(settled.name, settled.due_at)

    def _undo(self, here: Located, name: str, lease: str, error: OSError) -> None:
        """Put a file back after a problem of the machine, uncounted even if `started` is on record (P9)."""
        try:
            stored = self._spool.read(RUNNING, here.name)
        except (OSError, DamagedRecordError):
            with contextlib.suppress(OSError):
                put_back(self._session, here, name)
            return
        standing = stored.record.standing()
        with contextlib.suppress(OSError):
            if standing.last is None or standing.last.lease != lease:
                put_back(self._session, here, name)
                return
            claimed = Claimed.on_record(stored, standing, lease=lease, name=here.name)
            self._settlements.settle(claimed, Outcome(RELEASED, reason=error.strerror or "trouble"))
