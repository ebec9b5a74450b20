"""Dropped files that are not whole yet: watched until they are, or until they have been quiet for `settle_s`.

A copy is visible long before it is complete, and neither its size nor its time nor a close event proves that it is
done; only whole JSON does. So a file that does not parse is looked at again whenever it changes, and refused when
nothing has changed for `settle_s` by our own monotonic clock. A file of lines is whole at every line end, so it is
split only once it has been quiet for as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from queuectl import fsops
from queuectl.claim import Declined
from queuectl.clock import Clock
from queuectl.lifecycle import PENDING
from queuectl.spool import SpoolDir


class Arrival(NamedTuple):
    """One file on its way: the version last seen, since when it is quiet (monotonic), what was wrong with it."""

    sig: fsops.FileSig | None
    quiet_since_s: float
    declined: Declined


class Arrivals:
    """The files in pending/ that are still arriving, or are watched for a change because they are no jobs so far."""

    def __init__(self, spool: SpoolDir, *, settle_s: float, clock: Clock) -> None:
        self._spool = spool
        self._settle_s = settle_s
        self._clock = clock
        self._files: dict[str, Arrival] = {}

    def __len__(self) -> int:
        """How many there are, unreadable and foreign ones left out."""
        return sum(1 for item in self._files.values() if item.declined.why == "arriving")

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def add(self, name: str, declined: Declined) -> None:
        """A worker found a file not whole. The quiet time goes on where it is still the version seen before."""
        known = self._files.get(name)
        if known is not None and known.sig == declined.sig:
            self._files[name] = known._replace(declined=declined)
        else:
            self._files[name] = Arrival(declined.sig, self._clock.monotonic(), declined)

    def drop(self, name: str) -> None:
        """The file is a job by now, or gone."""
        self._files.pop(name, None)

    def changed(self) -> Iterator[str]:
        """The names of files that are another version now; a stat for each arriving file and for no other."""
        for name, item in list(self._files.items()):
            sig = fsops.sig_of(self._spool.path(PENDING, name))
            if sig is None:
                del self._files[name]
            elif sig != item.sig or item.declined.why == "unreadable":
                if sig != item.sig:
                    self._files[name] = Arrival(sig, self._clock.monotonic(), item.declined)
                yield name

    def quiet(self) -> Iterator[tuple[str, Arrival]]:
        """The files that have not changed for `settle_s`: to be refused, or split."""
        now_s = self._clock.monotonic()
        for name, item in list(self._files.items()):
            if item.declined.why == "arriving" and now_s - item.quiet_since_s >= self._settle_s:
                yield name, item
