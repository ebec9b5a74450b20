"""Make the job of each tick of a schedule, once, whatever is killed (promise P14; FORMAT.md, section 4, "A tick").

All of it is under `schedules.lock`. This module says what is due; `schedule_upkeep` keeps the notes, `tick_jobs` makes
the jobs. Whoever finds `making` in a note after a crash looks for the job in all states and goes on from there.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

from queuectl.jobs.schedule_upkeep import ScheduleUpkeep
from queuectl.jobs.schedules import Reading, Schedules
from queuectl.jobs.tick_jobs import TickJobs, TickRun
from queuectl.model import tick_name, timetable
from queuectl.model.notice import INFO, Notice, Notify
from queuectl.spool import schedule_files
from queuectl.spool.session import Session
from queuectl.system.locks import NamedLock

_AT_ONCE = 100
# Jobs with a unique key have syncs of their own, and the loop of the pool waits for them.
_UNIQUE_AT_ONCE = 20
_JOBS_A_LOOK = 200
# A note whose schedule is gone is deleted after this long: some editors save by taking the old file away first.
_ORPHAN_S = 60.0
_SET_BACK_S = 1.0


class Ticker:
    """Makes the jobs of all schedules of one spool. `notify` is called with messages for people."""

    def __init__(self, session: Session, *, notify: Notify) -> None:
        self._session = session
        self._spool = session.spool
        self._clock = session.clock
        self._notify = notify
        self._schedules = Schedules(session)
        self._upkeep = ScheduleUpkeep(session, notify=notify)
        self._jobs = TickJobs(session, self._upkeep, notify=notify, contained=self._contained)
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
            known.is_compared = self._upkeep.agrees(known, note)
        return not known.is_compared

    def _work(self) -> list[str]:
        runs: list[TickRun] = []
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
            made += self._jobs.make(runs)
            runs = [run for run in runs if run.ticks]
        return made

    def _prepare(self, known: Reading) -> TickRun | None:
        """Bring the files of a schedule up to date; return the ticks of which jobs are to be made."""
        entry = known.entry
        if not entry.file:
            self._upkeep.remove(entry)
            return None
        note = self._upkeep.only_note(entry.notes)
        self._schedules.examine_one(known)
        self._upkeep.tell(known)
        if known.schedule is None:
            return None
        table = known.schedule.timetable
        if note is not None and note.making_at is not None:
            is_same = schedule_files.content_of(self._spool, note) == table.text
            if is_same and not entry.is_held:
                following_at = table.after(note.making_at)
                return TickRun(known, note, timetable.Due([note.making_at], 0, following_at), is_asked=True)
            # Held or changed in the middle of a tick: its job counts if it is there.
            job_id = tick_name.job_id(entry.schedule, note.making_at)
            last_at = note.making_at if self._jobs.has_twice(job_id) else note.last_at
            note = self._upkeep.rename(note, note._replace(last_at=last_at, making_at=None))
        if entry.is_held:
            if note is not None and note.next_at is not None:
                self._upkeep.rename(note, note._replace(next_at=None))
            return None
        note = self._upkeep.up_to_date(known, note)
        now_at = self._clock.now()
        if note.next_at is None or note.next_at > now_at:
            return None
        due = timetable.due(
            table, note.next_at, now_at, catch_up=known.schedule.catch_up, lasts_s=known.schedule.expires_after_s
        )
        self._tell_of_missed(known, due)
        if not due.make:
            self._upkeep.rename(note, note._replace(next_at=due.next_at))
            return None
        return TickRun(known, note, due, is_asked=False)

    def _tell_of_missed(self, known: Reading, due: timetable.Due) -> None:
        if not due.missed:
            return
        runs = "1 tick has" if due.missed == 1 else f"{due.missed} ticks have"
        if due.missed >= timetable.CAUGHT_UP_MOST:
            runs = f"{due.missed} or more ticks have"
        text = f"schedule {known.entry.schedule}: {runs} passed without a job"
        self._notify(Notice(INFO, "missed", text))
