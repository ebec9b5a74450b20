"""The dashboard of a spool: status.html, status.json and queuectl.prom. One of all supervisors writes them.

The one that holds .queuectl/dashboard.lock writes. If it dies, its lock is free at once, and another one goes on (this
is P5's proof). Two writers would do no harm, because each file is replaced in one step.

A snapshot is taken a few milliseconds at a time, so that the supervisor's loop goes on. It is written if it shows
something new, at most every 5 s; and at least every 30 s in any case, as a sign of life. Trouble with these files is
reported once and delays nothing: they are not the queue (promise P9).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from queuectl.model.lifecycle import PENDING, RUNNING
from queuectl.model.setting import FULL, OFF
from queuectl.model.settings import Settings
from queuectl.monitor.heartbeat import HEARTBEAT_S
from queuectl.pool.counters import Counters
from queuectl.spool.counts import Ended
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FACTS, METRICS, PAGE
from queuectl.spool.session import Session
from queuectl.system import disk, sharing
from queuectl.system.locks import FileLock

if TYPE_CHECKING:
    from queuectl.monitor.snapshot import Snapshot
    from queuectl.monitor.steps import Steps
    from queuectl.monitor.survey import Survey

# How many of the jobs that run next are shown.
_NEXT_ROWS = 100
# The first snapshot begins this long after the start, when the first jobs run; while short jobs use every slot, later.
# It takes some 150 ms of CPU, most of it for the imports, which are the jobs' until then.
_FIRST_S, _FIRST_BUSY_S = 0.5, 3.0
# From one snapshot to the next.
EVERY_S = 5.0
# This often a few stats show whether anything has changed.
_ASK_S = 1.0
# One step takes at most this long, and one is made every 0.2 s (`ticks.TICK_S`): 5 % of the time.
_STEP_S = 0.01
# An ending pool takes a last snapshot in at most this time: of some million jobs, and not of more.
_LAST_S = 2.0
# On Windows a reader may have the page open for an instant: it is reported only if this often in a row.
_HELD_OFTEN = 3


class Dashboard:
    """Writes the dashboard if this supervisor leads, a few milliseconds at a time.

    `is_busy` returns True while jobs wait for a slot and every slot has short ones: the first snapshot is delayed then.
    """

    def __init__(
        self, session: Session, counters: Counters | None = None, *, is_busy: Callable[[], bool] = lambda: False
    ) -> None:
        settings = session.settings
        self._spool = session.spool
        self._clock = session.clock
        self._counters = counters or Counters(session)
        self._files = _files(settings)
        self._lock = FileLock(session.spool.dashboard_lock_path)
        self._leads = False
        self._is_full = settings.dashboard == FULL
        self._timeout_s = settings.timeout
        self._loading: Iterator[None] | None = None
        self._survey: Survey | None = None
        self._under_way: Steps[Snapshot] | None = None
        self._taken: Snapshot | None = None
        self._marks: object = None
        self._is_settled = False
        self._written: Snapshot | None = None
        self._written_s = 0.0
        self._is_busy = is_busy
        self._began_s = self._clock.monotonic()
        self._next_s = self._began_s + _FIRST_S
        self._held = 0
        self._told = False

    def step(self) -> str:
        """Go on for about 10 ms at most; return a sentence about the first trouble, else ""."""
        now_s = self._clock.monotonic()
        if not self._files or now_s < self._next_s:
            return ""
        if now_s < self._began_s + _FIRST_BUSY_S and self._written is None and self._is_busy():
            return ""
        try:
            self._counters.step(now_s)
            self._leads = self._leads or self._lock.try_acquire()
            if not self._leads or not self._load(now_s + _STEP_S):
                return ""
            if self._taken is not None:  # in a step of its own: making the texts takes as long as a step
                self._write_news(self._taken, now_s)
                self._taken = None
            elif self._under_way is not None or self._begin(now_s):
                self._taken = self._go_on(now_s + _STEP_S)
        except OSError as error:
            return self._failed(error, now_s)
        except Exception as error:  # a defect of the page must not end the pool (FORMAT.md, section 8)
            return self._failed(OSError(0, f"{type(error).__name__}: {error}"), now_s)
        return ""

    def close(self, ended: Ended | None = None) -> None:
        """Add the last counts, and how the pool `ended`; write a last time if no other pool will, and cease to lead."""
        with contextlib.suppress(OSError):
            self._counters.end(ended)
        with contextlib.suppress(Exception):  # as in `step`
            self._leads = self._leads or (bool(self._files) and self._lock.try_acquire())
            if self._leads:
                self._end_survey()
                self._under_way = self._new_survey()
                found = self._go_on(self._clock.monotonic() + _LAST_S)
                if found is not None and not found.pools:
                    self._write(found)
        self.close_inherited()

    def close_inherited(self) -> None:
        """Close what is open, also in a forked process, which is not the supervisor."""
        with contextlib.suppress(OSError):
            self._end_survey()
            self._counters.close()
            self._lock.close()
        self._leads = False

    # -------------------------------------------------------------------------------------------------------- parts

    def _begin(self, now_s: float) -> bool:
        """Begin a snapshot, unless nothing can have changed since the last one.

        The times of folders are as coarse as those of the file system, and a job's file changes a moment after it was
        moved. So a snapshot follows every change, and one more.
        """
        marks = self._surveyor().marks()
        changed = marks != self._marks
        if not changed and self._is_settled and now_s < self._written_s + HEARTBEAT_S:
            self._next_s = now_s + _ASK_S
            return False
        self._marks, self._is_settled = marks, not changed
        self._under_way = self._new_survey()
        return True

    def _load(self, until_s: float) -> bool:
        """Go on with the imports and the templates of the files, some 100 ms in all; return whether all are there."""
        if self._loading is None:
            self._loading = self._loads()
        # True as well once it is at its end.
        return all(self._clock.monotonic() < until_s for _ in self._loading)

    def _loads(self) -> Iterator[None]:
        """Load what makes the files, a piece at each step."""
        if METRICS in self._files:
            from queuectl.monitor import metrics  # brings prometheus-client

            del metrics
            yield
        if PAGE in self._files:
            from queuectl.monitor import page

            yield from page.load()

    def _new_survey(self) -> Steps[Snapshot]:
        return self._surveyor().take(self._clock.now())

    def _surveyor(self) -> Survey:
        if self._survey is None:
            from queuectl.monitor.survey import Survey

            self._survey = Survey(
                self._spool, is_full=self._is_full, next_rows=_NEXT_ROWS, default_timeout_s=self._timeout_s
            )
        return self._survey

    def _go_on(self, until_s: float) -> Snapshot | None:
        """Take steps until the snapshot is complete, or until it is time for other work."""
        assert self._under_way is not None
        try:
            while True:
                next(self._under_way)
                if self._clock.monotonic() >= until_s:
                    return None
        except StopIteration as end:
            self._under_way = None
            found: Snapshot = end.value
            self._counters.sample(found.counts[PENDING], found.counts[RUNNING])
            return found

    def _write_news(self, found: Snapshot, now_s: float) -> None:
        """Write a snapshot if it shows something new, or if a sign of life is due."""
        from queuectl.monitor.snapshot import is_same

        self._next_s = now_s + EVERY_S
        is_time = now_s >= self._written_s + HEARTBEAT_S - EVERY_S / 2
        if self._written is None or is_time or not is_same(found, self._written):
            self._write(found)
            self._written, self._written_s = found, now_s
            self._held = 0

    def _write(self, found: Snapshot) -> None:
        """Write each of the files, even if another one cannot be written. Raises the first OSError."""
        from queuectl.monitor import status

        advice = status.advise(found)
        trouble: OSError | None = None
        for name in self._files:
            try:
                has_texts = self._is_full and name != METRICS
                write_file(self._spool, name, _text(name, found, advice), has_texts=has_texts)
            except OSError as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def _failed(self, error: OSError, now_s: float) -> str:
        self._end_survey()
        self._taken = None
        self._next_s = now_s + HEARTBEAT_S
        self._held = self._held + 1 if sharing.is_held(error) else _HELD_OFTEN
        if self._told or self._held < _HELD_OFTEN:
            return ""
        self._told = True
        return f"cannot write the dashboard: {error.strerror or error}; jobs continue without it"

    def _end_survey(self) -> None:
        if self._under_way is not None:
            self._under_way.close()
            self._under_way = None


def write_file(spool: SpoolDir, name: str, text: str, *, has_texts: bool) -> None:
    """Put PAGE, FACTS or METRICS in its place in one step; replace a link or a read-only file there.

    A file that `has_texts` of jobs is as private as their files; others are for everybody.

    Raises:
        OSError: it cannot be written (full, read-only, a folder of that name); nothing is left behind.
    """
    mode = None if has_texts else disk.FILE_MODE
    path, data = os.path.join(spool.root, name), text.encode("utf-8", "replace")
    with spool.temporary(name, data, sync=False, mode=mode) as temporary:
        disk.replace(temporary, path, patience_s=sharing.GLANCE_S)


def _files(settings: Settings) -> tuple[str, ...]:
    """Return the files to write. The page comes last, so the other files are new when the page is."""
    board = () if settings.dashboard == OFF else (FACTS, PAGE)
    return (*((METRICS,) if settings.metrics else ()), *board)


def _text(name: str, found: Snapshot, advice: tuple[str, str]) -> str:
    if name == PAGE:
        from queuectl.monitor import page

        return page.render(found, advice=advice)
    if name == METRICS:
        from queuectl.monitor import metrics

        return metrics.text(found)
    import json

    from queuectl.monitor import facts

    document = facts.document(found, advice=advice)
    try:  # twice as fast as json with an indent
        return msgspec.json.format(json.dumps(document), indent=1) + "\n"
    except msgspec.DecodeError:  # half a surrogate pair, which a name may hold
        return json.dumps(document, indent=1) + "\n"
