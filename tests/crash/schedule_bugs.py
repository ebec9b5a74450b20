"""The planted bugs of schedules: ticks, notes, clocks, and who may make jobs (P10, P14)."""

from __future__ import annotations

from tests.crash.bugs import Bug

TICKER, SCHEDULES, SCHEDULE_STORM = (
    "unit/jobs/test_ticker.py",
    "crash/test_schedules_sweep.py",
    "stress/test_schedule_storm.py",
)
TIMETABLE, WATCH = "unit/model/test_timetable.py", "unit/pool/test_schedule_watch.py"

BUGS = (
    Bug(
        "a schedule's tick is made without a look for its job",
        "jobs/tick_jobs",
        "            if job_id.lower() in held or self._spool.holds(job_id):\n                continue\n"
        "            if run.is_asked and self.has_twice(job_id):\n                continue\n",
        "",
        (TICKER, SCHEDULES),
    ),
    Bug(
        "a schedule's waiting job is looked for by its plain name only",
        "jobs/tick_jobs",
        '        return {name.partition(",")[0].removesuffix(".json").lower() for name in others}\n',
        "        return set()\n",
        (TICKER, SCHEDULES),
    ),
    Bug(
        "a schedule's note names the next tick before the job is there",
        "jobs/tick_jobs",
        "self._upkeep.rename(note, note._replace(next_at=None, making_at=tick_at))",
        "self._upkeep.rename(note, note._replace(next_at=run.following_at, last_at=tick_at))",
        (SCHEDULES, SCHEDULE_STORM),
    ),
    Bug(
        "pools make the ticks of a schedule without the lock",
        "jobs/ticker",
        "            if self._lock.try_acquire():\n",
        "            if self._lock.try_acquire() or True:\n",
        (TICKER, SCHEDULE_STORM),
    ),
    Bug(
        "a schedule whose next tick a wrong clock made waits for it",
        "jobs/schedule_upkeep",
        "        return note.next_at <= (table.after(now_at) or math.inf)\n",
        "        return True\n",
        (TICKER,),
    ),
    Bug(
        "a changed schedule keeps the next tick of the old expression",
        "jobs/schedule_upkeep",
        "        if schedule_files.content_of(self._spool, note) != table.text:\n            return False\n",
        "",
        (TICKER,),
    ),
    Bug(
        "a schedule takes the time zone of whichever pool looks",
        "spool/schedule_reading",
        "            if kept:\n",
        "            if not kept:\n",
        (TICKER,),
    ),
    Bug(
        "a schedule of a stranger makes jobs",
        "spool/schedule_reading",
        "        if self._owners is not None and content.owner not in self._owners:\n",
        "        if False:\n",
        (TICKER,),
    ),
    Bug(
        "a schedule's time of the day in a repeated hour is what cronsim says",
        "model/timetable",
        "if (tick_at := found.astimezone(UTC).timestamp()) > instant_at:",
        "if (tick_at := found.astimezone(UTC).timestamp()) > 0:",
        (TIMETABLE,),
    ),
    Bug(
        "a schedule with wildcards is computed across a change of the clocks",
        "model/timetable",
        "        if not self._is_fixed:\n",
        "        if False:\n",
        (TIMETABLE,),
    ),
    Bug(
        "the round of a pool that is woken for a schedule's tick comes too early for it",
        "pool/schedule_watch",
        "        if now_s < self._due_s(now_s) or",
        "        if now_s < self.due_s() or",
        (WATCH,),
    ),
)
