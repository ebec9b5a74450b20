"""Go once through a folder of the spool: count its jobs, keep the last names, set foreign files apart. Opens no file.

This takes steps of about 1 ms (`steps`), so that a supervisor can go on with its work between them.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from queuectl.model import names
from queuectl.model.lifecycle import DLQ, PENDING, REJECTED
from queuectl.model.run_order import NO_TURNS, Turns
from queuectl.monitor import arriving, dependents, order
from queuectl.monitor.group_tally import GroupTally
from queuectl.monitor.groups import OwnersOfNames
from queuectl.monitor.queues import Waits
from queuectl.monitor.steps import Steps
from queuectl.monitor.usual_names import UsualNames, split_plain
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import CANCELLED_ENDING
from queuectl.spool.listing import is_foreign, may_be_job
from queuectl.system import files

# Names per step: about 1 ms.
NAMES_A_STEP = 1000
# Rows of held jobs, at most.
HELD_ROWS = 60


class Scope(NamedTuple):
    """How much to open, keep and show."""

    rows: int
    """Rows of a table, at most ..."""
    runs: int
    """... and rows of running jobs, at most."""
    has_finishes: bool
    """Whether to read the newest jobs in done/ and dlq/ for throughput and durations, and the output of dead jobs."""
    names_foreign: bool
    """Whether to name foreign files, and not only count them."""
    asks_judged: bool
    """Whether to read a drop again that a pool has judged: its writer may be rewriting it."""
    opened: int
    """Waiting files without a time in their names that are opened, at most, to find the oldest ..."""
    opened_bytes: int
    """... and how many bytes of them are read, at most, to find incomplete files."""
    kept: int
    """Names of a folder that are kept, at most: the last by name, as new generated ids are."""
    asked: int
    """With more kept names than this, no file is asked for its time: "newest" goes by name."""
    record_bytes: int
    """A larger record is counted but not shown."""
    text_chars: int
    """A longer text is cut."""
    patience_s: float
    """For how long to retry a record that another process has open (Windows)."""


class Listing(msgspec.Struct, frozen=True):
    """The result for a folder."""

    total: int
    kept: list[str]
    first: str
    """The first by name: with generated ids, the oldest."""
    foreign: int
    copies: int
    foreign_names: list[str]
    """Empty unless the scope asks for them."""
    cancelled: int = 0


class Waiting(msgspec.Struct, frozen=True):
    """The result for pending/."""

    listing: Listing
    ready: int
    later: int
    held: int
    first: list[tuple[float, str]]
    """The jobs that are due next, with their instants."""
    nexts: list[str]
    """The jobs that run next, in this order."""
    untold: list[str]
    """Some drops that could run and whose names do not say their priority."""
    held_names: list[str]
    """The first held jobs by name."""
    last_due_at: float | None
    oldest: list[str]
    """Names of jobs, one of which has waited longest."""
    drops: list[str]
    """Names of files that may be incomplete."""
    owners: dict[str, int]
    """How many jobs each owner has, by their names."""
    queues: Waits
    """How many jobs each queue has, by their names."""
    blocked: int = 0
    """How many jobs wait for another job."""


class _Others:
    """The foreign files of a folder."""

    def __init__(self, state: str, *, is_named: bool) -> None:
        self._state = state
        self._is_named = is_named
        self.count = self.copies = 0
        self.names: list[str] = []

    def take_out(self, listed: list[str]) -> list[str]:
        """Note the foreign files among some names and return the names of jobs."""
        found, foreign = _apart(self._state, listed)
        self.count += len(foreign)
        self.copies += sum(map(names.is_copy, foreign))
        if self._is_named:
            self.names += foreign
        return found

    def listing(self, total: int, kept: list[str], first: str, cancelled: int) -> Listing:
        return Listing(total, kept, first, self.count, self.copies, sorted(self.names), cancelled)


def scan(spool: SpoolDir, state: str, scope: Scope, tally: GroupTally | None = None) -> Steps[Listing]:
    """Go through a folder other than pending/; jobs of groups are added to `tally`. Raises OSError."""
    count = 0
    kept: list[str] = []
    texts: list[str] = []
    first = ""
    others = _Others(state, is_named=scope.names_foreign)
    for some in _names(spool, state):
        generated, rest = names.split_generated(some)
        if rest and tally is not None:
            tally.add(state, rest)
        plain, rest = split_plain(rest)
        found = others.take_out(rest)
        if state == DLQ and len(found) < len(rest):
            texts += [name for name in rest if name.endswith(CANCELLED_ENDING)]
        found += generated
        found += plain
        count += len(found)
        kept += found
        first = min([first, *found] if first else found, default="")
        if len(kept) > 2 * scope.kept:
            kept.sort(reverse=True)
            del kept[scope.kept :]
        yield
    kept.sort(reverse=True)
    cancelled = len(texts)
    if texts and count == len(kept):  # a text may have outlived its job
        jobs = {name.removesuffix(".json") for name in kept}
        cancelled = sum(name.removesuffix(CANCELLED_ENDING) in jobs for name in texts)
    return others.listing(count, kept[: scope.kept], first, min(count, cancelled))


def scan_waiting(
    spool: SpoolDir,
    scope: Scope,
    now_at: float,
    *,
    next_rows: int,
    turns: Turns = NO_TURNS,
    tally: GroupTally | None = None,
) -> Steps[Waiting]:
    """Go through pending/; the first `next_rows` that run next are found, and jobs of groups are added to `tally`.

    Raises OSError.
    """
    usual = UsualNames(now_at, rows=next_rows, dues=scope.rows)
    count = ready = later = held = blocked = 0
    first: list[tuple[float, str]] = []
    last_due_at: float | None = None
    oldest_key = ""
    nexts: list[str] = []
    untold: list[str] = []
    held_names: list[str] = []
    timeless: list[str] = []
    judged: list[str] = []
    owners, waits = OwnersOfNames(), Waits(turns.limits)
    others = _Others(PENDING, is_named=scope.names_foreign)
    if next_rows:
        from queuectl.spool import full_names  # only who asks for what runs next
    for some in _names(spool, PENDING):
        generated, rest = names.split_generated(some)
        usual.add_generated(generated)
        if rest and tally is not None:
            tally.add(PENDING, rest)
        rest, dropped = usual.take_out(rest)
        found = others.take_out(rest)
        if waits_for := dependents.blocked(found):
            count, blocked = count + len(waits_for), blocked + len(waits_for)
            found = [name for name in found if name not in waits_for]
        could_run, dues = order.split_by_time(found, now_at)
        if held_here := len(found) - len(could_run) - len(dues):
            held += held_here
            if next_rows:
                held_names = heapq.nsmallest(HELD_ROWS, [*held_names, *filter(names.is_held, found)])
        count += len(found)
        owners.add(found)
        waits.add(found)
        ready, later = ready + len(could_run), later + len(dues)
        if dues:
            first = heapq.nsmallest(scope.rows, [*first, *dues])
            last_due_at = max(last_due_at or 0.0, max(dues)[0])
        if next_rows:
            nexts = order.next_to_run([*nexts, *could_run], now_at, next_rows, turns)
            if len(untold) < scope.opened:
                untold += islice(filter(full_names.is_unjudged, could_run), scope.opened - len(untold))
        for name in could_run:
            if key := order.arrival_key(name):
                oldest_key = key if not oldest_key or key < oldest_key else oldest_key
            elif len(timeless) < scope.opened:
                timeless.append(name)
        if scope.asks_judged and len(judged) < scope.opened:
            asked = filter(arriving.may_arrive, (*dropped, *could_run))
            judged += islice(asked, scope.opened - len(judged))
        yield
    owners.add_ends(usual.ends)
    waits.add_plain(usual.ready + usual.later)
    oldest_key = min(filter(None, (oldest_key, usual.oldest_key)), default="")
    oldest = order.oldest_names(oldest_key, timeless)
    listing = others.listing(count + usual.ready + usual.later, [], "", 0)
    return Waiting(
        listing,
        ready=ready + usual.ready,
        later=later + usual.later,
        held=held,
        first=heapq.nsmallest(scope.rows, [*first, *usual.first()]),
        nexts=usual.nexts(nexts, turns) if next_rows else [],
        untold=untold,
        held_names=held_names,
        last_due_at=max((at for at in (last_due_at, usual.last_due_at) if at is not None), default=None),
        oldest=oldest,
        drops=judged if scope.asks_judged else list(filter(arriving.may_arrive, oldest)),
        owners=owners.jobs(),
        queues=waits,
        blocked=blocked,
    )


def _names(spool: SpoolDir, state: str) -> Iterator[list[str]]:
    """Yield the names in a folder, some at a time."""
    try:
        listed = os.scandir(spool.folder(state))
    except FileNotFoundError:
        if not spool.lacks_folders:
            raise
        yield []
        return
    with listed as entries:
        while some := list(islice(entries, NAMES_A_STEP)):
            yield files.listed_names(some)


def _apart(state: str, listed: list[str]) -> tuple[list[str], list[str]]:
    """Return the names of jobs and those of foreign files, by the rules of `SpoolDir.listing`."""
    found = [name for name in listed if may_be_job(name)]
    if len(found) == len(listed) and state in (PENDING, REJECTED):
        return found, []
    foreign = [name.removesuffix("/") for name in listed if is_foreign(name) and not may_be_job(name)]
    if state in (PENDING, REJECTED):
        return found, foreign
    # A batch is a job's file in pending/ and rejected/ only, and a record never has its ending in capitals.
    foreign += [name for name in found if not name.endswith(".json") and not names.is_batch(name)]
    return [name for name in found if name.endswith(".json")], foreign
