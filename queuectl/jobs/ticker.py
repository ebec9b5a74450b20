"""Make the job of each tick of a schedule, once, whatever is killed (promise P14; FORMAT.md, section 4, "A tick").

    rename the note to making=TICK; publish NAME-TICK, synced, not replacing; rename the note to last=TICK,next=TICK

All of it is under `schedules.lock`, and a note is only ever renamed from a name that was listed under the lock. Whoever
finds `making` after a crash looks for the job in all states and goes on from there. Up to `_AT_ONCE` schedules take
each step together, so that their jobs share the syncs.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Callable, Iterator

from queuectl.errors import DamagedRecordError, DuplicateJobError, InvalidJobError, SpoolUnavailableError
from queuectl.jobs.enqueue import Prepared, Producer
from queuectl.jobs.schedules import Reading, Schedules
from queuectl.model import schedule, tick_name, timetable
from queuectl.model.lifecycle import DLQ, DONE, PENDING
from queuectl.model.notice import INFO, WARNING, Notice, Notify
from queuectl.model.tick_name import Note
from queuectl.spool import schedule_files
from queuectl.spool.session import Session
from queuectl.system import disk, sharing
from queuectl.system.locks import NamedLock

BY = "schedule"
"""Who enqueued the job of a tick, in its history."""
_AT_ONCE = 100
# Jobs with a unique key have syncs of their own, and the loop of the pool waits for them.
_UNIQUE_AT_ONCE = 20
_JOBS_A_LOOK = 200
# A note whose schedule is gone is deleted after this long: some editors save by taking the old file away first.
_ORPHAN_S = 60.0
_SET_BACK_S = 1.0


class _Run:
    """The ticks of one schedule that are to be made now."""

    def __init__(self, known: Reading, note: Note, due: timetable.Due, *, is_asked: bool) -> None:
        self.known = known
        self.note = note
        self.ticks = list(due.make)
        self.next_at = due.next_at
        self.is_asked = is_asked
        self.prepared: Prepared | None = None
        self.is_cut = False
        """Whether its job could not be published now: the next look goes on with it."""
        self.busy = ""
        """The job that holds the unique key of the schedule."""

    @property
    def is_unique(self) -> bool:
        """Whether the jobs of the schedule have a unique key."""
        return self.known.schedule is not None and self.known.schedule.overlap != schedule.ALLOW

    @property
    def is_plain(self) -> bool:
        """Whether the job has no unique key."""
        return self.prepared is None or self.prepared.draft is None

    @property
    def following_at(self) -> float | None:
        """The tick after the first of `ticks`."""
        return self.ticks[1] if len(self.ticks) > 1 else self.next_at


class Ticker:
    """Makes the jobs of all schedules of one spool. `notify` is called with messages for people."""

    def __init__(self, session: Session, *, notify: Notify) -> None:
        self._session = session
        self._spool = session.spool
        self._clock = session.clock
        self._notify = notify
        self._schedules = Schedules(session)
        self._producer = Producer(session)
        self._lock = NamedLock(session.spool.schedules_lock_path)
        self._offset_s = self._clock.now() - self._clock.monotonic()
        self.next_at = math.inf
        """When the next tick is due, as far as is known."""
        self._trouble: OSError | None = None
        self._is_settled = False
        """Whether the last look has found nothing to do, so nothing is to be done before `next_at` or a change."""
        self.is_behind = False
        """True if the last look has left work, or somebody else had the lock."""

    @property
    def trouble(self) -> str:
        """What kept the last look from some of its work, in words, or ""."""
        error = self._trouble
        return "" if error is None else f"{error.strerror or error}: {error.filename or self._spool.schedules_dir}"

    def close(self) -> None:
        """Close the lock file, also in a forked process."""
        self._lock.close()

    def look(self, listed: list[str], *, list_again: Callable[[], list[str]]) -> list[str]:
        """Do what is due, given a listing of schedules/; return the names of new files in pending/.

        The trouble of single schedules is in `trouble`; the next look goes on where this one stopped.

        Raises:
            OSError: schedules/ cannot be looked at, or the lock cannot be taken.
        """
        self.is_behind, self._trouble = False, None
        has_moved = self._notice_clock()
        is_new = self._schedules.update(listed)
        if self._schedules.examine() or is_new or has_moved:
            self._is_settled = False
        if self._is_settled and self._clock.now() < self.next_at:
            return []
        made: list[str] = []
        self._is_settled = not any(self._needs(known) for known in self._schedules.readings.values())
        if not self._is_settled:
            if self._lock.try_acquire():
                try:
                    self._schedules.update(list_again())
                    made = self._work()
                finally:
                    self._lock.release()
                self._schedules.update(list_again())
            else:
                self.is_behind = True
        self.next_at = min(
            (
                note.next_at
                for known in self._schedules.readings.values()
                if known.schedule is not None
                and not known.entry.is_held
                and (note := schedule_files.best(known.entry.notes)) is not None
                and note.next_at is not None
            ),
            default=math.inf,
        )
        if self._trouble is not None:
            self.is_behind = False
        elif self.next_at <= self._clock.now():
            self.is_behind = True
        return made

    @contextlib.contextmanager
    def _contained(self) -> Iterator[None]:
        """Keep the trouble of one schedule from all others; `look` raises it in the end."""
        try:
            yield
        except FileNotFoundError:
            pass  # somebody moved a note: the next look sees what is there
        except OSError as error:
            self._trouble = self._trouble or error

    def _notice_clock(self) -> bool:
        """Compare all `next` with their expressions again if the clock was set back; return whether it was."""
        offset_s = self._clock.now() - self._clock.monotonic()
        moved_s, self._offset_s = offset_s - self._offset_s, offset_s
        if moved_s > -_SET_BACK_S:
            return False
        for known in self._schedules.readings.values():
            known.is_compared = False
        return True

    # ------------------------------------------------------------------------------------------------- what is due

    def _needs(self, known: Reading) -> bool:
        """Return whether something about a schedule must be changed."""
        entry = known.entry
        if not entry.file:
            return self._clock.monotonic() - known.gone_since_s >= _ORPHAN_S
        if len(entry.notes) > 1:
            return True
        if not known.is_told and not known.arrives:
            if known.why or schedule_files.has_reason(self._spool, entry.schedule):
                return True
            known.is_told = True
        if known.schedule is None:
            return False
        note = schedule_files.best(entry.notes)
        if entry.is_held:
            return note is not None and (note.next_at is not None or note.making_at is not None)
        if note is None or note.next_at is None or note.next_at <= self._clock.now():
            return True
        if not known.is_compared:
            known.is_compared = self._agrees(known, note)
        return not known.is_compared

    def _agrees(self, known: Reading, note: Note) -> bool:
        """Return whether `next` was made from the expression, and not by a clock that was ahead."""
        assert known.schedule is not None
        table = known.schedule.timetable
        if schedule_files.content_of(self._spool, note) != table.text:
            return False
        if note.next_at is None or note.next_at <= (now_at := self._clock.now()):
            return True
        return note.next_at <= (table.after(now_at) or math.inf)

    def _work(self) -> list[str]:
        runs: list[_Run] = []
        for known in list(self._schedules.readings.values()):
            if len(runs) >= _AT_ONCE or sum(run.is_unique for run in runs) >= _UNIQUE_AT_ONCE:
                self.is_behind = True
                break
            if not self._needs(known):
                continue
            with self._contained():
                if (run := self._prepare(known)) is not None:
                    runs.append(run)
        made: list[str] = []
        while runs:
            if len(made) >= _JOBS_A_LOOK:
                self.is_behind = True
                break
            made += self._make(runs)
            runs = [run for run in runs if run.ticks]
        return made

    def _prepare(self, known: Reading) -> _Run | None:
        """Bring the files of a schedule up to date; return the ticks of which jobs are to be made."""
        entry = known.entry
        note = self._only_note(entry.notes)
        if not entry.file:
            if note is not None:
                disk.unlink(self._spool.schedule_path(note.name))
            schedule_files.delete_reason(self._spool, entry.schedule)
            return None
        self._schedules.examine_one(known)
        self._tell(known)
        if known.schedule is None:
            return None
        table = known.schedule.timetable
        if note is not None and note.making_at is not None:
            is_same = schedule_files.content_of(self._spool, note) == table.text
            if is_same and not entry.is_held:
                following_at = table.after(note.making_at)
                return _Run(known, note, timetable.Due([note.making_at], 0, following_at), is_asked=True)
            # Held or changed in the middle of a tick: its job counts if it is there.
            job_id = tick_name.job_id(entry.schedule, note.making_at)
            last_at = note.making_at if self._has_twice(job_id) else note.last_at
            note = self._rename(note, note._replace(last_at=last_at, making_at=None))
        if entry.is_held:
            if note is not None and note.next_at is not None:
                self._rename(note, note._replace(next_at=None))
            return None
        note = self._up_to_date(known, note)
        now_at = self._clock.now()
        if note.next_at is None or note.next_at > now_at:
            return None
        due = timetable.due(
            table, note.next_at, now_at, catch_up=known.schedule.catch_up, lasts_s=known.schedule.expires_after_s
        )
        self._tell_of_missed(known, due)
        if not due.make:
            self._rename(note, note._replace(next_at=due.next_at))
            return None
        return _Run(known, note, due, is_asked=False)

    def _only_note(self, notes: tuple[Note, ...]) -> Note | None:
        """Return the note that counts, and delete all others of this schedule."""
        kept = schedule_files.best(notes)
        for note in notes:
            if note != kept:
                disk.unlink(self._spool.schedule_path(note.name))
        return kept

    def _up_to_date(self, known: Reading, note: Note | None) -> Note:
        """Return the note with a `next` by the expression; make or change it if necessary."""
        assert known.schedule is not None
        spool, table = self._spool, known.schedule.timetable
        next_at = table.after(self._clock.now())
        content = f"{table.text}\n".encode()
        sync = self._session.syncs_accepted
        known.is_compared = True
        if note is None:
            made = Note(known.entry.schedule, next_at=next_at)
            with contextlib.suppress(FileExistsError):
                spool.publish_file(spool.schedule_path(made.name), content, hint="tick", sync=sync, mode=disk.FILE_MODE)
            if sync:
                disk.sync_folder(spool.schedules_dir)
            return made
        if schedule_files.content_of(spool, note) != table.text:
            note = self._rename(note, note._replace(next_at=None))
            spool.replace_file(spool.schedule_path(note.name), content, hint="tick", sync=sync, mode=disk.FILE_MODE)
        elif note.next_at is not None and note.next_at <= (next_at or math.inf):
            return note
        return self._rename(note, note._replace(next_at=next_at))

    def _rename(self, note: Note, new: Note) -> Note:
        """Rename a note; a program that has it open must not delay the pool. Raises FileNotFoundError, OSError."""
        if new.name != note.name:
            old_path, path = self._spool.schedule_path(note.name), self._spool.schedule_path(new.name)
            disk.replace(old_path, path, patience_s=sharing.GLANCE_S)
        return new

    # ------------------------------------------------------------------------------------------------- making jobs

    def _make(self, runs: list[_Run]) -> list[str]:
        """Make the job of the first tick of each run; return the names of the files in pending/."""
        begun = []
        for run in runs:
            with self._contained():
                if self._begin(run):
                    begun.append(run)
                continue
            run.ticks.clear()
        if not begun:
            return []
        made = self._publish(begun)
        for run in begun:
            with self._contained():
                if not run.is_cut:
                    self._end(run)
                    continue
            run.ticks.clear()
        return made

    def _end(self, run: _Run) -> None:
        """Take the last step of a tick."""
        if run.busy:
            self._skip(run, run.busy)
            run.busy = ""
            return
        run.known.skips = False
        tick_at, following_at = run.ticks[0], run.following_at
        run.ticks.pop(0)
        run.note = self._rename(run.note, run.note._replace(last_at=tick_at, next_at=following_at, making_at=None))

    def _begin(self, run: _Run) -> bool:
        """Take the first step of a tick; return False if it makes no job."""
        found, tick_at, note = run.known.schedule, run.ticks[0], run.note
        assert found is not None
        if note.making_at is None and (busy := self._busy_with(found, note)):
            self._skip(run, busy)
            return False
        try:
            self._producer.has_unique = False
            run.prepared = self._producer.prepare(
                found.document_of(tick_at), by=BY, schedule=found.name, tick=schedule.tick_text(tick_at)
            )
        except InvalidJobError as error:  # the settings of this pool differ from those that it was checked with
            run.known.why, run.known.hint, run.known.is_told = str(error), error.hint, False
            run.known.schedule = None
            self._tell(run.known)
            run.ticks.clear()
            return False
        if note.making_at is None:
            run.is_asked = note.last_at is not None and tick_at <= note.last_at
            run.note = self._rename(note, note._replace(next_at=None, making_at=tick_at))
        return True

    def _publish(self, runs: list[_Run]) -> list[str]:
        """Publish the jobs that the spool does not hold; return the names of their files."""
        held = self._waiting_ids()
        wanted: list[_Run] = []
        for run in runs:
            assert run.prepared is not None
            job_id = run.prepared.job_id
            if job_id.lower() in held or self._spool.holds(job_id):
                continue
            if run.is_asked and self._has_twice(job_id):
                continue
            wanted.append(run)
        plain = [run for run in wanted if run.is_plain]
        for run in wanted:
            run.is_cut = True
        made: list[str] = []
        with self._contained():
            made += self._publish_plain(plain)
            for run in plain:
                run.is_cut = False
        for run in wanted:
            if not run.is_plain:
                with self._contained():
                    made += self._publish_unique(run)
                    run.is_cut = False
        return made

    def _publish_plain(self, runs: list[_Run]) -> list[str]:
        """Publish jobs without a unique key, which share their syncs."""
        items = [run.prepared for run in runs if run.prepared is not None]
        if not items:
            return []
        try:
            self._producer.publish(items)
        except DuplicateJobError:  # somebody enqueued that very id at this moment
            for item in items:
                with contextlib.suppress(DuplicateJobError):
                    self._producer.publish([item])
        return [item.name for item in items]

    def _publish_unique(self, run: _Run) -> list[str]:
        """Publish a job with the unique key of its schedule, unless another job holds the key."""
        from queuectl.jobs import unique_enqueue

        assert run.prepared is not None
        try:
            [made] = unique_enqueue.publish(self._producer, [run.prepared])
        except DuplicateJobError:
            return []
        except SpoolUnavailableError as error:  # a stopped process holds the key's lock; the next look goes on
            raise OSError(errno.EBUSY, str(error), error.path) from error
        if not made.name and made.job_id != run.prepared.job_id:
            run.busy = made.job_id
        return [made.name] if made.name else []

    def _waiting_ids(self) -> set[str]:
        """Return the ids of waiting jobs with ids of their own, in lower case."""
        _, others = self._spool.waiting()
        return {name.partition(",")[0].removesuffix(".json").lower() for name in others}

    def _has_twice(self, job_id: str) -> bool:
        """Look for a job in all states, by all names, twice, because it may move between two looks."""
        return any(self._spool.find(job_id) is not None for _ in range(2))

    # ----------------------------------------------------------------------------------------------------- overlap

    def _busy_with(self, found: schedule.Schedule, note: Note) -> str:
        """Return the id of the last job of a schedule if a tick makes no other one meanwhile, else "".

        The unique key of the jobs says the same with more certainty (P15), but it would cost a begun tick each time.
        """
        if found.overlap == schedule.ALLOW or note.last_at is None:
            return ""
        job_id = tick_name.job_id(found.name, note.last_at)
        located = self._spool.find(job_id)
        if located is None or located.state in (DONE, DLQ):
            return ""
        if found.overlap == schedule.WAIT and (located.state != PENDING or self._has_started(located.name)):
            return ""  # it runs, so another one may wait for its end
        return job_id

    def _has_started(self, name: str) -> bool:
        with contextlib.suppress(OSError, DamagedRecordError):
            return self._spool.read(PENDING, name).record.standing().starts > 0
        return True

    def _skip(self, run: _Run, busy: str) -> None:
        """Pass over a tick because the last job of the schedule has not ended."""
        if not run.known.skips:
            text = f"schedule {run.known.entry.schedule}: no job for {schedule.tick_text(run.ticks[0])}, because {busy}"
            self._notify(Notice(INFO, "overlap", f"{text} has not ended"))
        run.known.skips = True
        note, following_at = run.note, run.following_at
        run.ticks.pop(0)
        new = note._replace(next_at=following_at, making_at=None, skipped=note.skipped + 1)
        run.note = self._rename(note, new)

    # ------------------------------------------------------------------------------------------------------- words

    def _tell(self, known: Reading) -> None:
        """Bring `NAME.reason.txt` up to date."""
        if known.is_told or known.arrives:
            return
        if not known.why:
            schedule_files.delete_reason(self._spool, known.entry.schedule)
        else:
            with contextlib.suppress(IsADirectoryError):
                schedule_files.write_reason(self._spool, known.entry, known.why, known.hint)
            text = f"schedules/{known.entry.file} makes no jobs: {known.why}"
            self._notify(Notice(WARNING, "schedule", text))
        known.is_told = True

    def _tell_of_missed(self, known: Reading, due: timetable.Due) -> None:
        if not due.missed:
            return
        runs = "1 tick has" if due.missed == 1 else f"{due.missed} ticks have"
        if due.missed >= timetable.CAUGHT_UP_MOST:
            runs = f"{due.missed} or more ticks have"
        text = f"schedule {known.entry.schedule}: {runs} passed without a job"
        self._notify(Notice(INFO, "missed", text))
