"""Taking a snapshot of a spool in small steps, between other work of a supervisor's loop. Only looks.

However many jobs there are: each folder is listed once, a bounded number of names of it is kept, and a bounded number
of files is opened. What was read is remembered for as long as the file stays as it is. The jobs move meanwhile, so a
count may be off by those that moved: a snapshot is for looking at, nothing is decided by it.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from queuectl.errors import DamagedRecordError
from queuectl.inbox import state as inboxstate
from queuectl.jobs import foresight
from queuectl.model import names, record
from queuectl.model.lifecycle import COUNTED, DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.text import command_text, printed_lines
from queuectl.monitor import arriving as incoming
from queuectl.monitor import inboxes, status
from queuectl.monitor.inboxes import InboxRow
from queuectl.monitor.rows import ROWS, ArrivingRow, DueRow, FailureRow, Finish, NextRow, PoolRow, RefusalRow, RunRow
from queuectl.monitor.snapshot import Snapshot
from queuectl.spool import clock_note, lease
from queuectl.spool.folder import CANCELLED_ENDING, REASON_ENDING, SpoolDir, is_foreign, may_be_job
from queuectl.system import files, sharing

# Names of a folder that are asked for their time, at most: those that come last, as generated ids do that are new.
_KEPT = 5000
# Waiting files with names that do not tell their time that are opened to find the oldest, at most.
_OPENED = 100
# Names gone through in a step, some 1 ms; and files asked for their time.
_NAMES_A_STEP = 1000
_STATS_A_STEP = 100
# A record is some 1 KiB. A larger one is counted and not shown.
_RECORD_BYTES = 256 * 1024
_TEXT_CHARS = 400
_OUTPUT_BYTES = 4096
_OUTPUT_LINES = 6

T = TypeVar("T")
Steps = Generator[None, None, T]


class Ended(NamedTuple):
    """What a record in done/ or dlq/ tells."""

    finish: Finish | None
    failure: FailureRow | None


class _Listing(NamedTuple):
    total: int
    kept: list[str]
    first: str
    """The first by name: where ids are generated, the oldest."""
    foreign: int
    copies: int
    cancelled: int = 0


class _Waiting(NamedTuple):
    listing: _Listing
    ready: int
    later: int
    held: int
    first: list[tuple[float, str]]
    """Those that are due next, with when."""
    nexts: list[str]
    """Those that run next, in that order."""
    last_due_at: float | None
    candidates: list[str]
    """Names that may be the one that has waited longest."""


class Survey:
    """Takes snapshots of one spool.

    `is_full` False leaves out every text of a job. `next_rows` of the jobs that run next are looked at; without, none
    of them is opened. `default_timeout_s` is the timeout of jobs that have none (the setting).
    """

    def __init__(
        self, spool: SpoolDir, *, is_full: bool, next_rows: int = 0, default_timeout_s: float | None = None
    ) -> None:
        self._spool = spool
        self._is_full = is_full
        self._next_rows = next_rows
        self._default_timeout_s = default_timeout_s
        self._ended_since: dict[str, float] = {}
        self._known: dict[tuple[str, str], tuple[files.FileSig, Any]] = {}
        self._used: dict[tuple[str, str], tuple[files.FileSig, Any]] = {}

    def marks(self) -> tuple[files.FileSig | None, ...]:
        """What differs after a file came, went or was renamed: a few stats."""
        spool = self._spool
        folders = [spool.folder(state) for state in (PENDING, RUNNING, DONE, DLQ, REJECTED)]
        return tuple(files.sig_of(path) for path in (*folders, spool.pool_dir, spool.inbox_dir, spool.paused_path))

    def look(self, now_at: float) -> Steps[Snapshot]:
        """Take a snapshot; each step is a millisecond or few (of a local disk).

        Raises:
            OSError: a folder cannot be listed.
        """
        spool = self._spool
        self._used = {}
        self._ended_since = {}
        waiting = yield from self._look_at_waiting(now_at)
        running = yield from self._list(RUNNING)
        done = yield from self._list(DONE)
        dead = yield from self._list(DLQ)
        refused = yield from self._list(REJECTED)
        arriving = yield from self._arriving(waiting.candidates, now_at)
        blocked = {row.name for row in arriving}
        could_run = max(0, waiting.ready - len(arriving))
        oldest_since, oldest_id = yield from self._oldest([name for name in waiting.candidates if name not in blocked])
        pools = tuple(
            PoolRow(each.pool, each.host, each.pid, each.count, each.started_at) for each in status.live_pools(spool)
        )
        yield
        runs = yield from self._runs(sorted(running.kept)[:ROWS], some_pool_lives=bool(pools))
        ended_well = yield from self._ended(DONE, done)
        ended_badly = yield from self._ended(DLQ, dead)
        dues = (yield from self._dues(waiting.first)) if self._is_full else ()
        nexts = (yield from self._nexts(waiting.nexts)) if self._is_full else ()
        refusals = (yield from self._refusals(refused.kept)) if self._is_full else ()
        finishes = [each.finish for each in (*ended_well, *ended_badly) if each.finish is not None]
        finishes.sort(key=lambda each: each.ended_at)
        self._known, self._used = self._used, {}
        paused = self._pause_reason()
        counted = ((PENDING, waiting.listing), (RUNNING, running), (DONE, done), (DLQ, dead), (REJECTED, refused))
        return Snapshot(
            path=spool.root,
            taken_at=now_at,
            is_full=self._is_full,
            paused=paused,
            paused_until=None if paused is None else spool.paused_until(),
            counts={state: listing.total for state, listing in counted},
            ready=could_run if paused is None else 0,
            stopped=0 if paused is None else could_run,
            blocked=len(arriving),
            settings_changed=status.settings_changed(spool, pools),
            later=waiting.later,
            held=waiting.held,
            next_due_at=waiting.first[0][0] if waiting.first else None,
            last_due_at=waiting.last_due_at,
            oldest_id=oldest_id if self._is_full else "",
            oldest_since=oldest_since,
            longest_since=min((run.started_at for run in runs if run.started_at is not None), default=None),
            pools=pools,
            runs=runs if self._is_full else (),
            failures=tuple(each.failure for each in ended_badly if each.failure is not None) if self._is_full else (),
            dues=dues,
            refusals=refusals,
            foreign={state: listing.foreign for state, listing in counted if listing.foreign},
            copies={state: listing.copies for state, listing in counted if listing.copies},
            arriving=tuple(row._replace(name=_cut(row.name), why=_cut(row.why)) for row in arriving)
            if self._is_full
            else (),
            finishes=tuple(finishes[-ROWS:]),
            ended_since=self._ended_since,
            nexts=nexts,
            inboxes=self._inboxes(),
            retention_waits=clock_note.waiting(spool, now_at=now_at),
            cancelled=dead.cancelled,
        )

    def _inboxes(self) -> tuple[InboxRow, ...]:
        states = inboxstate.read_all(self._spool)[:ROWS]
        return tuple(inboxes.row(state if self._is_full else inboxes.without_texts(state)) for state in states)

    # ---------------------------------------------------------------------------------------------------- listings

    def _names(self, state: str) -> Iterator[list[str]]:
        """The names in a folder, some at a time."""
        try:
            listed = os.scandir(self._spool.folder(state))
        except FileNotFoundError:
            if not self._spool.lacks_folders:
                raise
            yield []
            return
        with listed as entries:
            some: list[str] = []
            for entry in entries:
                some.append(files.listed_name(entry))
                if len(some) == _NAMES_A_STEP:
                    yield some
                    some = []
            yield some

    def _list(self, state: str) -> Steps[_Listing]:
        count = foreign = copies = cancelled = 0
        kept: list[str] = []
        first = ""
        for some in self._names(state):
            generated, others = names.split_generated(some)
            # A batch is a job's file in rejected/ only: elsewhere it is neither counted nor ours to judge.
            found = [name for name in others if may_be_job(name)]
            if state != REJECTED:
                found = [name for name in found if not names.is_batch(name)]
            strangers = _foreign(others, found)
            foreign, copies = foreign + len(strangers), copies + sum(map(names.is_copy, strangers))
            if state == DLQ and len(found) < len(others):
                cancelled += sum(name.endswith(CANCELLED_ENDING) for name in others)
            found += generated
            count += len(found)
            kept += found
            first = min([first, *found] if first else found, default="")
            if len(kept) > 2 * _KEPT:
                kept.sort(reverse=True)
                del kept[_KEPT:]
            yield
        kept.sort(reverse=True)
        # A text whose job has just gone is taken away soon.
        return _Listing(count, kept[:_KEPT], first, foreign, copies, min(count, cancelled))

    def _look_at_waiting(self, now_at: float) -> Steps[_Waiting]:
        count = foreign = copies = ready = later = held = 0
        first: list[tuple[float, str]] = []
        last_due_at: float | None = None
        told = ""
        others: list[str] = []
        nexts: list[str] = []
        untold: list[str] = []  # drops, whose names do not tell their priority
        for some in self._names(PENDING):
            generated, rest = names.split_generated(some)
            found = [name for name in rest if may_be_job(name)]
            strangers = _foreign(rest, found)
            foreign, copies = foreign + len(strangers), copies + sum(map(names.is_copy, strangers))
            could_run, dues = status.split_by_time(found, now_at)
            held += len(found) - len(could_run) - len(dues)
            count += len(generated) + len(found)
            ready, later = ready + len(generated) + len(could_run), later + len(dues)
            if dues:
                first = heapq.nsmallest(ROWS, [*first, *dues])
                last_due_at = max(last_due_at or 0.0, max(dues)[0])
            if self._next_rows:
                nexts = status.next_to_run([*nexts, *generated, *could_run], now_at, self._next_rows)
                if len(untold) < _OPENED:
                    untold += islice(filter(foresight.is_untold, could_run), _OPENED - len(untold))
            if generated:  # each is its own `report.arrival_key`
                told = min([told, *generated] if told else generated)
            for name in could_run:
                if key := status.arrival_key(name):
                    told = key if not told or key < told else told
                elif len(others) < _OPENED:
                    others.append(name)
            yield
        if untold:
            nexts = yield from self._with_drops(nexts, untold, now_at)
        candidates = status.oldest_names(told, others)
        listing = _Listing(count, [], "", foreign, copies)
        return _Waiting(listing, ready, later, held, first, nexts, last_due_at, candidates)

    def _with_drops(self, nexts: list[str], untold: list[str], now_at: float) -> Steps[list[str]]:
        """The names that run next when a pool has judged the drops in `untold` as well."""
        plain: dict[str, str] = {}
        for name in untold:
            yield
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is not None:
                full_name = self._remembered("full_name", name, sig, foresight.foresee, self._spool, name, now_at)
                plain[full_name] = name
        ready, _ = status.split_by_time(plain, now_at)
        dropped = set(plain.values())
        others = [name for name in nexts if name not in dropped]
        return [plain.get(name, name) for name in status.next_to_run([*others, *ready], now_at, self._next_rows)]

    def _newest(self, state: str, listed: list[str], limit: int) -> Steps[tuple[list[tuple[str, files.FileSig]], int]]:
        """The files that changed last of those listed (see `report.newest_first`), and when the first of all did."""
        found: list[tuple[int, str, files.FileSig]] = []
        for number, name in enumerate(listed):
            sig = files.sig_of(self._spool.path(state, name))
            if sig is not None:
                found.append((sig.mtime_ns, name, sig))
            if number % _STATS_A_STEP == 0:
                yield
        return [(name, sig) for _, name, sig in heapq.nlargest(limit, found)], min(found)[0] if found else 0

    # ------------------------------------------------------------------------------------------------------ details

    def _remembered(self, kind: str, name: str, sig: files.FileSig, find: Callable[..., T], *facts: Any) -> T:
        """What `find(*facts)` finds in a file; asked again only when the file has changed."""
        key = (kind, name)
        known = self._known.get(key)
        if known is None or known[0] != sig:
            known = (sig, find(*facts))
        self._used[key] = known
        made: T = known[1]
        return made

    def _read(self, state: str, name: str, sig: files.FileSig) -> record.Record | None:
        """A record, or None for one that moved on, is no record, or is not to be read now."""
        if sig.size > _RECORD_BYTES:
            return None
        try:
            return self._spool.read(state, name, patience_s=sharing.GLANCE_S).record
        except (OSError, DamagedRecordError):
            return None

    def _oldest(self, candidates: list[str]) -> Steps[tuple[float | None, str]]:
        found: list[tuple[float, str]] = []
        for name in candidates:
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is not None:
                pair = self._remembered("oldest", name, sig, status.since, self._spool, name)
                if pair is not None:
                    found.append(pair)
            yield
        return min(found, default=(None, ""))

    def _arriving(self, candidates: list[str], now_at: float) -> Steps[tuple[ArrivingRow, ...]]:
        found: list[ArrivingRow] = []
        for name in filter(incoming.may_arrive, candidates):
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is not None:
                why = self._remembered("arriving", name, sig, incoming.why_not_whole, self._spool, name, sig)
                row = incoming.row_of(self._spool, name, why, now_at)
                if row is not None:
                    found.append(row)
            yield
        return tuple(sorted(found))

    def _runs(self, listed: list[str], *, some_pool_lives: bool) -> Steps[tuple[RunRow, ...]]:
        found: list[RunRow] = []
        for name in listed:
            yield
            sig = files.sig_of(self._spool.path(RUNNING, name))
            if sig is None:
                continue
            known = self._remembered(RUNNING, name, sig, self._run, name, sig)
            if known is not None:
                row, held = known
                found.append(row._replace(is_alive=some_pool_lives or lease.is_alive(self._spool, held)))
        return tuple(found)

    def _run(self, name: str, sig: files.FileSig) -> tuple[RunRow, str] | None:
        item = self._read(RUNNING, name, sig)
        start = record.standing(item).last_start if item is not None else None
        if item is None or start is None:
            return None  # claimed this instant
        command = _cut(command_text(item.command))
        since = status.instant(start.at)
        timeout_s = self._default_timeout_s if item.timeout is None else item.timeout
        return RunRow(item.id, start.attempt, _cut(start.worker), since, timeout_s, command, True), start.lease

    def _ended(self, state: str, listing: _Listing) -> Steps[list[Ended]]:
        """What the newest records of done/ or dlq/ tell, newest first."""
        newest, oldest_ns = yield from self._newest(state, listing.kept, ROWS)
        first = files.sig_of(self._spool.path(state, listing.first)) if listing.total > len(listing.kept) else None
        oldest_ns = min(oldest_ns, first.mtime_ns) if oldest_ns and first is not None else oldest_ns
        if oldest_ns:
            self._ended_since[state] = oldest_ns / 1e9
        found: list[Ended] = []
        for name, sig in newest:
            found.append(self._remembered(state, name, sig, self._end, state, name, sig))
            yield
        return found

    def _end(self, state: str, name: str, sig: files.FileSig) -> Ended:
        item = self._read(state, name, sig)
        if item is None:
            return Ended(None, None)
        standing = record.standing(item)
        last = standing.last
        ended_at = None if last is None else status.instant(last.at)
        finish = None
        if last is not None and ended_at is not None and (last.event in COUNTED or last.event == "succeeded"):
            finish = Finish(ended_at, last.duration_s, state == DONE)
        if state != DLQ or not self._is_full:
            return Ended(finish, None)
        attempt = standing.last_start.attempt if standing.last_start is not None else 0
        error = standing.error or (last.event if last is not None else "")
        output = self._output(item.id, attempt)
        command = _cut(command_text(item.command))
        row = FailureRow(item.id, ended_at, attempt, _cut(error), command, output, standing.is_cancelled)
        return Ended(finish, row)

    def _output(self, job_id: str, attempt: int) -> tuple[str, ...]:
        """The last lines that a run printed. Of a line that was written over (a progress bar) the last state."""
        try:
            data = files.read_tail(self._spool.log_path(job_id, attempt), _OUTPUT_BYTES)
        except OSError:
            return ()
        lines = printed_lines(data, is_cut=len(data) == _OUTPUT_BYTES)
        return tuple(_cut(line) for line in [line for line in lines if line.strip()][-_OUTPUT_LINES:])

    def _dues(self, first: list[tuple[float, str]]) -> Steps[tuple[DueRow, ...]]:
        found: list[DueRow] = []
        for due_at, name in first:
            yield
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is None:
                continue
            row = self._remembered(PENDING, name, sig, self._due, name, due_at, sig)
            if row is not None:
                found.append(row)
        return tuple(found)

    def _due(self, name: str, due_at: float, sig: files.FileSig) -> DueRow | None:
        item = self._read(PENDING, name, sig)
        if item is None:
            return None
        standing = record.standing(item)
        return DueRow(item.id, due_at, standing.failures, item.max_retries, _cut(standing.error))

    def _nexts(self, listed: list[str]) -> Steps[tuple[NextRow, ...]]:
        found: list[NextRow] = []
        for name in listed:
            yield
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is not None:
                found.append(self._remembered("next", name, sig, self._next, name, sig))
        return tuple(found)

    def _next(self, name: str, sig: files.FileSig) -> NextRow:
        parts = names.parse(name)
        item = None if names.is_batch(name) else self._read(PENDING, name, sig)
        if item is None:
            return NextRow(_cut(name if parts is None else parts.stem), 0, 0, "")
        command = _cut(command_text(item.command))
        return NextRow(item.id, record.standing(item).failures, item.priority, command)

    def _refusals(self, listed: list[str]) -> Steps[tuple[RefusalRow, ...]]:
        newest, _ = yield from self._newest(REJECTED, [name + REASON_ENDING for name in listed], ROWS)
        found: list[RefusalRow] = []
        for reason_name, sig in newest:
            name = reason_name.removesuffix(REASON_ENDING)
            found.append(self._remembered(REJECTED, name, sig, self._refusal, name))
            yield
        return tuple(found)

    def _refusal(self, name: str) -> RefusalRow:
        found = status.refusal(self._spool, name)
        return RefusalRow(_cut(found.name), _cut(found.why), found.rejected_at)

    def _pause_reason(self) -> str | None:
        if not self._spool.is_paused():
            return None
        return _cut(self._spool.pause_reason()) if self._is_full else ""


def _foreign(some: list[str], found: list[str]) -> list[str]:
    """Those of some names that are foreign, where `found` are the jobs among them."""
    if len(found) == len(some):
        return []
    return [name for name in some if is_foreign(name) and not may_be_job(name)]


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS else text[:_TEXT_CHARS] + "..."
