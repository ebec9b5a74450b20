"""Notice that parents have ended, so that the jobs that wait for them start, die or come back (promise P13).

A pool learns of the ends that its own workers report at once. Everything else it finds by looking: at parents of names
that are new, at all parents every `scan_s`, at the notes about dead parents, and at jobs that wait for each other. So
no pool needs a message, and a crash costs one look. A look only suggests names to the workers: their claims decide.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from queuectl.flows import dependencies
from queuectl.jobs.verdict import Dead
from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE, STATES
from queuectl.model.notice import WARNING, Notice
from queuectl.pool.core import Core
from queuectl.pool.folder_watch import FolderWatch
from queuectl.spool import victims
from queuectl.spool.layout import record_name
from queuectl.spool.stripes import Stripes
from queuectl.system import files

if TYPE_CHECKING:  # imported only where jobs wait for others
    from queuectl.jobs.hopeless import Hopeless
    from queuectl.jobs.revive import Reviver
    from queuectl.pool.missing_parents import MissingParents

# More parents than this are not looked at one by one: one listing of a folder is cheaper.
_STAT_AT_MOST = 1000
# The looks take at most this share of the time.
_SHARE = 0.05
# How long it takes at a time to bring jobs back, or to end them.
_SLICE_S = 0.02
_AT_ONCE = 500
_NAMED = 5
# So many children of one parent are suggested at once when it ends, and then at each tick.
_UNBLOCKED_FIRST, _UNBLOCKED_AT_ONCE = 500, 4000
# So many jobs whose parents are met are judged at each tick, while more are ready than workers are free.
_JUDGED_AT_ONCE = 200


class ParentWatch:
    """Watches the parents of the blocked jobs of one pool."""

    def __init__(self, core: Core, stripes: Stripes, *, is_local: bool) -> None:
        self._core = core
        self._clock = core.session.clock
        self._spool = core.session.spool
        self._blocked = core.queue.blocked
        self._stripes = stripes
        self._missing: MissingParents | None = None
        folders = [self._spool.folder(state) for state in STATES]
        self._folders = FolderWatch(folders, clock=self._clock, is_local=is_local)
        self._next_s = 0.0
        self._to_revive: dict[str, None] = {}
        """Parents whose children come back."""
        self._barren: set[str] = set()
        """Parents of whose children none could be brought back: stripes were busy, or the notes are not ours."""
        self._gone: set[str] = set()
        """Parents with victims that were nowhere at the last look."""
        self._cycles: list[list[str]] = []
        """Jobs that wait for each other and are still to be ended."""

    @cached_property
    def _hopeless(self) -> Hopeless:
        from queuectl.jobs.hopeless import Hopeless

        return Hopeless(self._core.session, self._stripes)

    @cached_property
    def _reviver(self) -> Reviver:
        from queuectl.jobs.revive import Reviver

        return Reviver(self._core.session, self._stripes)

    def _watch_missing(self) -> MissingParents | None:
        """Return what watches the missing parents; None as long as no job of this pool has waited for another one."""
        if self._missing is None and len(self._blocked):
            from queuectl.pool.missing_parents import MissingParents

            self._missing = MissingParents(self._core, self._hopeless, ended=self.ended)
        return self._missing

    def ended(self, name: str) -> None:
        """Suggest the jobs that wait for a job, which is in done/ or dlq/ under this name now."""
        if self._blocked.is_awaited(job_id := name.removesuffix(".json")):
            self._core.queue.unblock(job_id, self._clock.now(), _UNBLOCKED_FIRST)

    def step(self, now_s: float) -> None:
        """Look at what is new, and at everything if it is time."""
        # Only now, when the workers have names: so the first of many children starts at once.
        for name in self._blocked.take_ready(_JUDGED_AT_ONCE):
            self._core.queue.judge_again(name)
        if now_s < self._next_s and not len(self._blocked) and not self._to_revive:
            return
        with self._core.breaker.guard():
            if self._blocked.has_fresh:
                self._look_at(self._blocked.take_fresh(_STAT_AT_MOST))
            if now_s >= self._next_s:
                missing = self._watch_missing()
                if self._folders.may_have_changed() or (missing is not None and missing.is_waiting):
                    self.look()
                else:
                    self._next_s = now_s + self._core.session.settings.scan_s
            self._bring_back()
            self._end_cycles()
            if self._missing is not None:
                self._missing.step()

    def look(self) -> bool:
        """Look at all parents and all notes; return whether there was something to do."""
        started_s = self._clock.monotonic()
        before = len(self._core.queue)
        self._blocked.take_fresh(len(self._blocked))
        self._look_at(self._blocked.parents)
        if victims.has_any(self._spool):
            self._look_at_victims()
        self._cycles += self._blocked.cycles()
        self._blocked.sort()
        if (missing := self._watch_missing()) is not None:
            missing.look()
        now_s = self._clock.monotonic()
        self._next_s = now_s + max(self._core.session.settings.scan_s, (now_s - started_s) / _SHARE)
        return len(self._core.queue) > before or bool(self._cycles or self._to_revive)

    # ------------------------------------------------------------------------------------------------------ parents

    def _look_at(self, parents: list[str]) -> None:
        """Suggest the children of the parents that have ended."""
        if len(parents) > _STAT_AT_MOST:
            listed = {*files.names(self._spool.folder(DONE)), *files.names(self._spool.folder(DLQ))}
            over = [parent for parent in parents if record_name(parent) in listed]
        else:
            over = [parent for parent in parents if dependencies.state_of(self._spool, parent)]
        now_at = self._clock.now()
        for parent in over:
            self._core.queue.unblock(parent, now_at, _UNBLOCKED_AT_ONCE)

    # ------------------------------------------------------------------------------------------------------ victims

    def _look_at_victims(self) -> None:
        """Find the parents that are dead no more; forget those that are nowhere at two looks in a row."""
        noted = victims.parents(self._spool)
        if len(noted) > _STAT_AT_MOST:
            listed = set(files.names(self._spool.folder(DLQ)))
            lost = [parent for parent in noted if record_name(parent) not in listed]
        else:
            lost = [parent for parent in noted if not os.path.lexists(self._spool.path(DLQ, record_name(parent)))]
        gone = set()
        for parent in lost:
            if parent in self._to_revive:
                continue
            if names.why_bad_id(parent):
                continue  # a foreign file (P11)
            if parent in self._barren:
                self._barren.discard(parent)  # not at two looks in a row: a pool that drains must come to an end
            elif self._spool.find(parent) is not None:
                self._to_revive[parent] = None
            elif parent in self._gone:
                victims.forget_all(self._spool, parent)
            else:
                gone.add(parent)
        self._gone = gone

    def _bring_back(self) -> None:
        """Bring back some of the jobs whose parents are dead no more."""
        until_s = self._clock.monotonic() + _SLICE_S
        for parent in list(self._to_revive):
            if dependencies.state_of(self._spool, parent) == DLQ:
                del self._to_revive[parent]  # it has died again
                continue
            found = self._reviver.revive(parent, at_most=_AT_ONCE, until_s=until_s)
            self._core.dispatcher.add(found)
            for name in found:
                if (parts := names.parse(name)) is not None and victims.some_children(self._spool, parts.stem, 1):
                    self._to_revive[parts.stem] = None
            if not found:
                self._barren.add(parent)
            if not found or not victims.some_children(self._spool, parent, 1):
                del self._to_revive[parent]
            if self._clock.monotonic() >= until_s:
                return

    # ------------------------------------------------------------------------------------------------------- cycles

    def _end_cycles(self) -> None:
        """End jobs that wait for each other, if all of them still do."""
        left = []
        for members in self._cycles:
            rest = self._end_cycle(members)
            if rest:
                left.append(rest)
        self._cycles = left

    def _end_cycle(self, members: list[str]) -> list[str]:
        """End the jobs of a cycle; return those that could not be changed now."""
        pointers = {member: self._blocked.waits_for(member) for member in members}
        if not all(pointers.values()):
            return []
        shown = " → ".join([*members[:_NAMED], *(["..."] if len(members) > _NAMED else []), members[0]])
        left = []
        for member, parent in pointers.items():
            name = names.blocked_name(member, parent)
            made = self._hopeless.end(name, parent, f"they wait for each other: {shown}")
            if made is None:
                left.append(member)
            elif isinstance(made, Dead):
                self._core.queue.forget(name)
                self.died(made)
        if len(left) < len(members):
            text = f"{len(members)} jobs are dead, because they wait for each other: {shown}"
            self._core.notify(Notice(WARNING, "dead", text))
        return left

    def died(self, dead: Dead) -> None:
        """Act on a job that this process has moved to dlq/."""
        self.ended(dead.name)
