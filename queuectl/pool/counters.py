"""Count the results of one pool's jobs for the dashboard, and add them to the counts of the spool every few seconds.

A job costs a few additions in memory. The counts in memory are added to .queuectl/counts (see `spool.counts`) at most
every 5 s, so kill -9 loses at most the counts of that time. With `dashboard = "off"` nothing is counted or written.
"""

from __future__ import annotations

import time

from queuectl.model.lifecycle import DLQ, DONE
from queuectl.model.setting import OFF
from queuectl.spool import counts
from queuectl.spool.counts import MINUTE_S, QUARTER_S, QUARTERS, Counts, Ended, Row
from queuectl.spool.session import Session
from queuectl.system.locks import FileLock

# The time between two writes.
EVERY_S = 5.0
# Where a count is in a list.
_PLACES, _RETRIED = {DONE: 0, DLQ: 1}, 2
# An ending pool waits this long for another pool that is writing; a write takes a millisecond.
_LAST_S, _POLL_S = 1.0, 0.01


class Counters:
    """The counts of one pool that are not in the file yet."""

    def __init__(self, session: Session) -> None:
        self._spool = session.spool
        self._clock = session.clock
        self._is_on = session.settings.dashboard != OFF
        self._lock = FileLock(session.spool.counts_lock_path)
        self._ended: dict[int, list[int]] = {}
        """Jobs done and dead, and failed runs that are tried again, by the minute in which they ended."""
        self._samples: dict[int, Row] = {}
        self._next_s = self._clock.monotonic() + EVERY_S

    def count(self, state: str) -> None:
        """Count a job that has moved after a run: to DONE, to DLQ (not a cancelled one), or back to be tried again."""
        if self._is_on:
            at = int(self._clock.now() // MINUTE_S) * MINUTE_S  # as `_minute`; each run comes here
            if (ended := self._ended.get(at)) is None:
                ended = self._ended[at] = [0, 0, 0]
            ended[_PLACES.get(state, _RETRIED)] += 1

    def sample(self, waiting: int, running: int) -> None:
        """Note how many jobs wait and run now."""
        if self._is_on:
            row = Row(self._minute(), waiting=waiting, running=running)
            self._samples[row.at] = counts.added(self._samples.get(row.at, row), row)

    def _minute(self) -> int:
        return counts.start_of(self._clock.now(), MINUTE_S)

    def step(self, now_s: float) -> None:
        """Add new counts to the file, at most every 5 s. Raises OSError; then nothing is lost."""
        if (self._ended or self._samples) and now_s >= self._next_s and self._write(None):
            self._next_s = now_s + EVERY_S

    def end(self, ended: Ended | None) -> None:
        """Add all new counts, and how the pool ended. Raises OSError."""
        until_s = self._clock.monotonic() + _LAST_S
        while self._is_on and not self._write(ended) and self._clock.monotonic() < until_s:
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Close the lock's handle, also in a forked process."""
        self._lock.close()

    def _write(self, how: Ended | None) -> bool:
        """Add new counts to the file; return False if another pool holds the lock."""
        now_at = self._clock.now()
        self._drop_old(now_at)
        if not self._lock.try_acquire():
            return False
        try:
            known = counts.read(self._spool) or Counts()
            fresh = [*(Row(at, *ended) for at, ended in self._ended.items()), *self._samples.values()]
            counts.write(self._spool, counts.merge(known, fresh, now_at, how))
            self._ended, self._samples = {}, {}
        finally:
            self._lock.release()
        return True

    def _drop_old(self, now_at: float) -> None:
        """Forget counts that are too old for the file, because its disk may be full for a week."""
        oldest_at = now_at - QUARTERS * QUARTER_S
        self._ended = {at: ended for at, ended in self._ended.items() if at > oldest_at}
        self._samples = {at: row for at, row in self._samples.items() if at > oldest_at}
