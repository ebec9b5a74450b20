"""Find jobs that have waited too long: they were ready for longer than `hooks.stale_after`, but no worker ran them.

The search uses the listings that a pool makes anyway. A generated id or a due time in the name limits how long a job
can have waited, so only a bounded number of records is opened, and a bounded number of jobs is reported. Only the pool
that holds .queuectl/stale.lock reports, once per job and wait. It remembers that in memory, so the next pool reports a
job again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from heapq import nsmallest

from queuectl.model import names, times
from queuectl.spool import listing
from queuectl.spool.session import Session
from queuectl.system.locks import FileLock

# Jobs reported per `stale_after`, because hooks for a million jobs would run for days.
AT_MOST = 20
# Records opened per look; half of them have the first names, which are the oldest of the generated ids.
_OPENED = 100
_LOOK_EVERY_S = 30.0


class Stale:
    """Finds the stale jobs of one spool; `on_stale(name)` is called for each."""

    def __init__(self, session: Session, *, on_stale: Callable[[str], None]) -> None:
        self._spool = session.spool
        self._stale_s = session.settings.stale_after
        self._is_wanted = bool(session.settings.on_stale)
        self._clock = session.clock
        self._rng = session.rng
        self._on_stale = on_stale
        self._lock = FileLock(session.spool.stale_lock_path)
        self._leads = False
        self._every_s = min(_LOOK_EVERY_S, self._stale_s)
        # Jobs that waited while no pool ran are about to run, so wait before the first look.
        self._next_s = self._clock.monotonic() + self._every_s
        self._since_at = 0.0
        self._told: dict[str, float] = {}
        self._told_s: deque[float] = deque(maxlen=AT_MOST)

    def check(self, waiting: list[str], *, paused: bool) -> None:
        """Report the stale jobs in a listing of pending/, which may have other files, too.

        No job is stale while the spool is paused; after a pause the time starts from zero.

        Raises:
            OSError: the lock cannot be tried.
        """
        if not self._is_wanted:
            return
        now_at, now_s = self._clock.now(), self._clock.monotonic()
        if paused:
            self._since_at = now_at
        if paused or now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        self._leads = self._leads or self._lock.try_acquire()
        if not self._leads or now_at - self._since_at < self._stale_s:
            return
        from queuectl.monitor import order  # only for who has the hook

        found = [
            name
            for name in candidates(waiting, before_at=now_at - self._stale_s, now_at=now_at)
            if listing.may_be_job(name)
        ]
        self._told = {name: self._told[name] for name in found if name in self._told} if self._told else {}
        waits = sorted(
            (since[0], name) for name in self._some(found) if (since := order.since(self._spool, name)) is not None
        )
        for since_at, name in waits:
            if since_at > now_at - self._stale_s or self._told.get(name) == since_at:
                continue
            if len(self._told_s) == AT_MOST and now_s - self._told_s[0] < self._stale_s:
                return
            self._told_s.append(now_s)
            self._told[name] = since_at
            self._on_stale(name)

    def _some(self, found: list[str]) -> list[str]:
        if len(found) <= _OPENED:
            return found
        return list({*nsmallest(_OPENED // 2, found), *self._rng.sample(found, _OPENED // 2)})

    def close_inherited(self) -> None:
        """Close the lock file, also in a forked process that is not the supervisor."""
        self._lock.close()
        self._leads = False


def candidates(waiting: Iterable[str], *, before_at: float, now_at: float) -> list[str]:
    """Return the names of jobs that may have been ready since before an instant, and all names without a time.

    A million new jobs take some 40 ms and yield none.
    """
    # The generated ids of newer jobs sort between these two (a chosen name between them is reported once they have
    # passed it). Due times and arrivals are compared as they are written in names.
    oldest, newest = _stem(before_at), _stem(now_at + 1)
    last = times.to_name(before_at)
    return [
        name
        for name in waiting
        if not oldest <= name <= newest
        and not (
            "," in name
            and (
                names.AFTER in name
                or name.partition(",due=")[2] >= last
                or name.partition(",in=")[2] >= last
                or names.is_held(name)
            )
        )
    ]


def _stem(instant_at: float) -> str:
    """Return the beginning of the ids that are generated at an instant."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(instant_at))
