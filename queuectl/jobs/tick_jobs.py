"""Make the jobs of ticks: several schedules take each step together, so that their jobs share the syncs (P14).

    rename the note to making=TICK; publish NAME-TICK, synced, not replacing; rename the note to last=TICK,next=TICK

If a crash comes between, the next look finds `making` in the note, and looks for the job in all states.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable

from queuectl.errors import DamagedRecordError, DuplicateJobError, InvalidJobError, SpoolUnavailableError
from queuectl.jobs.enqueue import Prepared, Producer
from queuectl.jobs.schedule_upkeep import ScheduleUpkeep
from queuectl.jobs.schedules import Reading
from queuectl.model import schedule, tick_name, timetable
from queuectl.model.lifecycle import DLQ, DONE, PENDING
from queuectl.model.notice import INFO, Notice, Notify
from queuectl.model.tick_name import Note
from queuectl.spool.session import Session

BY = "schedule"
"""Who enqueued the job of a tick, in its history."""


class TickRun:
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


class TickJobs:
    """Makes the jobs of ticks. `notify` is called with messages for people.

    `contained` returns a context manager that keeps the trouble of one schedule from all others.
    """

    def __init__(
        self,
        session: Session,
        upkeep: ScheduleUpkeep,
        *,
        notify: Notify,
        contained: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._spool = session.spool
        self._upkeep = upkeep
        self._notify = notify
        self._contained = contained
        self._producer = Producer(session)

    def make(self, runs: list[TickRun]) -> list[str]:
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

    def _end(self, run: TickRun) -> None:
        """Take the last step of a tick."""
        if run.busy:
            self._skip(run, run.busy)
            run.busy = ""
            return
        run.known.skips = False
        tick_at, following_at = run.ticks[0], run.following_at
        run.ticks.pop(0)
        run.note = self._upkeep.rename(
            run.note, run.note._replace(last_at=tick_at, next_at=following_at, making_at=None)
        )

    def _begin(self, run: TickRun) -> bool:
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
            self._upkeep.tell(run.known)
            run.ticks.clear()
            return False
        if note.making_at is None:
            run.is_asked = note.last_at is not None and tick_at <= note.last_at
            run.note = self._upkeep.rename(note, note._replace(next_at=None, making_at=tick_at))
        return True

    def _publish(self, runs: list[TickRun]) -> list[str]:
        """Publish the jobs that the spool does not hold; return the names of their files."""
        held = self._waiting_ids()
        wanted: list[TickRun] = []
        for run in runs:
            assert run.prepared is not None
            job_id = run.prepared.job_id
            if job_id.lower() in held or self._spool.holds(job_id):
                continue
            if run.is_asked and self.has_twice(job_id):
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

    def _publish_plain(self, runs: list[TickRun]) -> list[str]:
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

    def _publish_unique(self, run: TickRun) -> list[str]:
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

    def has_twice(self, job_id: str) -> bool:
        """Look for a job in all states, by all names, twice, because it may move between two looks."""
        return any(self._spool.find(job_id) is not None for _ in range(2))

    # -------------------------------------------------------------------------------------------------- overlap

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

    def _skip(self, run: TickRun, busy: str) -> None:
        """Pass over a tick because the last job of the schedule has not ended."""
        if not run.known.skips:
            text = f"schedule {run.known.entry.schedule}: no job for {schedule.tick_text(run.ticks[0])}, because {busy}"
            self._notify(Notice(INFO, "overlap", f"{text} has not ended"))
        run.known.skips = True
        note, following_at = run.note, run.following_at
        run.ticks.pop(0)
        new = note._replace(next_at=following_at, making_at=None, skipped=note.skipped + 1)
        run.note = self._upkeep.rename(note, new)
