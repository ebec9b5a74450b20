"""Find many jobs by id with one listing of pending/.

A stat finds a job whose file is named ID.json. Only a waiting job with flags in its name, or in another letter case,
needs a listing, whose cost grows with the number of jobs. So the listing is kept, and repeated when it is older than
twenty times the time it took, so that listings take at most a twentieth of the time. It lacks jobs that came later
(FORMAT.md, "Names").
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable

from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.system import files
from queuectl.system.clock import Clock

LISTING_SHARE = 0.05


# TOKEN-PLACE: the id that `split` gives to a job that has none.
_OF_MANY = re.compile(r"-[0-9]{8}T[0-9]{6}-[0-9a-z]{4}-[0-9]{4,}\Z")


class Roster:
    """The waiting jobs of one spool that a stat does not find, as of the last listing."""

    def __init__(self, spool: SpoolDir, *, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._waiting: dict[str, str] = {}
        """The name of a waiting file, by folded id."""
        self._more: dict[str, list[str]] = {}
        """Further names with the same folded id."""
        self._wants_made = False
        self._valid_until_s = -math.inf

    def refresh(self, wanted: Iterable[str] | None = None) -> None:
        """List pending/ now, however old the last listing is. With `wanted`, remember only these ids."""
        only = None if wanted is None else {job_id.lower() for job_id in wanted}
        started_s = self._clock.monotonic()
        self._waiting.clear()
        self._more.clear()
        for name in files.names(self._spool.folder(PENDING)):
            if only is None:
                self.add(name)
            elif (folded := name.partition(",")[0].removesuffix(".json").lower()) in only:
                self._remember(folded, name)
        now_s = self._clock.monotonic()
        self._valid_until_s = -math.inf if only is not None else now_s + (now_s - started_s) / LISTING_SHARE

    def add(self, name: str) -> None:
        """Remember the name of a waiting file that was published since the listing."""
        head, comma, _ = name.partition(",")
        if comma:
            if not self._wants_made and _is_made(head):
                return  # there may be a million of them, and hardly any producer chooses such an id
        elif not name.endswith(".json") or name.islower():
            return  # a stat finds it
        else:
            head = name[: -len(".json")]
        self._remember(head.lower(), name)

    def _remember(self, folded: str, name: str) -> None:
        if folded in self._waiting:
            self._more.setdefault(folded, []).append(name)
        else:
            self._waiting[folded] = name

    def find(self, job_id: str, *, as_listed: bool = False) -> Located | None:
        """Find the job with this id, as `SpoolDir.find`, with a listing that may be a little old.

        With `as_listed` make no new listing, because the caller made one for this id (`refresh`).
        """
        if not (self._wants_made or as_listed) and _is_made(job_id):
            self._wants_made, self._valid_until_s = True, -math.inf
        folded = job_id.lower()
        found = self._spool.find_plain(job_id, (RUNNING, PENDING, DONE, DLQ))
        if found is None and folded != job_id:
            found = self._spool.find_plain(folded, (PENDING,))
        if found is not None:
            return found
        if not as_listed and self._clock.monotonic() >= self._valid_until_s:
            self.refresh()
        if folded in self._waiting:
            if (found := self._flagged(folded)) is not None:
                return found
            return self._spool.find(job_id)  # it has moved, perhaps to another name
        return self._spool.find_plain(job_id, (RUNNING, DONE, DLQ))

    def _flagged(self, folded: str) -> Located | None:
        for name in (self._waiting[folded], *self._more.get(folded, ())):
            parts = names.parse(name)
            path = self._spool.path(PENDING, name)
            if parts is not None and parts.stem.lower() == folded and os.path.lexists(path):
                return Located(PENDING, name, path)
        return None


def _is_made(job_id: str) -> bool:
    """True for an id of a form that queuectl generates."""
    return names.is_generated(job_id) or _OF_MANY.search(job_id) is not None
