"""Dropped files that are not whole yet: watched until they are, or until they have been quiet for `settle_s`.

A copy is visible long before it is complete, and neither its size nor its time nor a close event proves that it is
done; only whole JSON does. So a file that does not parse is looked at again whenever it changes, and refused when
nothing has changed for `settle_s` by our own monotonic clock. A file of lines is whole at every line end, so it is
split only once it has been quiet for as long.

Files that are in trouble (unreadable, stuck) are tried again, each after twice the time of its try before, and at once
when something about them changes. However many files there are, looking at them takes a twentieth of the time.
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

# Looks take up to this share of the time, and what follows from them (a refusal moves the file) up to that one.
_LOOK_SHARE = 0.05
_ACT_SHARE = 0.25
# That share is of the time since the pass before, of so much of it: no pass holds up the jobs for longer than 10 ms.
_PASS_FIRST_S, _PASS_MOST_S = 0.2, 0.2
# An arriving file is looked at in each pass, another one more and more seldom; a file in trouble is tried more seldom.
_LOOK_FIRST_S, _LOOK_MOST_S = 0.2, 5.0
_TRY_FIRST_S, _TRY_MOST_S = 0.2, 30.0
# So many files in trouble are tried in a pass: a try is work for a worker as well.
_TRIES_A_PASS = 20
# A pool that drains waits for a file in trouble until it was tried so often: most trouble passes soon.
_HOPEFUL_TRIES = 3


class Arrival(NamedTuple):
    """One file on its way."""

    sig: files.FileSig | None
    """The version last seen."""
    changed_ns: int
    """When something about the file (its mode, too) last changed, as last seen."""
    quiet_since_s: float
    """Since when it is this version (monotonic)."""
    looked_s: float
    """When that was last found to be so (monotonic)."""
    declined: Watched
    """What was wrong with it."""
    tries: int
    """How often this version was in trouble."""
    wait_until_s: float
    """It is not tried before (monotonic)."""
    looks: int
    """How often it was looked at since something about it changed."""


class Arrivals:
    """The files in pending/ that are still arriving, or are watched for a change because they are no jobs so far."""

    def __init__(self, spool: SpoolDir, *, settle_s: float, clock: Clock) -> None:
        self._spool = spool
        self._settle_s = settle_s
        self._clock = clock
        self._files: dict[str, Arrival] = {}
        self._arriving: dict[str, None] = {}
        self._hopeful: set[str] = set()
        self._looks: list[tuple[float, str]] = []  # heap; a name may be in it with an old time
        self._next_look_s: dict[str, float] = {}
        self._passed_s = clock.monotonic() - _PASS_FIRST_S

    def __len__(self) -> int:
        """How many there are to wait for: foreign files left out, and such as stay in trouble."""
        return len(self._arriving) + len(self._hopeful)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def add(self, name: str, declined: Watched) -> None:
        """A file is not whole, or in trouble. The quiet time goes on if it is still the version seen before."""
        now_s = self._clock.monotonic()
        known = self._files.get(name)
        tries, wait_until_s, quiet_since_s = 0, now_s, now_s
        if known is not None and known.sig == declined.sig:
            tries, wait_until_s, quiet_since_s = known.tries, known.wait_until_s, known.quiet_since_s
        changed_ns = 0
        if _is_in_trouble(declined):
            wait_until_s = now_s + _pause_s(tries)
            tries += 1
            # Seen here and not by the worker: a try may move the file there and back, which is a change of it.
            changed_ns = (self._seen(name, declined.sig) or (None, 0))[1]
        self._put(name, Arrival(declined.sig, changed_ns, quiet_since_s, now_s, declined, tries, wait_until_s, looks=0))

    def _put(self, name: str, item: Arrival) -> None:
        """Remember a file, and when to look at it again."""
        self._files[name] = item
        self._arriving.pop(name, None)
        self._hopeful.discard(name)
        pause_s = _LOOK_FIRST_S
        if isinstance(item.declined, Arriving):
            self._arriving[name] = None
        else:
            pause_s = min(_LOOK_FIRST_S * 2.0 ** min(item.looks + item.tries, 20), _LOOK_MOST_S)
            if _is_in_trouble(item.declined) and item.tries < _HOPEFUL_TRIES:
                self._hopeful.add(name)
        # Half of the pause less: a pass that comes a little early is not one too many.
        next_s = item.looked_s + pause_s - _LOOK_FIRST_S / 2
        if _is_in_trouble(item.declined) and item.looked_s < item.wait_until_s < next_s:
            next_s = item.wait_until_s
        self._next_look_s[name] = next_s
        heapq.heappush(self._looks, (next_s, name))

    def drop(self, name: str) -> None:
        """The file is a job by now, or gone."""
        if self._files.pop(name, None) is not None:
            self._arriving.pop(name, None)
            self._hopeful.discard(name)
            self._next_look_s.pop(name, None)

    def changed(self) -> Iterator[str]:
        """The names of files to be tried again: another version by now, or in trouble for long enough.

        A stat for each file whose time for a look has come, within `_LOOK_SHARE` of the time since the call before.
        """
        began_s = self._clock.monotonic()
        until_s = began_s + _LOOK_SHARE * min(began_s - self._passed_s, _PASS_MOST_S)
        self._passed_s = began_s
        tries_left = _TRIES_A_PASS
        while self._looks and self._looks[0][0] <= began_s:
            look_s, name = heapq.heappop(self._looks)
            if self._next_look_s.get(name) != look_s:
                continue
            item = self._files[name]
            seen = self._seen(name, item.sig)
            now_s = self._clock.monotonic()
            if seen is None:
                self.drop(name)
            elif seen[0] != item.sig or seen[1] > item.changed_ns > 0:
                self._put(name, Arrival(*seen, now_s, now_s, item.declined, 0, now_s, looks=0))
                yield name
            elif _is_in_trouble(item.declined) and now_s >= item.wait_until_s and tries_left:
                tries_left -= 1
                again_s = now_s + _pause_s(item.tries)  # where the try goes astray; `add` sets it anew
                self._put(name, item._replace(looked_s=now_s, looks=item.looks + 1, wait_until_s=again_s))
                yield name
            else:
                self._put(name, item._replace(looked_s=now_s, looks=item.looks + 1))
            if self._clock.monotonic() > until_s:
                return

    def _seen(self, name: str, sig: files.FileSig | None) -> tuple[files.FileSig | None, int] | None:
        """The file's signature and last change now, or None if it is gone; `sig` if nobody can look."""
        try:
            return files.sig_and_change(self._spool.path(PENDING, name))
        except OSError:
            return sig, 0  # the folder is closed just now: the file is none the worse for it

    def quiet(self) -> Iterator[tuple[str, Arriving]]:
        """The files that have not changed for `settle_s`: to be refused, or split; as many as `_ACT_SHARE` allows."""
        now_s = self._clock.monotonic()
        until_s = now_s + _ACT_SHARE * _PASS_MOST_S
        for name in list(self._arriving):
            item = self._files[name]
            is_quiet = item.looked_s - item.quiet_since_s >= self._settle_s and now_s >= item.wait_until_s
            if is_quiet and isinstance(item.declined, Arriving):
                yield name, item.declined
                if self._clock.monotonic() > until_s:
                    return


def _is_in_trouble(declined: Watched) -> bool:
    """Whether a file is tried again although nothing about it changes."""
    match declined:
        case Unreadable() | Stuck():
            return True
        case Arriving() | Foreign():
            return False
        case _:
            assert_never(declined)


def _pause_s(tries: int) -> float:
    """How long a file waits that was in trouble `tries` times before."""
    return min(_TRY_FIRST_S * 2.0 ** min(tries, 20), _TRY_MOST_S)
