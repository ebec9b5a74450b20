"""Claim a job and start it: the heart of queuectl, where every order matters (promises P2, P3, P4, P7).

A claim, under the stripe of the id (one of 64 permanent lock files; a process that is stopped in here blocks one
64th of the ids, never everyone):

    1. try-lock the stripe               busy: leave this one, take the next
    2. move pending/NAME running/ID.json  gone: somebody else won; taken: that id runs already
    3. read it; what is no record of ours is adopted: a fresh copy in tmp/, synced, renamed over it (`adopt`)
    4. append `started`, naming the lease that this worker holds
    5. unlock the stripe; run exactly what was read

The stripe and not the rename decides, because on Windows and SMB two claimers can both "win" a rename. A crash
between 2 and 4 leaves a file in running/ without `started`: `rescue` puts it back. After 4 the lease tells whether
the run is alive. What follows a run is in `settle`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.jobs import error_text, reject
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
    Later,
    Stuck,
)
from queuectl.model import document, folding, history, names, record
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
from queuectl.spool.layout import Located, name_for, record_name
from queuectl.spool.lease import is_alive, outlives
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files, sharing


class Claims:
    """Claims jobs of one spool for one worker."""

    def __init__(self, session: Session, stripes: Stripes, *, worker: str) -> None:
        self._session = session
        self._spool, self._clock = session.spool, session.clock
        self._stripes = stripes
        self._sync_accepted, self._sync_all = session.syncs_accepted, session.syncs_all
        self._worker = worker
        self._starts_first = session.settings.durability == "queue" and os.name != "nt"
        self._settlements = Settlements(session, stripes)
        self._judge = Judge(session)
        self.blame = self._judge.blame
        self._take = Take(session, self._judge)
        roster = Roster(session.spool, clock=session.clock)
        self._adopter = Adopter(session, stripes, roster)
        self.splits = Splits(session, stripes, self._judge, roster)

    def stuck(self, name: str, error: OSError) -> Stuck | None:
        """Return what keeps this one file from being claimed, after `claim` or `split` raised; None: the machine."""
        return self._judge.stuck(name, error)

    def claim(self, name: str, lease: str) -> Claimed | Declined:
        """Try to make the file pending/`name` this worker's job.

        Raises:
            OSError: trouble of the machine (full disk ...) or of this file, see `stuck`; the file is back in pending/,
                or in running/ without `started`, from where rescue puts it back.
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
            found = self._judge.judge_file(candidate.name)
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
        except OSError as error:
            self._undo(moved, candidate.name, lease, error)
            raise

    def _decline(self, candidate: Candidate, here: Located, judged: Judged) -> Declined:
        """Do what follows from what a file is that cannot be claimed: reject it, split it, or leave it."""
        if isinstance(judged, document.Refused):
            return reject.refuse(self._session, here, candidate.name, judged)
        if here.state == RUNNING:
            put_back(self._session, here, candidate.name)
        if isinstance(judged, document.Many):
            return self.splits.begin(candidate.name, candidate.job_id)
        assert not isinstance(judged, Whole | Drop), "these can be claimed"
        return judged

    def _start_or_adopt(self, taken: Taken, judged: Whole | Drop | None, lease: str) -> Claimed | Declined:
        """Start a record of ours; make one of anything else."""
        item = record.exact(taken.data) if taken.has_one_name else None
        if item is not None and record_name(item.id) == taken.here.name and not self._is_copy(item):
            try:
                return self._start(taken, item, lease)
            except PermissionError:  # then it is taken in like a drop
                pass
            except BlockingIOError:  # an editor saved it between the read and the append
                put_back(self._session, taken.here, taken.candidate.name)
                return Arriving(taken.sig, CHANGED)
        # Not judged before: only under a generated name, or a record that is not to be started as it is.
        drop: Content = judged if isinstance(judged, Drop) else self._judge.judge_content(taken.data, taken.sig)
        if not isinstance(drop, Drop):
            return self._decline(taken.candidate, taken.here, drop)
        return self._adopt(taken, drop.accepted, lease)

    def _adopt(self, taken: Taken, accepted: document.Accepted, lease: str) -> Claimed | Declined:
        start = Start(self._worker, lease, self._starts_first)
        try:
            with contextlib.ExitStack() as held:
                adopted = self._adopter.adopt(taken, accepted, start, held)
                return self._start_named(adopted, lease) if isinstance(adopted, Named) else adopted
        except InvalidJobError as error:
            refused = document.Refused(str(error), error.hint)
            return reject.refuse(self._session, taken.here, taken.candidate.name, refused)

    def _start_named(self, named: Named, lease: str) -> Claimed | Alive | Dead | Later:
        where, item, data = named
        candidate = Candidate(where.name, names.NameParts(item.id, None, item.priority), item.id)
        try:
            return self._start(Taken(candidate, where, data, None, has_one_name=True), item, lease)
        except OSError as error:
            self._undo(where, where.name, lease, error)
            raise

    def _is_copy(self, item: record.Record) -> bool:
        """Whether a record has ended, and another file in done/ or dlq/ still has it: it was copied from there.

        It is a job of its own, so it goes on under an id of its own: no run, log or text of one is the other's.
        """
        last = item.history[-1] if item.history else None
        if last is None or (last.to not in (DONE, DLQ) and last.event != WARNING):
            return False
        return item.standing().ended_to in (DONE, DLQ) and bool(self._spool.holds(item.id, (DONE, DLQ)))

    def _start(self, taken: Taken, item: record.Record, lease: str) -> Claimed | Alive | Dead | Later:
        """Append `started` to a record of ours, unless it must wait."""
        here, data, parts = taken.here, taken.data, taken.candidate.parts
        now_at = self._clock.now()
        standing = item.standing()
        events: list[dict[str, Any]] = []
        last = standing.last
        if last is not None and last.event == STARTED:
            # Dragged out of running/ by hand. Alive: never twice at once (P3). Dead: that run counts.
            if is_alive(self._spool, last.lease):
                return self._still_alive(taken, standing)
            return self._abandon(here, item, data, standing)
        if standing.ended_to in (DONE, DLQ):
            events.append(history.event(REQUEUED, now_at, by="move"))
            standing = standing._replace(failures=0, due_at=None)
        elif not history.is_due(standing.due_at, standing.delay_s, now_at) or item.priority < parts.priority:
            wanted = name_for(item, standing, now_at, parts.arrived)
            new_name = self._spool.move(here, PENDING, wanted)
            return Later(new_name, standing.due_at)
        if standing.starts and outlives(self._spool, item, mine=lease):
            return self._still_alive(taken, standing)
        attempt = standing.starts + 1
        events.append(history.event(STARTED, now_at, attempt=attempt, worker=self._worker, lease=lease))
        folded = folding.fold(data, item) if len(data) > folding.FOLD_BYTES else None
        tail = record.append(len(folded or data), events, empty=not item.history)
        if folded is None:
            disk.append(here.path, tail, sync=self._sync_all, fd=taken.fd)
        else:
            self._replace_folded(here, item.id, len(data), tail.on(folded))
            data = folded
        if len(events) > 1:
            error_text.forget(self._spool, here.name)
        return Claimed(item, tail.on(data), attempt=attempt, failures=standing.failures, lease=lease)

    def _replace_folded(self, here: Located, job_id: str, size: int, data: bytes) -> None:
        """Put a record whose history was folded, with its start, in the place of the one that was read.

        Nobody else writes to the old one: we hold the stripe, and nothing of the last run is left that could.

        Raises:
            BlockingIOError: it has another size by now: an editor saved it.
        """
        with self._spool.temporary(job_id, data, sync=self._sync_accepted) as temporary:
            sig = files.sig_of(here.path)
            if sig is None or sig.size != size:
                raise BlockingIOError(errno.EWOULDBLOCK, "the record was changed by somebody else", here.path)
            disk.replace(temporary, here.path)

    def _still_alive(self, taken: Taken, standing: history.Standing) -> Alive:
        """Put a job back whose last run has left something that holds its lease: two runs never overlap (P3)."""
        put_back(self._session, taken.here, taken.candidate.name)
        last, start = standing.last, standing.last_start
        left = ", ".join(map(str, last.left)) if last is not None and last.left else ""
        what = f"a process that its last run left ({left})" if left else "something of its last run"
        return Alive(f"{what} still holds the lease {start.lease if start is not None else ''}")

    def _abandon(self, here: Located, item: record.Record, data: bytes, standing: history.Standing) -> Dead | Later:
        claimed = Claimed(item, data, attempt=standing.starts, failures=standing.failures, lease="")
        settled = self._settlements.settle(
            claimed, Outcome(ABANDONED, reason="its worker died, or its file was moved while it ran")
        )
        return Dead(settled.name) if settled.to == DLQ else Later(settled.name, settled.due_at)

    def _undo(self, here: Located, name: str, lease: str, error: OSError) -> None:
        """Put a file back after the machine's trouble, uncounted, even if `started` got on record (P9)."""
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
            claimed = Claimed(
                stored.record,
                stored.data,
                attempt=standing.starts,
                failures=standing.failures,
                lease=lease,
                name=here.name,
            )
            self._settlements.settle(claimed, Outcome(RELEASED, reason=error.strerror or "trouble"))
