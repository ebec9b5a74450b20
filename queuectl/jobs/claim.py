"""Claim, start, settle: the heart of queuectl, where every order matters (promises P2, P3, P4, P7).

A claim, under the stripe of the id (one of 64 permanent lock files; a process that is stopped in here blocks one
64th of the ids, never everyone):

    1. try-lock the stripe               busy: leave this one, take the next
    2. move pending/NAME running/ID.json  gone: somebody else won; taken: that id runs already
    3. read it; what is no record of ours is taken in: a fresh copy in tmp/, synced, renamed over it
    4. append `started`, naming the lease that this worker holds
    5. unlock the stripe; run exactly what was read

A drop that may run at once waits for no disk: its copy is made in tmp/ with `started`, the command is started, and then
the copy is synced, takes its place, and the stripe is unlocked (`secure`). Whoever finds the drop in running/ after a
kill in between finds the copy, and by the lease that it names whether the command lives.

The stripe and not the rename decides, because on Windows and SMB two claimers can both "win" a rename. A crash
between 2 and 4 leaves a file in running/ without `started`: `rescue` puts it back. After 4 the lease tells whether
the run is alive. What follows a run is in `settle`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any, NamedTuple

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.jobs import batch, error_text, foresight, lines, reject, repair
from queuectl.jobs.settle import Settlements
from queuectl.jobs.split import Splitter
from queuectl.jobs.verdict import (
    Alive,
    Arriving,
    Busy,
    Claimed,
    Dead,
    Declined,
    Foreign,
    Gone,
    Held,
    Later,
    Many,
    Open,
    Rejected,
    Repaired,
    Split,
    SplitStuck,
    Splitting,
    Stuck,
    Unreadable,
)
from queuectl.model import document, history, job, names, record, times
from queuectl.model.lifecycle import (
    ABANDONED,
    DLQ,
    DONE,
    ENQUEUED,
    PENDING,
    RELEASED,
    REQUEUED,
    RUNNING,
    STARTED,
    WARNING,
    Outcome,
)
from queuectl.spool import trust
from queuectl.spool.blame import Blame
from queuectl.spool.layout import Located, name_for, record_name
from queuectl.spool.lease import is_alive, outlives
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files, sharing

# A whole drop is left to the program that still has it open for writing until it has been quiet for this long: the last
# step of a copy (the file's time) comes after its last byte. Judged by the file's change time, so no worker has to
# remember anything, and one that is held open for good runs all the same.
WRITER_S = 1.0
# Instead of a lease: a job is taken in and not started. No lease has this name.
_NO_LEASE = "-"


class _Looked(NamedTuple):
    """A job as it stood in pending/: its bytes, and what they were judged to be (None: a record of ours)."""

    data: bytes
    taken: document.Accepted | None


class Claims:
    """Claims jobs of one spool for one worker."""

    def __init__(self, session: Session, stripes: Stripes, *, worker: str) -> None:
        self._session = session
        spool, settings = session.spool, session.settings
        self._spool, self._settings, self._clock, self._rng = session
        self._stripes = stripes
        self._sync_accepted, self._sync_all = session.syncs_accepted, session.syncs_all
        self._settlements = Settlements(session, stripes)
        self.blame = Blame(spool, clock=session.clock)
        self._worker = worker
        self._start_first = settings.durability == "queue" and os.name != "nt"
        self._owners = trust.owners(spool, settings)
        self._roster = Roster(spool, clock=session.clock)
        self._splitter = Splitter(session, self._roster)

    # ---------------------------------------------------------------------------------------------------- claim

    def claim(self, name: str, lease: str) -> Claimed | Declined:
        """Try to make the file pending/`name` this worker's job.

        Raises:
            OSError: trouble of the machine (full disk ...) or of this file, see `stuck`; the file is back in pending/,
                or in running/ without `started`, from where rescue puts it back.
        """
        parts: names.NameParts | None
        # Published whole, so it needs no look before the claim.
        is_whole = names.is_generated(name[:-5]) and name.endswith(".json")
        if is_whole:  # most names, and nothing else is in them
            parts = names.NameParts(name[:-5], None, 0)
        elif names.is_held(name):
            return Held()
        elif (parts := names.parse(name)) is not None:
            is_whole = names.is_generated(parts.stem)
        elif names.is_batch(name):
            parts = names.NameParts(name[: -len(".jsonl")], None, 0)
        else:
            return Foreign(None, "not the name of a job")
        job_id = parts.stem if is_whole else names.clean_id(parts.stem)
        stripe = self._stripes.of(job_id)
        if not stripe.try_acquire():
            return Busy()
        made: Claimed | Declined | None = None
        try:
            looked: _Looked | None = None
            if not is_whole:
                verdict = self._look(name, job_id)
                if not isinstance(verdict, _Looked):
                    return verdict
                looked = verdict
                if self._has_writer(name):
                    return Open()
            source = self._spool.path(PENDING, name)
            own_name = record_name(job_id)
            target = Located(RUNNING, own_name, self._spool.path(RUNNING, own_name))
            try:
                disk.move(source, target.path, patience_s=sharing.GLANCE_S)
            except FileNotFoundError:
                return Gone()
            except FileExistsError:
                return Busy()
            except PermissionError as error:
                if not sharing.is_held(error):
                    raise
                return self._unreadable(name, source, error)
            try:
                made = self._claimed(target, name, parts, looked, lease)
                return made
            except OSError as error:
                self._undo(target, name, lease, error)
                raise
        finally:
            if not (isinstance(made, Claimed) and made.copy):
                stripe.release()

    def judge(self, name: str) -> Declined | None:
        """Judge a drop in pending/ before its turn and give it its full name: one rename, under the stripe of its id.

        A drop that is to wait is taken in, because its wait begins now. Returns `Later` with the new name; what
        `claim` returns of a file that cannot be claimed, but `Many` of one that it would split; or None if the file
        keeps its name.

        Raises:
            OSError: as `claim`.
        """
        parts = names.parse(name)
        if parts is None or names.is_held(name):
            return None
        job_id = names.clean_id(parts.stem)
        stripe = self._stripes.of(job_id)
        if not stripe.try_acquire():
            return Busy()
        try:
            looked = self._look(name, job_id, splits=False)
            if not isinstance(looked, _Looked):
                return looked
            if self._has_writer(name):
                return Open()
            taken = looked.taken
            if taken is not None and taken.due_at is not None and not taken.history:
                return self._take_in_to_wait(name, job_id, parts, looked)
            return self._give_full_name(name, parts, looked)
        finally:
            stripe.release()

    def _give_full_name(self, name: str, parts: names.NameParts, looked: _Looked) -> Declined | None:
        """Rename a drop in pending/ by what was read of it. The name is a hint: what changes now, the claim sees."""
        path = self._spool.path(PENDING, name)
        try:
            wanted = foresight.full_name(
                parts, looked.taken, looked.data, changed_at=files.last_change(path)[1], now_at=self._clock.now()
            )
            if wanted in ("", name):
                return None
            disk.move(path, self._spool.path(PENDING, wanted), patience_s=sharing.GLANCE_S)
        except FileNotFoundError:
            return Gone()
        except FileExistsError:
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # names are shorter there
                return None
            if isinstance(error, PermissionError) and sharing.is_held(error):
                return Busy()
            raise
        return Later(wanted)

    def _take_in_to_wait(self, name: str, job_id: str, parts: names.NameParts, looked: _Looked) -> Declined:
        """Make a record of a drop that is to wait, as a claim does, and put it back to wait."""
        own_name = record_name(job_id)
        here = Located(RUNNING, own_name, self._spool.path(RUNNING, own_name))
        try:
            disk.move(self._spool.path(PENDING, name), here.path, patience_s=sharing.GLANCE_S)
        except FileNotFoundError:
            return Gone()
        except FileExistsError:
            return Busy()
        except PermissionError as error:
            if not sharing.is_held(error):
                raise
            return Busy()
        try:
            made = self._claimed(here, name, parts, looked, _NO_LEASE)
        except OSError as error:
            self._undo(here, name, _NO_LEASE, error)
            raise
        assert not isinstance(made, Claimed), "nothing is started without a lease"
        return made

    def stuck(self, name: str, error: OSError) -> Declined | None:
        """Return what keeps this one file from being claimed, after `claim` or `split` raised; None: the machine."""
        fault = self.blame.fault(error, self._spool.path(PENDING, name))
        if fault is None:
            return None
        return Stuck(self._sig(self._spool.path(PENDING, name)), fault.path, fault.text, fault.cure)

    def _look(self, name: str, job_id: str, *, splits: bool = True) -> Declined | _Looked:
        """Judge a file where it lies, before touching it; what it is where it is a job as it stands."""
        path = self._spool.path(PENDING, name)
        verdict = None
        is_batch = names.is_batch(name)
        try:
            if is_batch:
                content, verdict = lines.look(path, document.BATCH_MAX_BYTES, patience_s=sharing.GLANCE_S)
            else:
                content = self._spool.read_document(path, patience_s=sharing.GLANCE_S)
        except FileNotFoundError:
            return Gone()
        except files.NotRegularError:
            return Foreign(self._sig(path), "it is no regular file")
        except OSError as error:
            return self._unreadable(name, path, error)
        if self._owners is not None and content.owner not in self._owners:
            return self._reject(Located(PENDING, name, path), name, *trust.foreign_owner(content.owner))
        if content.oversize:
            return self._too_large(name, content, document.BATCH_MAX_BYTES if is_batch else job.JOB_MAX_BYTES)
        if is_batch:
            # Every line is whole JSON at some moment of a slow copy, so lines prove nothing: whoever watches the file
            # hands it to `split` once it has been quiet.
            why, hint = (verdict.why, verdict.hint) if verdict is not None else ("", "")
            return Arriving(content.sig, why, hint)
        if record.exact(content.data) is not None:
            return _Looked(content.data, None)
        if len(content.data) > job.JOB_MAX_BYTES:
            return self._too_large(name, content, job.JOB_MAX_BYTES)
        parsed = document.parse(content.data, lines=False)
        if isinstance(parsed, document.Incomplete):
            return Arriving(content.sig, parsed.why, parsed.hint)
        if isinstance(parsed, document.Refused):
            return self._reject(Located(PENDING, name, path), name, parsed.why, parsed.hint)
        if isinstance(parsed, document.Many):
            if self._has_writer(name):
                return Open()
            return self._split(name, job_id) if splits else Many()
        try:
            taken = document.accept(parsed.document, defaults=self._settings.retry_defaults, now_at=self._clock.now())
        except InvalidJobError as error:
            return self._reject(Located(PENDING, name, path), name, str(error), error.hint)
        return _Looked(content.data, taken)

    def _has_writer(self, name: str) -> bool:
        """True where a program has the file open for writing and changed it less than `WRITER_S` ago."""
        written_at = files.written_at(self._spool.path(PENDING, name))
        return written_at is not None and 0 <= self._clock.now() - written_at < WRITER_S

    @staticmethod
    def _too_large(name: str, content: files.Content, limit: int) -> Declined:
        text = f"it is larger than {limit} bytes"
        return Arriving(content.sig, text, "put the data into a file and name it")

    def _unreadable(self, name: str, path: str, error: OSError) -> Declined:
        """A writer that shares nothing, a mode nobody may read: "later", never "bad"."""
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM) or (
            sharing.may_be_of_one_file(error) and self.blame.fault(error, path) is None
        ):
            raise error
        return Unreadable(self._sig(path), f"it cannot be read: {error.strerror}")

    @staticmethod
    def _sig(path: str) -> files.FileSig | None:
        """The signature of a file that is in trouble; None where it is gone, or cannot even be looked at."""
        try:
            return files.sig_of(path)
        except OSError:
            return None

    def _claimed(
        self, here: Located, name: str, parts: names.NameParts, looked: _Looked | None, lease: str
    ) -> Claimed | Declined:
        """The file is in running/ and ours alone: read it, take it in if it is no record, start it or put it back.

        `looked` is what it was when it was judged in pending/: a file that is overwritten in place can be half old and
        half new and still parse, so its bytes count only when they are read twice the same.
        """
        try:
            fd, content = self._spool.open_document(here.path)
        except files.NotRegularError:
            sig = self._sig(here.path)
            self._put_back(here, name)
            return Foreign(sig, "it is no regular file")
        except FileNotFoundError:
            return Gone()
        except OSError as error:
            declined = self._unreadable(name, here.path, error)
            self._put_back(here, name)
            return declined
        try:
            return self._opened(here, name, parts, looked, lease, content, fd)
        finally:
            if fd >= 0:
                os.close(fd)

    def _opened(
        self,
        here: Located,
        name: str,
        parts: names.NameParts,
        looked: _Looked | None,
        lease: str,
        content: files.Content,
        fd: int,
    ) -> Claimed | Declined:
        if self._owners is not None and content.owner not in self._owners:
            return self._reject(here, name, *trust.foreign_owner(content.owner))
        if content.oversize:
            self._put_back(here, name)
            return self._too_large(name, content, job.JOB_MAX_BYTES)
        if looked is not None and content.data != looked.data:
            self._put_back(here, name)
            return Arriving(content.sig, "it changed while it was read")
        item = record.exact(content.data) if content.links == 1 else None
        if item is not None and record_name(item.id) == here.name and not self._is_copy(item):
            try:
                return self._start(here, name, parts, item, content.data, lease, fd)
            except PermissionError:  # then it is taken in like a drop
                pass
            except BlockingIOError:  # an editor saved it between the read and the append
                self._put_back(here, name)
                return Arriving(content.sig, "it changed while it was read")
        return self._take_in(here, name, parts, content, looked.taken if looked else None, lease)

    def _is_copy(self, item: record.Record) -> bool:
        """True for a record that has ended, and that another file still has in done/ or dlq/: it was copied from there.

        It is a job of its own, so it goes on under an id of its own: no run, log or text of one is the other's.
        """
        last = item.history[-1] if item.history else None
        if last is None or (last.to not in (DONE, DLQ) and last.event != WARNING):
            return False
        return item.standing().ended_to in (DONE, DLQ) and bool(self._spool.holds(item.id, (DONE, DLQ)))

    def _start(
        self,
        here: Located,
        name: str,
        parts: names.NameParts,
        item: record.Record,
        data: bytes,
        lease: str,
        fd: int = -1,
    ) -> Claimed | Declined:
        """Append `started` to a record of ours, unless it must wait."""
        now_at = self._clock.now()
        standing = item.standing()
        events: list[dict[str, Any]] = []
        last = standing.last
        if last is not None and last.event == STARTED:
            # Dragged out of running/ by hand. Alive: never twice at once (P3). Dead: that run counts.
            if is_alive(self._spool, last.lease):
                return self._still_alive(here, name, standing)
            return self._abandon(here, item, data, standing)
        if standing.ended_to in (DONE, DLQ):
            events.append(history.event(REQUEUED, now_at, by="move"))
            standing = standing._replace(failures=0, due_at=None)
        elif not history.is_due(standing.due_at, standing.delay_s, now_at) or item.priority < parts.priority:
            wanted = name_for(item, standing, now_at, parts.arrived)
            new_name = self._spool.move(here, PENDING, wanted)
            return Later(new_name, standing.due_at)
        if standing.starts and outlives(self._spool, item, mine=lease):
            return self._still_alive(here, name, standing)
        attempt = standing.starts + 1
        events.append(history.event(STARTED, now_at, attempt=attempt, worker=self._worker, lease=lease))
        folded = record.fold(data, item) if len(data) > record.FOLD_BYTES else None
        offset, text = record.append(len(folded or data), events, empty=not item.history)
        if folded is None:
            disk.append(here.path, len(data), offset, text, sync=self._sync_all, fd=fd)
        else:
            self._replace_folded(here, item.id, len(data), folded[:offset] + text)
            data = folded
        if len(events) > 1:
            error_text.forget(self._spool, here.name)
        return Claimed(item, data[:offset] + text, attempt=attempt, failures=standing.failures, lease=lease)

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

    def _still_alive(self, here: Located, name: str, standing: history.Standing) -> Declined:
        """Put a job back whose last run has left something that holds its lease: two runs never overlap (P3)."""
        self._put_back(here, name)
        last, start = standing.last, standing.last_start
        left = ", ".join(map(str, last.left)) if last is not None and last.left else ""
        what = f"a process that its last run left ({left})" if left else "something of its last run"
        return Alive(f"{what} still holds the lease {start.lease if start is not None else ''}")

    def _abandon(self, here: Located, item: record.Record, data: bytes, standing: history.Standing) -> Declined:
        claimed = Claimed(item, data, attempt=standing.starts, failures=standing.failures, lease="")
        settled = self._settlements.settle(
            claimed, Outcome(ABANDONED, reason="its worker died, or its file was moved while it ran")
        )
        return Dead(settled.name) if settled.to == DLQ else Later(settled.name, settled.due_at)

    # --------------------------------------------------------------------------------------------------- intake

    def _take_in(
        self,
        here: Located,
        name: str,
        parts: names.NameParts,
        content: files.Content,
        taken: document.Accepted | None,
        lease: str,
    ) -> Claimed | Declined:
        """Make a record of a dropped or edited file; `taken` is what it was judged to be before it was moved."""
        if taken is None:
            judged = self._judge(here, name, parts, content)
            if not isinstance(judged, document.Accepted):
                return judged
            taken = judged
        job_id = here.name.removesuffix(".json")
        now_at = self._clock.now()
        try:
            dropped = names.as_dropped(name)
            dropped_as = "" if dropped == f"{taken.spec.get('id') or job_id}.json" else names.as_text(dropped)
            events = document.first_events(taken, by="drop", now_at=now_at, file=dropped_as)
            wanted = taken.spec.get("id")
            with contextlib.ExitStack() as held:
                final_id = self._final_id(here, wanted, job_id, held, keep=bool(taken.history))
                if final_id is None:
                    self._put_back(here, name)
                    return Busy()
                if wanted not in (None, final_id):
                    text = f"the id {wanted!r} is in use, so this job goes on as {final_id!r}"
                    events.append(history.event(WARNING, now_at, text=text))
                return self._adopt(here, parts.priority, {**taken.spec, "id": final_id}, events, lease)
        except InvalidJobError as error:
            return self._reject(here, name, str(error), error.hint)

    def _judge(
        self, here: Located, name: str, parts: names.NameParts, content: files.Content
    ) -> Declined | document.Accepted:
        """What a file in running/ is that nobody looked at before, or that is no record of ours any more."""
        if len(content.data) > job.JOB_MAX_BYTES and record.exact(content.data) is None:
            self._put_back(here, name)
            return self._too_large(name, content, job.JOB_MAX_BYTES)
        parsed = document.parse(content.data, lines=False)
        if isinstance(parsed, document.Refused):
            return self._reject(here, name, parsed.why, parsed.hint)
        if isinstance(parsed, document.Many):
            # Only under a generated name, which nobody looks at before the claim.
            self._put_back(here, name)
            return self._split(name, names.clean_id(parts.stem))
        if isinstance(parsed, document.Incomplete):
            self._put_back(here, name)
            return Arriving(content.sig, parsed.why, parsed.hint)
        try:
            return document.accept(parsed.document, defaults=self._settings.retry_defaults, now_at=self._clock.now())
        except InvalidJobError as error:
            return self._reject(here, name, str(error), error.hint)

    def _final_id(
        self, here: Located, wanted: str | None, job_id: str, held: contextlib.ExitStack, *, keep: bool
    ) -> str | None:
        """The id of a dropped job, with its stripe held; None where that stripe is busy.

        `keep` says that it has a history: such a job was accepted once, so where its id is in use by now (two jobs of
        one id were kept under different names, P7) it goes on under another one.

        Raises:
            InvalidJobError: the file names an id that the spool holds already.
        """

        def taken_by(some_id: str) -> str:
            if some_id == job_id and (state := self._spool.holds(some_id, (DONE, DLQ))):
                return state
            # Our own file is running/`job_id` now. A waiting job may have flags in its name.
            found = self._roster.find(some_id)
            return "" if found is None or found.path == here.path else found.state

        if wanted is not None and (state := taken_by(wanted)) and not keep:
            raise InvalidJobError(
                f"a job with the id {wanted!r} exists already, in {state}/",
                key="id",
                hint="take the id out to have one made, or give another",
            )
        if wanted is None or taken_by(wanted):
            wanted = job_id
            while taken_by(wanted):
                # Dropping report.json every night is normal: the day and time tell them apart.
                stamp = times.to_name(int(self._clock.now())).rstrip("Z")
                wanted = names.with_suffix(job_id, f"{stamp}-{names.new_token(self._rng, 2)}")
        if names.stripe_of(wanted) != names.stripe_of(job_id):
            other = self._stripes.of(wanted)
            if not other.try_acquire():
                return None
            held.callback(other.release)
        return wanted

    def _adopt(
        self, here: Located, priority: int, spec: dict[str, Any], events: list[dict[str, Any]], lease: str
    ) -> Claimed | Declined:
        """Put a fresh copy in the place of the file and start it, or put it back to wait.

        The copy cuts off a handle or a hard link that the producer kept. It is synced before it takes the place of
        the original, or a power cut could leave an empty file where a whole one was: here, or in `secure` after the
        start (not on Windows, where a program that opens the file meanwhile would be in the way).
        """
        now_at = self._clock.now()
        item = record.decode(record.frame(spec, events))
        standing = item.standing()
        waits = (
            lease == _NO_LEASE
            or (standing.last is not None and standing.last.event == STARTED)  # judged as a record, next time
            or (standing.starts and outlives(self._spool, item, mine=lease))  # as well
            or (standing.ended_to not in (DONE, DLQ) and not history.is_due(standing.due_at, standing.delay_s, now_at))
            or item.priority < priority
        )
        final = Located(RUNNING, record_name(item.id), self._spool.path(RUNNING, record_name(item.id)))
        if not waits and final.path == here.path:
            if standing.ended_to in (DONE, DLQ):
                events.append(history.event(REQUEUED, now_at, by="move"))
                standing = standing._replace(failures=0)
            events.append(history.event(STARTED, now_at, attempt=standing.starts + 1, worker=self._worker, lease=lease))
        data = record.frame(spec, events)
        is_new = standing.last is not None and standing.last.event == ENQUEUED  # of others the history says a run
        if not waits and final.path == here.path and is_new and self._start_first:
            copy = self._spool.start_path(item.id, lease)
            disk.create(copy, data, sync=False, mode=self._spool.file_mode)
            return Claimed(item, data, attempt=1, failures=0, lease=lease, copy=copy)
        self._spool.replace_file(here.path, data, hint=spec["id"], sync=self._sync_accepted)
        if waits:
            new_name = self._spool.move(here, PENDING, name_for(item, standing, now_at))
            self._roster.add(new_name)
            return Later(new_name, standing.due_at)
        if final.path == here.path:
            return Claimed(item, data, attempt=standing.starts + 1, failures=standing.failures, lease=lease)
        # Given its own name first and started then: what fails or is refused in between was no run (P9).
        try:
            disk.move(here.path, final.path)
        except FileExistsError:
            self._put_back(here, final.name)
            return Busy()
        try:
            return self._start(final, final.name, names.NameParts(item.id, None, item.priority), item, data, lease)
        except OSError as error:
            self._undo(final, final.name, lease, error)
            raise

    def split(self, name: str) -> Declined:
        """Take in a file of many jobs that has been quiet for long enough."""
        job_id = names.clean_id(name.rpartition(".")[0])
        stripe = self._stripes.of(job_id)
        if not stripe.try_acquire():
            return Busy()
        try:
            return self._split(name, job_id)
        finally:
            stripe.release()

    def _split(self, name: str, job_id: str) -> Declined:
        try:
            taken = self._splitter.take(name, job_id)
        except FileNotFoundError:
            return Gone()
        except PermissionError as error:
            if not sharing.is_held(error):
                raise
            return self._unreadable(name, self._spool.path(PENDING, name), error)
        # The file's own stripe says that a step is being made. It may be the one of the id, which is held.
        if names.stripe_of(batch.token_of(taken)) == names.stripe_of(job_id):
            return self._step(taken)
        return self.go_on(batch.key_of(taken))

    def go_on(self, key: str) -> Declined:
        """Make the next step of splitting a file of many jobs, which `batch.key_of` names.

        Raises:
            OSError: the machine's trouble; the step is to be made again.
        """
        taken = batch.taken_of(key)
        stripe = self._stripes.of(batch.token_of(taken))
        if not stripe.try_acquire():
            return Splitting(key)  # somebody else makes a step
        try:
            return self._step(taken)
        finally:
            stripe.release()

    def _step(self, taken: str) -> Declined:
        key = batch.key_of(taken)
        try:
            step = self._splitter.step(taken)
        except FileNotFoundError:
            return Gone()
        except files.NotRegularError:
            return Foreign(None, "it is no regular file")
        except PermissionError as error:
            if not sharing.is_held(error) and error.filename != os.path.join(self._spool.taken_dir, taken):
                raise
            return SplitStuck(key, f"it cannot be read: {error.strerror}")
        if step.kept:
            return Rejected(step.kept, step.why)
        if not step.note.is_over:
            return Splitting(key, step.note.made, step.names)
        return Split(step.note.file, step.note.made, step.names, batch.refused_text(step.note))

    def reject_quiet(self, name: str, sig: files.FileSig, why: str, hint: str) -> Declined:
        """Reject a file that has not become whole, if it is still the version with the signature `sig`."""
        parts = names.parse(name)
        stripe = self._stripes.of(names.clean_id(parts.stem if parts else name.rpartition(".")[0]))
        if not stripe.try_acquire():
            return Busy()
        path = self._spool.path(PENDING, name)
        try:
            if files.sig_of(path) != sig:
                return Arriving(None, why)
            where = Located(PENDING, name, path)
            if self._mend(where):
                return Repaired()
            return self._reject(where, name, why, hint)
        finally:
            stripe.release()

    def _mend(self, where: Located) -> bool:
        """Repair a record of ours that lost its end (power cut, aborted copy); True where it is whole again."""
        try:
            content = self._spool.read_document(where.path)
        except (FileNotFoundError, files.NotRegularError, PermissionError):
            return False  # any other error is the machine's trouble, and no reason to refuse a file (P9)
        return repair.repair(self._session, where, content.data) is not None

    def _reject(self, source: Located, name: str, why: str, hint: str) -> Declined:
        try:
            kept = reject.reject(self._session, source, name, why, hint)
        except FileNotFoundError:
            return Gone()
        except PermissionError as error:
            if not sharing.is_held(error):
                raise
            return Arriving(files.sig_of(source.path), why, hint)
        return Rejected(kept, why)

    def _undo(self, here: Located, name: str, lease: str, error: OSError) -> None:
        """Put a file back after the machine's trouble, uncounted, also where `started` got on record (P9)."""
        try:
            stored = self._spool.read(RUNNING, here.name)
        except (OSError, DamagedRecordError):
            with contextlib.suppress(OSError):
                self._put_back(here, name)
            return
        standing = stored.record.standing()
        with contextlib.suppress(OSError):
            if standing.last is None or standing.last.lease != lease:
                self._put_back(here, name)
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

    def _put_back(self, here: Located, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._spool.move(here, PENDING, name)
