"""Takes a snapshot of a spool in small steps, between other work of a supervisor's loop. Only looks.

However many jobs there are: each folder is listed once, a bounded number of names of it is kept, and a bounded number
of files is opened; `Scope` has the bounds. What was read is remembered for as long as the file stays as it is. The jobs
move meanwhile, so a count may be off by those that moved: a snapshot is for looking at, nothing is decided by it.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from queuectl.errors import DamagedRecordError
from queuectl.inbox import state
from queuectl.model import names, record
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.lifecycle import COUNTED, DLQ, DONE, PENDING, REJECTED, RUNNING, SUCCEEDED
from queuectl.model.text import command_text, printed_lines
from queuectl.model.times import instant
from queuectl.monitor import arriving, inboxes, listing, live, order, rejected
from queuectl.monitor.inboxes import InboxRow
from queuectl.monitor.listing import Listing, Scope, Waiting
from queuectl.monitor.rows import ROWS, DueRow, FailureRow, Finish, NextRow, RefusalRow, RunRow
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.steps import Steps
from queuectl.spool import clock_note, pause
from queuectl.spool.folder import RECORD_MAX_BYTES, SpoolDir
from queuectl.spool.layout import REASON_ENDING
from queuectl.system import files, sharing

_OPENED = 100
_KEPT = 5000
# What the dashboard and `queuectl top` show. A record is some 1 KiB.
PAGE = Scope(
    rows=ROWS,
    runs=ROWS,
    has_finishes=True,
    names_foreign=False,
    asks_judged=False,
    opened=_OPENED,
    opened_bytes=_OPENED * JOB_MAX_BYTES,
    kept=_KEPT,
    asked=_KEPT,
    record_bytes=256 * 1024,
    text_chars=400,
    patience_s=sharing.GLANCE_S,
)
# What `queuectl status` shows: fewer rows, each text in full.
STATUS = Scope(
    rows=5,
    runs=256,
    has_finishes=False,
    names_foreign=True,
    asks_judged=True,
    opened=200,
    opened_bytes=16 * 1024 * 1024,
    kept=order.STAT_AT_MOST + 1,
    asked=order.STAT_AT_MOST,
    record_bytes=RECORD_MAX_BYTES,
    text_chars=sys.maxsize,
    patience_s=sharing.SHARING_DEADLINE_S,
)
# Files asked for their time in a step.
_STATS_A_STEP = 100
_OUTPUT_BYTES = 4096
_OUTPUT_LINES = 6

T = TypeVar("T")


class _Ended(NamedTuple):
    """What a record in done/ or dlq/ says."""

    finish: Finish | None
    failure: FailureRow | None


class Survey:
    """Takes snapshots of one spool.

    `is_full` False leaves out every text of a job. `next_rows` of the jobs that run next are looked at; without, none
    of them is opened. `default_timeout_s` is the timeout of jobs that have none (the setting).
    """

    def __init__(
        self,
        spool: SpoolDir,
        *,
        is_full: bool,
        scope: Scope = PAGE,
        next_rows: int = 0,
        default_timeout_s: float | None = None,
    ) -> None:
        self._spool = spool
        self._scope = scope
        self._is_full = is_full
        self._next_rows = next_rows
        self._default_timeout_s = default_timeout_s
        self._ended_since: dict[str, float] = {}
        self._known: dict[tuple[str, str], tuple[files.FileSig, Any]] = {}
        self._used: dict[tuple[str, str], tuple[files.FileSig, Any]] = {}

    def marks(self) -> tuple[files.FileSig | None, ...]:
        """Return what differs after a file came, went or was renamed: a few stats."""
        spool = self._spool
        folders = [spool.folder(state) for state in (PENDING, RUNNING, DONE, DLQ, REJECTED)]
        return tuple(files.sig_of(path) for path in (*folders, spool.pool_dir, spool.inbox_dir, spool.paused_path))

    def take(self, now_at: float) -> Steps[Snapshot]:
        """Take a snapshot; each step is a millisecond or few (of a local disk).

        Raises:
            OSError: a folder cannot be listed.
        """
        spool = self._spool
        self._used = {}
        self._ended_since = {}
        waiting = yield from listing.scan_waiting(spool, self._scope, now_at, next_rows=self._next_rows)
        running = yield from listing.scan(spool, RUNNING, self._scope)
        done = yield from listing.scan(spool, DONE, self._scope)
        dead = yield from listing.scan(spool, DLQ, self._scope)
        refused = yield from listing.scan(spool, REJECTED, self._scope)
        coming = yield from arriving.collect(
            spool, waiting.drops, now_at, at_most_bytes=self._scope.opened_bytes, ask=self._why_not_whole
        )
        blocked = {row.name for row in coming}
        could_run = max(0, waiting.ready - len(coming))
        oldest_since, oldest_id = yield from self._oldest([name for name in waiting.oldest if name not in blocked])
        pools = live.rows(spool)
        yield
        runs = yield from self._runs(sorted(running.kept)[: self._scope.runs], some_pool_lives=bool(pools))
        ended_well = (yield from self._ended(DONE, done)) if self._scope.has_finishes else []
        ended_badly = yield from self._ended(DLQ, dead)
        dues = (yield from self._dues(waiting.first)) if self._is_full else ()
        nexts = (yield from self._nexts(waiting, now_at)) if self._is_full else ()
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
            paused_until=None if paused is None else pause.until(spool),
            counts={folder: listed.total for folder, listed in counted},
            ready=could_run if paused is None else 0,
            stopped=0 if paused is None else could_run,
            blocked=len(coming),
            settings_changed=live.settings_changed(spool, pools),
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
            foreign={folder: listed.foreign for folder, listed in counted if listed.foreign},
            foreign_names={folder: listed.foreign_names for folder, listed in counted if listed.foreign_names},
            copies={folder: listed.copies for folder, listed in counted if listed.copies},
            arriving=tuple(row._replace(name=self._cut(row.name), why=self._cut(row.why)) for row in coming)
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
        found = state.read_all(self._spool)[:ROWS]
        return tuple(inboxes.row(each if self._is_full else inboxes.without_texts(each)) for each in found)

    def _why_not_whole(self, name: str, sig: files.FileSig) -> str:
        return self._remembered("arriving", name, sig, arriving.why_not_whole, self._spool, name, sig)

    def _with_drops(self, nexts: list[str], untold: list[str], now_at: float) -> Steps[list[str]]:
        """Return the names that run next when a pool has judged the drops in `untold` as well."""
        from queuectl.spool import full_names  # only `queuectl top` asks

        plain: dict[str, str] = {}
        for name in untold:
            yield
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is not None:
                full_name = self._remembered("full_name", name, sig, full_names.read, self._spool, name, now_at)
                plain[full_name] = name
        ready, _ = order.split_by_time(plain, now_at)
        dropped = set(plain.values())
        others = [name for name in nexts if name not in dropped]
        return [plain.get(name, name) for name in order.next_to_run([*others, *ready], now_at, self._next_rows)]

    def _newest(self, state: str, listed: list[str]) -> Steps[tuple[list[tuple[str, files.FileSig | None]], int]]:
        """The files that changed last of those listed, and when the first of all did. Files that are gone come last.

        Of very many it is those with the last names, as in `order.newest_first`.
        """
        is_by_name = len(listed) > self._scope.asked
        if is_by_name:
            listed = sorted(listed, reverse=True)[: self._scope.rows]
        found: list[tuple[int, str, files.FileSig | None]] = []
        for number, name in enumerate(listed):
            sig = files.sig_of(self._spool.path(state, name))
            found.append((0 if sig is None else sig.mtime_ns, name, sig))
            if number % _STATS_A_STEP == 0:
                yield
        newest = found if is_by_name else heapq.nlargest(self._scope.rows, found)
        return [(name, sig) for _, name, sig in newest], min((each[0] for each in found if each[2]), default=0)

    # ------------------------------------------------------------------------------------------------------ details

    def _remembered(self, kind: str, name: str, sig: files.FileSig, find: Callable[..., T], *facts: Any) -> T:
        """Return what `find(*facts)` finds in a file; asked again only when the file has changed."""
        key = (kind, name)
        known = self._known.get(key)
        if known is None or known[0] != sig:
            known = (sig, find(*facts))
        self._used[key] = known
        made: T = known[1]
        return made

    def _read(self, state: str, name: str, sig: files.FileSig) -> record.Record | None:
        """Return a record, or None for one that moved on, is no record, or is not to be read now."""
        if sig.size > self._scope.record_bytes:
            return None
        try:
            return self._spool.read(state, name, patience_s=self._scope.patience_s).record
        except (OSError, DamagedRecordError):
            return None

    def _oldest(self, candidates: list[str]) -> Steps[tuple[float | None, str]]:
        found: list[tuple[float, str]] = []
        for name in candidates:
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is not None:
                pair = self._remembered("oldest", name, sig, order.since, self._spool, name)
                if pair is not None:
                    found.append(pair)
            yield
        return min(found, default=(None, ""))

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
                found.append(row._replace(is_alive=some_pool_lives or self._is_alive(held)))
        return tuple(found)

    def _run(self, name: str, sig: files.FileSig) -> tuple[RunRow, str] | None:
        item = self._read(RUNNING, name, sig)
        start = item.standing().last_start if item is not None else None
        if item is None or start is None:
            return None  # claimed this instant
        command = self._cut(command_text(item.command))
        since = instant(start.at)
        timeout_s = self._default_timeout_s if item.timeout is None else item.timeout
        return RunRow(item.id, start.attempt, self._cut(start.worker), since, timeout_s, command, True), start.lease

    def _is_alive(self, held: str) -> bool:
        from queuectl.spool import lease  # brings portalocker: only if there is something to ask

        return lease.is_alive(self._spool, held)

    def _ended(self, state: str, listed: Listing) -> Steps[list[_Ended]]:
        """Return what the newest records of done/ or dlq/ tell, newest first."""
        newest, oldest_ns = yield from self._newest(state, listed.kept)
        first = files.sig_of(self._spool.path(state, listed.first)) if listed.total > len(listed.kept) else None
        oldest_ns = min(oldest_ns, first.mtime_ns) if oldest_ns and first is not None else oldest_ns
        if oldest_ns:
            self._ended_since[state] = oldest_ns / 1e9
        found: list[_Ended] = []
        for name, sig in newest:
            if sig is not None:
                found.append(self._remembered(state, name, sig, self._end, state, name, sig))
            yield
        return found

    def _end(self, state: str, name: str, sig: files.FileSig) -> _Ended:
        item = self._read(state, name, sig)
        if item is None:
            return _Ended(None, None)
        standing = item.standing()
        last = standing.last
        ended_at = None if last is None else instant(last.at)
        finish = None
        if last is not None and ended_at is not None and (last.event in COUNTED or last.event == SUCCEEDED):
            finish = Finish(ended_at, last.duration_s, state == DONE)
        if state != DLQ or not self._is_full:
            return _Ended(finish, None)
        attempt = standing.last_start.attempt if standing.last_start is not None else 0
        error = standing.error or (last.event if last is not None else "")
        output = self._output(item.id, attempt) if self._scope.has_finishes else ()
        command = self._cut(command_text(item.command))
        row = FailureRow(item.id, ended_at, attempt, self._cut(error), command, output, standing.is_cancelled)
        return _Ended(finish, row)

    def _output(self, job_id: str, attempt: int) -> tuple[str, ...]:
        """Return the last lines that a run printed. Of a line that was written over (a progress bar) the last state."""
        try:
            data = files.read_tail(self._spool.log_path(job_id, attempt), _OUTPUT_BYTES)
        except OSError:
            return ()
        lines = printed_lines(data, is_cut=len(data) == _OUTPUT_BYTES)
        return tuple(self._cut(line) for line in [line for line in lines if line.strip()][-_OUTPUT_LINES:])

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
        standing = item.standing()
        return DueRow(item.id, due_at, standing.failures, item.max_retries, self._cut(standing.error))

    def _nexts(self, waiting: Waiting, now_at: float) -> Steps[tuple[NextRow, ...]]:
        listed = waiting.nexts
        if waiting.untold:
            listed = yield from self._with_drops(listed, waiting.untold, now_at)
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
            return NextRow(self._cut(name if parts is None else parts.stem), 0, 0, "")
        command = self._cut(command_text(item.command))
        return NextRow(item.id, item.standing().failures, item.priority, command)

    def _refusals(self, listed: list[str]) -> Steps[tuple[RefusalRow, ...]]:
        newest, _ = yield from self._newest(REJECTED, [name + REASON_ENDING for name in listed])
        found: list[RefusalRow] = []
        for reason_name, sig in newest:
            name = reason_name.removesuffix(REASON_ENDING)
            if sig is None:  # no reason is beside it
                found.append(self._refusal(name))
            else:
                found.append(self._remembered(REJECTED, name, sig, self._refusal, name))
            yield
        return tuple(found)

    def _refusal(self, name: str) -> RefusalRow:
        found = rejected.refusal(self._spool, name)
        return RefusalRow(self._cut(found.name), self._cut(found.why), found.rejected_at)

    def _pause_reason(self) -> str | None:
        if not pause.is_paused(self._spool):
            return None
        return self._cut(pause.reason(self._spool)) if self._is_full else ""

    def _cut(self, text: str) -> str:
        limit = self._scope.text_chars
        return text if len(text) <= limit else text[:limit] + "..."
