"""Find parents that are in no folder, and end the jobs that wait for them once their time of grace is over (P13).

Files arrive in any order, so a parent may come after its child. A parent counts as missing if it was nowhere at two
looks in a row, because a job that moves during a look may not be seen. Then `missing` is put on record for each child,
and the grace counts from there, over restarts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

from queuectl.jobs.hopeless import Hopeless, Unsure
from queuectl.jobs.verdict import Dead
from queuectl.model import names
from queuectl.model.lifecycle import PENDING, RUNNING
from queuectl.model.notice import WARNING, Notice
from queuectl.pool.core import Core
from queuectl.spool.layout import record_name

# Notes and ends are made for so long at a time.
_SLICE_S = 0.01


class MissingParents:
    """The missing parents of the blocked jobs of one pool."""

    def __init__(self, core: Core, hopeless: Hopeless, *, ended: Callable[[str], None]) -> None:
        self._core = core
        self._clock = core.session.clock
        self._spool = core.session.spool
        self._blocked = core.queue.blocked
        self._hopeless = hopeless
        self._ended = ended
        self._seen_as: dict[str, str] = {}
        """The name in pending/ under which a parent was seen."""
        self._suspects: set[str] = set()
        self._missing: set[str] = set()
        self._present: set[str] = set()
        """Parents that this pool has seen in the spool, so that an old note about them does not count."""
        self._until_s: dict[str, float] = {}
        """Until when each blocked name may wait for its missing parent (monotonic)."""
        self._to_do: list[str] = []
        self._told: set[str] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether the next look may have something to do although nothing has changed on disk."""
        return bool(self._suspects or self._missing or self._until_s)

    def look(self) -> None:
        """Find out which parents are nowhere. Raises OSError."""
        lost = self._lost(self._blocked.roots)
        known = set(self._blocked.parents)
        self._present = (self._present | (known - lost)) & known
        self._missing = {parent for parent in lost if parent in self._suspects or parent in self._missing}
        self._suspects = lost
        self._told &= self._missing
        if not self._missing and not self._until_s:
            return
        waiting = [name for parent in self._missing for name in self._blocked.of(parent)]
        still = set(waiting)
        self._until_s = {name: until_s for name, until_s in self._until_s.items() if name in still}
        now_s = self._clock.monotonic()
        self._to_do = [name for name in waiting if self._until_s.get(name, now_s) <= now_s]

    def _lost(self, roots: list[str]) -> set[str]:
        """Return the parents that are in no folder; those in done/ and dlq/ were unblocked already."""
        lost = set()
        for parent in roots:
            plain = record_name(parent)
            seen_as = self._seen_as.get(parent, plain)
            if self._core.queue.knows(seen_as):
                continue
            candidates = [(RUNNING, plain), (PENDING, seen_as), (PENDING, plain)]
            if not any(os.path.lexists(self._spool.path(state, name)) for state, name in candidates):
                lost.add(parent)
        if lost:
            flagged = self._flagged(lost)
            self._seen_as.update(flagged)
            lost -= flagged.keys()
            lost = {parent for parent in lost if not self._spool.holds(parent)}
        if self._seen_as:
            watched = set(roots)
            self._seen_as = {parent: name for parent, name in self._seen_as.items() if parent in watched}
        return lost

    def _flagged(self, wanted: set[str]) -> dict[str, str]:
        """Return the names in pending/ of these ids: one listing."""
        found = {}
        for name in self._spool.waiting_names():
            stem = name.partition(",")[0].removesuffix(".json")
            if stem in wanted:
                found[stem] = name
        return found

    def step(self) -> None:
        """Put on record that parents are missing, and end jobs whose grace is over, for a little while."""
        until_s = self._clock.monotonic() + _SLICE_S
        while self._to_do and self._clock.monotonic() < until_s:
            name = self._to_do.pop()
            parts = names.parse(name)
            if parts is not None and parts.after in self._missing and name in self._blocked:
                self._act(name, parts.after)

    def _act(self, name: str, parent: str) -> None:
        if name not in self._until_s:
            since = self._hopeless.note_missing(name, parent, again=parent in self._present)
            if isinstance(since, Unsure):
                self._suggest(name)
                return
            if since is not None:
                grace_s = self._core.session.settings.after_grace
                left_s = min(max(0.0, since + grace_s - self._clock.now()), grace_s)
                self._until_s[name] = self._clock.monotonic() + left_s
                self._tell(parent)
            if self._until_s.get(name, math.inf) > self._clock.monotonic():
                return
        if self._spool.find(parent) is not None:
            return  # it has come at the last moment; the next look sees it
        made = self._hopeless.end(name, parent, f"its parent {parent} is not in the spool")
        if isinstance(made, Dead):
            self._core.queue.forget(name)
            self._core.notify(Notice(WARNING, "dead", f"{made.name} moved to dlq/: {made.why}"))
            self._ended(made.name)
        elif isinstance(made, Unsure):
            self._suggest(name)

    def _suggest(self, name: str) -> None:
        """Let a claim decide about a name that its record contradicts."""
        self._core.queue.forget(name)
        self._core.queue.put_first(name)

    def _tell(self, parent: str) -> None:
        if parent in self._told:
            return
        self._told.add(parent)
        count = len(self._blocked.of(parent))
        jobs = "a job waits" if count == 1 else f"{count} jobs wait"
        text = f"{jobs} for {parent}, which is not in the spool"
        self._core.notify(Notice(WARNING, "orphan", text))
