"""Watch dropped files that are not complete yet, until they are, or until they have been quiet for `settle_s`.

A copy is visible long before it is complete. Neither its size nor its time nor a close event proves that it is
complete; only whole JSON does. So a file that does not parse is tried again whenever it changes, and rejected if it has
not changed for `settle_s` by our own monotonic clock. A file of lines is whole at every line end, so it is split only
after it has been quiet for as long.

Files with a problem (unreadable, stuck) are tried again, each time after twice the wait, and at once if something about
them changes. However many files there are, polling them takes at most a twentieth of the time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple, assert_never

from queuectl.jobs.verdict import Arriving, Foreign, Stuck, Unreadable, Watched
from queuectl.model.lifecycle import PENDING
from queuectl.spool.folder import SpoolDir
from queuectl.system import files
from queuectl.system.clock import Clock

# Polls take up to the first share of the time, and what follows from them (a rejection moves the file) the second.
_POLL_SHARE = 0.05
_ACT_SHARE = 0.25
# The share is of the time since the last pass, at most of this much: no pass delays the jobs for more than 10 ms.
_PASS_FIRST_S, _PASS_MOST_S = 0.2, 0.2
# An arriving file is polled in each pass, other files less and less often. A file with a problem is tried less often.
_POLL_FIRST_S, _POLL_MOST_S = 0.2, 5.0
_TRY_FIRST_S, _TRY_MOST_S = 0.2, 30.0
# A pass tries at most this many files with a problem, because a try is work for a worker, too.
_TRIES_A_PASS = 20
# A pool that drains waits for a file with a problem until it was tried this often, because most problems pass soon.
_HOPEFUL_TRIES = 3


class Arrival(NamedTuple):
    """One file that is watched."""

    sig: files.FileSig | None
    """The version at the last poll."""
    changed_ns: int
    """When something about the file (its mode, too) last changed."""
    quiet_since_s: float
    """Since when the file has been this version (monotonic)."""
    polled_s: float
    """When it was last polled (monotonic)."""
    declined: Watched
    """What was wrong with it."""
    tries: int
    """How often this version was tried and had a problem."""
    wait_until_s: float
    """When it may be tried again (monotonic)."""
    polls: int
    """How often it was polled since something about it changed."""


class Arrivals:
    """The files in pending/ that are still arriving, and files that are watched because a change may make them jobs."""

    def __init__(self, spool: SpoolDir, *, settle_s: float, clock: Clock) -> None:
        self._spool = spool
        self._settle_s = settle_s
        self._clock = clock
        self.files: dict[str, Arrival] = {}
        """The watched files by name."""
        self._arriving: dict[str, None] = {}
        self._hopeful: set[str] = set()
        self._polls: list[tuple[float, str]] = []  # a heap; a name may be in it with an old time
        self._next_poll_s: dict[str, float] = {}
        self._last_pass_s = clock.monotonic() - _PASS_FIRST_S

    def __len__(self) -> int:
        """Return how many files a drain waits for: not foreign files, and not files with a lasting problem."""
        return len(self._arriving) + len(self._hopeful)

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def add(self, name: str, declined: Watched) -> None:
        """Watch a file that is incomplete or has a problem. Its quiet time continues if its version is the same."""
        now_s = self._clock.monotonic()
        known = self.files.get(name)
        tries, wait_until_s, quiet_since_s = 0, now_s, now_s
        if known is not None and known.sig == declined.sig:
            tries, wait_until_s, quiet_since_s = known.tries, known.wait_until_s, known.quiet_since_s
        changed_ns = 0
        if _is_in_trouble(declined):
            wait_until_s = now_s + _pause_s(tries)
            tries += 1
            # Read here and not by the worker, because a try may move the file there and back, which changes it.
            changed_ns = (self._poll(name, declined.sig) or (None, 0))[1]
        self._put(name, Arrival(declined.sig, changed_ns, quiet_since_s, now_s, declined, tries, wait_until_s, polls=0))

    def _put(self, name: str, item: Arrival) -> None:
        """Remember a file, and when to poll it again."""
        self.files[name] = item
        self._arriving.pop(name, None)
        self._hopeful.discard(name)
        pause_s = _POLL_FIRST_S
        if isinstance(item.declined, Arriving):
            self._arriving[name] = None
        else:
            pause_s = min(_POLL_FIRST_S * 2.0 ** min(item.polls + item.tries, 20), _POLL_MOST_S)
            if _is_in_trouble(item.declined) and item.tries < _HOPEFUL_TRIES:
                self._hopeful.add(name)
        # Half a pause earlier: a pass that comes a little early polls the file, too.
        next_s = item.polled_s + pause_s - _POLL_FIRST_S / 2
        if _is_in_trouble(item.declined) and item.polled_s < item.wait_until_s < next_s:
            next_s = item.wait_until_s
        self._next_poll_s[name] = next_s
        heapq.heappush(self._polls, (next_s, name))

    def drop(self, name: str) -> None:
        """Forget a file that has become a job, or is gone."""
        if self.files.pop(name, None) is not None:
            self._arriving.pop(name, None)
            self._hopeful.discard(name)
            self._next_poll_s.pop(name, None)

    def changed(self) -> Iterator[str]:
        """Yield the names of files to try again: they have changed, or had a problem for long enough.

        This costs a stat for each file whose poll is due, within `_POLL_SHARE` of the time since the last call.
        """
        began_s = self._clock.monotonic()
        until_s = began_s + _POLL_SHARE * min(began_s - self._last_pass_s, _PASS_MOST_S)
        self._last_pass_s = began_s
        tries_left = _TRIES_A_PASS
        while self._polls and self._polls[0][0] <= began_s:
            poll_s, name = heapq.heappop(self._polls)
            if self._next_poll_s.get(name) != poll_s:
                continue
            item = self.files[name]
            seen = self._poll(name, item.sig)
            now_s = self._clock.monotonic()
            if seen is None:
                self.drop(name)
            elif seen[0] != item.sig or seen[1] > item.changed_ns > 0:
                self._put(name, Arrival(*seen, now_s, now_s, item.declined, 0, now_s, polls=0))
                yield name
            elif _is_in_trouble(item.declined) and now_s >= item.wait_until_s and tries_left:
                tries_left -= 1
                again_s = now_s + _pause_s(item.tries)  # in case no answer comes; `add` sets it again
                self._put(name, item._replace(polled_s=now_s, polls=item.polls + 1, wait_until_s=again_s))
                yield name
            else:
                self._put(name, item._replace(polled_s=now_s, polls=item.polls + 1))
            if self._clock.monotonic() > until_s:
                return

    def _poll(self, name: str, sig: files.FileSig | None) -> tuple[files.FileSig | None, int] | None:
        """Return the file's signature and last change, or None if it is gone; `sig` if the folder cannot be read."""
        try:
            return files.sig_and_change(self._spool.path(PENDING, name))
        except OSError:
            return sig, 0  # the folder is inaccessible at the moment, which is not the file's fault

    def quiet(self) -> Iterator[tuple[str, Arriving]]:
        """Yield files that have not changed for `settle_s`, to reject or split; as many as `_ACT_SHARE` allows."""
        now_s = self._clock.monotonic()
        until_s = now_s + _ACT_SHARE * _PASS_MOST_S
        for name in list(self._arriving):
            item = self.files[name]
            is_quiet = item.polled_s - item.quiet_since_s >= self._settle_s and now_s >= item.wait_until_s
            if is_quiet and isinstance(item.declined, Arriving):
                yield name, item.declined
                if self._clock.monotonic() > until_s:
                    return


def _is_in_trouble(declined: Watched) -> bool:
    """Return whether a file is tried again although nothing about it changes."""
    match declined:
        case Unreadable() | Stuck():
            return True
        case Arriving() | Foreign():
            return False
        case _:
            assert_never(declined)


def _pause_s(tries: int) -> float:
    """Return how long a file waits that had a problem `tries` times before."""
    return min(_TRY_FIRST_S * 2.0 ** min(tries, 20), _TRY_MOST_S)
