"""Examine every job of a spool: it must be whole, well named, in one place, and where its record says (P2, P4, P6, P7).

Workers may be running, so there are two passes. The first reads every file once, takes no lock, and only notes possible
faults. The second takes the stripes of the ids, so that no process claims, rescues or requeues these jobs meanwhile,
and reads again. If a lease holds a file, if the file has changed, or if a live pool must repair it, the second pass
tries again for a moment and then skips the file. Only a fault that remains under the lock is a finding, and is repaired
at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial

from queuectl.jobs import error_text
from queuectl.jobs.rescue import Orphans
from queuectl.maintenance.faults import Fault, Judge, View, stem_of
from queuectl.maintenance.findings import GoneError, Inspection, Repair
from queuectl.maintenance.repairs import Repairs
from queuectl.maintenance.twins import ORDER, Twins
from queuectl.model import names, record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.spool.lease import is_alive
from queuectl.spool.stripes import Stripes
from queuectl.system import files
from queuectl.system.locks import is_held

# How long the second pass waits for busy or changing files; a live pool rescues within a second (P5).
_PATIENCE_S = 1.5
_PAUSE_S = 0.05
# Progress is reported after this many files.
_TELL_EVERY = 256
# A file in done/ or dlq/ that is not a record may be half saved, so its two looks are this far apart.
_LOOK_AGAIN_S = 0.25
# A file can be torn, then misplaced, then misnamed; one more look confirms the repairs.
_FAULTS_AT_MOST = 4
_NAMED = 3

Place = tuple[str, str]


class Examination:
    """Examines the jobs of a spool once.

    Args:
        names_only: in pending/, done/ and dlq/ open only files whose names collide.
        pool_lives: a pool works on the spool, so it rescues the jobs of dead workers first.
        outputs: leases whose output is in tmp/ without a worker; `run` fills `runs` for them.
    """

    def __init__(
        self, inspection: Inspection, *, names_only: bool, pool_lives: bool, outputs: Iterable[str] = ()
    ) -> None:
        session, findings, age = inspection
        self._session, self._spool = session, session.spool
        self._findings = findings
        self._names_only = names_only
        self._pool_lives = pool_lives
        self._outputs = set(outputs)
        self._judge = Judge(session.spool, session.settings, age, now_at=session.clock.now())
        self._repairs = Repairs(session)
        self._twins = Twins(findings, self._judge, self._repairs)
        self._stripes = Stripes(session.spool)
        self._orphans = Orphans(session, self._stripes)
        self._first: dict[str, Place] = {}
        self._more: dict[str, set[Place]] = {}
        self._suspects: dict[str, set[Place]] = {}
        self._seen: dict[Place, tuple[files.FileSig, float]] = {}
        self._clocks: dict[tuple[str, str], list[str]] = {}
        self.counts: dict[str, int] = dict.fromkeys(ORDER, 0)
        self.skipped: list[str] = []
        """Ids that were busy for the whole wait."""
        self.runs: dict[str, tuple[str, str, int]] = {}
        """By lease in `outputs`: when the last run under it started, its job and its attempt."""

    def run(self, on_looked: Callable[[int], None] = lambda _: None) -> None:
        """Examine every job, twice if needed; `on_looked` is called with the number of jobs so far.

        Raises:
            OSError: a stripe cannot be opened.
        """
        try:
            for state in ORDER:
                for number, name in enumerate(listed(self._spool, state), sum(self.counts.values())):
                    if number % _TELL_EVERY == 0:
                        on_looked(number)
                    self._glance(state, name)
            for (state, text), named in self._clocks.items():
                # In one finding, because a wrong clock affects thousands of records.
                some = ", ".join(named[:_NAMED]) + (", ..." if len(named) > _NAMED else "")
                self._findings.info("clock", state, f"holds {len(named)} records {text}: {some}")
            self._look_again()
        finally:
            self._stripes.close()

    def knows(self, job_id: str) -> bool:
        """Whether some file had this id, or a name that may become it."""
        return job_id.lower() in self._first

    # ----------------------------------------------------------------------------------------------- the first look

    def _glance(self, state: str, name: str) -> None:
        self.counts[state] += 1
        stem = stem_of(state, name)
        key = stem.lower()
        if self._names_only and state != RUNNING:
            self._note_id(key, state, name)
            return
        view = self._judge.view(state, name)
        if view is None:
            return
        item = view.item
        if item is None:
            if state == PENDING:
                self._first.setdefault(key, (state, name))  # workers decide about a drop
            if state != PENDING or view.error or view.data.startswith(record.OPENINGS):
                self._suspect(key, view)
            return
        if state != PENDING or item.id == stem:
            self._note_id(item.id.lower(), state, name)
        if text := self._judge.clock_fault(item):
            self._clocks.setdefault((state, text), []).append(name)
        if self._outputs:
            self._note_runs(item)
        if self._judge.fault(view) is not None:
            self._suspect(item.id.lower(), view)

    def _note_id(self, key: str, state: str, name: str) -> None:
        """Remember which file has an id; nearly every id has only one file."""
        first = self._first.setdefault(key, (state, name))
        if first != (state, name):
            self._more.setdefault(key, {first}).add((state, name))

    def _note_runs(self, item: record.Record) -> None:
        for event in item.history:
            if event.lease in self._outputs and event.at > self.runs.get(event.lease, ("", "", 0))[0]:
                self.runs[event.lease] = (event.at, item.id, event.attempt)

    def _suspect(self, key: str, view: View) -> None:
        place = (view.where.state, view.where.name)
        self._suspects.setdefault(key, set()).add(place)
        self._seen[place] = (view.sig, time.monotonic())

    # ---------------------------------------------------------------------------------------------- the second look

    def _look_again(self) -> None:
        waiting = self._suspects
        for key, places in self._more.items():
            waiting.setdefault(key, set()).update(places)
        for key, places in waiting.items():
            if key in self._first:
                places.add(self._first[key])
        deadline_s = time.monotonic() + _PATIENCE_S
        while waiting:
            final = time.monotonic() >= deadline_s
            waiting = {key: places for key, places in waiting.items() if not self._resolve(key, places, final=final)}
            if final:
                self.skipped = sorted(waiting)
                return
            if waiting:
                time.sleep(_PAUSE_S)

    def _resolve(self, key: str, places: set[Place], *, final: bool) -> bool:
        """Judge the files of one id under its stripe; return False if that is not possible at the moment."""
        with contextlib.ExitStack() as held:
            if not self._lock(key, places, held):
                return False
            views = [view for place in sorted(places) if (view := self._judge.view(*place)) is not None]
            running = [view for view in views if view.where.state == RUNNING and not view.error]
            if any(self._may_run(view) for view in running) or not self._is_quiet(views):
                return False
            if running and self._pool_lives and not final:
                return False  # a live pool may need a second to notice it (P5)
            for view in self._twins.resolve(key, views):
                self._treat(view)
        for view in running:
            self._rescue(view.where)
        return True

    def _lock(self, key: str, places: set[Place], held: contextlib.ExitStack) -> bool:
        """Take the stripes of an id and of the names that its files have."""
        ids = {key, *(stem_of(state, name) for state, name in places)}
        ids |= {names.clean_id(job_id) for job_id in ids}
        for _, job_id in sorted({names.stripe_of(job_id): job_id for job_id in ids}.items()):
            stripe = self._stripes.of(job_id)
            try:
                if not stripe.try_acquire():
                    return False
            except PermissionError:
                return False  # a lock file of another user, which is a separate finding
            held.callback(stripe.release)
        return True

    def _may_run(self, view: View) -> bool:
        """Whether a worker may run a file in running/; without a record, any held lease may be that worker's."""
        item = view.item
        if item is None and (whole := record.repair(view.data)) is not None:
            item = record.decode(whole)
        start = None if item is None else item.standing().last_start
        if start is not None:
            return is_alive(self._spool, start.lease)
        if view.item is not None:
            return False  # a claim holds the stripe, which we hold now
        folder = self._spool.lease_dir
        return any(is_held(f"{folder}/{name}") for name in self._spool.names(folder))

    def _is_quiet(self, views: list[View]) -> bool:
        """Whether no file has moved or changed since it was read; a file that is not a record, since the first pass."""
        for view in views:
            if files.sig_of(view.where.path) != view.sig:
                return False  # a worker may have settled it, which needs no stripe
            if view.item is None and view.where.state in (DONE, DLQ):
                place = (view.where.state, view.where.name)
                sig, seen_s = self._seen.setdefault(place, (view.sig, time.monotonic()))
                if sig != view.sig:
                    self._seen[place] = (view.sig, time.monotonic())
                    return False
                if time.monotonic() - seen_s < _LOOK_AGAIN_S:
                    return False
        return True

    # ------------------------------------------------------------------------------------------------- one file

    def _treat(self, view: View) -> None:
        """Report the faults of a file, and repair them one after the other."""
        for _ in range(_FAULTS_AT_MOST):
            fault = self._judge.fault(view)
            if fault is None or fault.code == "orphan":
                return
            if fault.code == "drop" and view.item is not None and self.knows(view.item.id):
                return  # the next claim adopts it under another id
            where = self._report(view, fault)
            found = None if where is None else self._judge.view(where.state, where.name)
            if found is None:
                return
            view = found

    def _report(self, view: View, fault: Fault) -> Located | None:
        """Report a fault; return the new place of the file if it was repaired."""
        code, text, data, target = fault
        if code in ("foreign", "later", "parked"):
            self._findings.info(code, view.shown, text)
        elif code in ("torn", "edited"):
            repair = "cut back to its last whole event" if code == "torn" else "rewritten in the right layout"
            lost = code == "torn" and record.loses_events(view.data, data)
            act = partial(self._repairs.rewrite, view, fault)
            if self._findings.problem(code, view.shown, text, Repair(repair, act), needs_person=lost):
                return view.where
        elif code == "damaged":
            act = partial(self._repairs.set_aside, view, f"it {text}", "restore it from a backup, or delete both files")
            self._findings.problem(code, view.shown, text, Repair(f"moved to {REJECTED}/", act), needs_person=True)
        elif target is not None:
            note = self._findings.info if code == "drop" else self._findings.problem
            repair = f"moved to {target.state}/{target.name}"
            if note(code, view.shown, text, Repair(repair, partial(self._repairs.move, view, target))):
                return target
        else:
            self._findings.problem(code, view.shown, text)
        return None

    def _rescue(self, here: Located) -> None:
        """Rescue a run without a worker, as pools do. Call this without the stripe, because the rescue takes it."""
        view = self._judge.view(here.state, here.name)
        if view is None:
            return
        fault = self._judge.fault(view)
        if fault is not None and fault.code == "orphan":
            self._findings.problem(
                "orphan",
                view.shown,
                fault.text,
                Repair("rescued", partial(self._rescued, here.name)),
            )

    def _rescued(self, name: str) -> str:
        settled = self._orphans.rescue(name)
        if settled is None:
            raise GoneError
        if settled.to == DLQ:
            error_text.write(self._session, settled.name)
        return f"it is now {settled.to}/{settled.name}"


def listed(spool: SpoolDir, state: str) -> list[str]:
    """Return the names of job files in a state's folder; none if it cannot be listed, which is a separate finding."""
    try:
        if state != PENDING:
            return spool.job_names(state)
        return [name for name in spool.waiting_names() if names.parse(name) is not None]
    except OSError:
        return []
