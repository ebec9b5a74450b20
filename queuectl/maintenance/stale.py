"""Jobs that have waited too long: could run for longer than `hooks.stale_after`, and nobody has run them.

They are found in the listings that a pool makes anyway. A generated id and a due time tell by the name how long a job
has waited at most, so only a bounded number of records is opened, and a bounded number of jobs is reported. One pool
of a spool reports: the one that holds .queuectl/stale.lock. It reports each job once per wait. This is kept in memory,
so the next pool reports it again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from heapq import nsmallest

from queuectl.model import names, times
from queuectl.monitor import order
from queuectl.spool.session import Session
from queuectl.system.locks import FileLock

# Jobs reported in a span of `stale_after`: a hook for each of a million would run for days.
AT_MOST = 20
# Records opened in a look, half of them of the names that come first, which of generated ids are the oldest.
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
        # What waited while no pool ran is about to run: that is seen first.
        self._next_s = self._clock.monotonic() + self._every_s
        self._since_at = 0.0
        self._told: dict[str, float] = {}
        self._told_s: deque[float] = deque(maxlen=AT_MOST)

    def check(self, waiting: list[str], *, paused: bool) -> None:
        """See whether a listing of pending/ has any. Nothing is stale while the spool is paused, and from then on the
        time counts afresh.

        Raises:
            OSError: the lock cannot be asked for.
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
        found = candidates(waiting, before_at=now_at - self._stale_s, now_at=now_at)
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
        """Close what is open, also in a process that was forked and is not the supervisor."""
        self._lock.close()
        self._leads = False


def candidates(waiting: Iterable[str], *, before_at: float, now_at: float) -> list[str]:
    """The names of those that may have been able to run since before an instant; of a million fresh ones none, in
    some 40 ms. Names that do not tell their time may all.
    """
    # Between these lie the generated ids of what came since (a name of a person's own in between waits until
    # it does not). Due times and arrivals are compared as they stand in names.
    oldest, newest = _stem(before_at), _stem(now_at + 1)
    last = times.to_name(before_at)
    return [
        name
        for name in waiting
        if not oldest <= name <= newest
        and not (
            "," in name
            and (name.partition(",due=")[2] >= last or name.partition(",in=")[2] >= last or names.is_held(name))
        )
    ]


def _stem(instant_at: float) -> str:
    """Return how the ids begin that are generated at an instant."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(instant_at))
