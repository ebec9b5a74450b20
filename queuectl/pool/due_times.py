"""Find waiting jobs whose name has a later time than their record, because a clock or a drop's name was wrong.

A clock may have been set back, or another machine's clock may have been ahead. The records of waiting jobs are read a
few at each tick, and a job that is due by its own delay runs at once (promise P5).
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator

from queuectl.errors import DamagedRecordError
from queuectl.model import names
from queuectl.model.history import is_due
from queuectl.model.lifecycle import PENDING
from queuectl.pool.core import Core
from queuectl.pool.ticks import TICK_S

# After the clock was set back, this share of each tick goes to the records of waiting jobs, until all were read.
_RECHECK_SHARE = 0.2
# They are read at least this often, because another machine's clock may have been ahead.
_RECHECK_EVERY_S = 3600.0
# A name is wrong if its time is later than that of its record by this much.
_NAMED_TOO_LATE_S = 1.0


class DueTimes:
    """Compares the names of waiting jobs with their records, for one pool."""

    def __init__(self, core: Core) -> None:
        self._queue = core.queue
        self._spool = core.session.spool
        self._clock = clock = core.session.clock
        self._clock_offset_s = clock.now() - clock.monotonic()
        self._next_s = math.inf  # until pending/ was listed
        self._unread: Iterator[str] = iter(())
        """Waiting names whose records are still to be read."""

    def begin(self, now_s: float) -> None:
        """Start the first pass, after pending/ was listed."""
        if self._next_s == math.inf:
            self._next_s = now_s

    def step(self, _now_s: float = 0.0) -> None:
        """Read some records, if any are left, and make the jobs ready that are due according to them."""
        offset_s = self._clock.now() - self._clock.monotonic()
        moved_s, self._clock_offset_s = offset_s - self._clock_offset_s, offset_s
        now_at, now_s = self._clock.now(), self._clock.monotonic()
        if moved_s <= -1.0 or now_s >= self._next_s:
            self._next_s = now_s + _RECHECK_EVERY_S
            self._unread = iter(self._queue.recheck_waiting(now_at))
        until_s = now_s + TICK_S * _RECHECK_SHARE
        due: set[str] = set()
        for name in itertools.chain(self._unread, iter(self._queue.next_unverified, None)):
            with contextlib.suppress(OSError):
                if not self._waits_as_named(name, now_at):
                    due.add(name)
            if self._clock.monotonic() >= until_s:
                break
        if due:
            self._queue.advance(due, now_at)

    def _waits_as_named(self, name: str, now_at: float) -> bool:
        """Return False if record and name have different times: a claim then runs the job, or corrects the name."""
        try:
            now = self._spool.read(PENDING, name).record.standing()
        except DamagedRecordError:
            return True  # a drop: nothing contradicts its name
        if now.due_at is None or is_due(now.due_at, now.delay_s, now_at):
            return False
        parts = names.parse(name)
        return parts is not None and parts.due_at is not None and parts.due_at - now.due_at <= _NAMED_TOO_LATE_S
