"""Take a snapshot of a spool in small steps, between other work of a supervisor's loop. Only looks.

However many jobs there are, each folder is listed once, a bounded number of its names is kept, and a bounded number of
files is opened; `Scope` has the bounds. What was read is remembered for as long as the file does not change. Jobs move
meanwhile, so a count may be off by those that moved: a snapshot is for looking at, and no decision depends on it.
"""

from __future__ import annotations

import sys

from queuectl.inbox import state
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.run_order import Turns
from queuectl.monitor import arriving, causes, groups, inboxes, listing, live, load, order, schedule_rows, shapes
from queuectl.monitor.details import Details, Ended
from queuectl.monitor.group_tally import GroupTally
from queuectl.monitor.inboxes import InboxRow
from queuectl.monitor.listing import Scope, Waiting
from queuectl.monitor.queues import Limits, QueueRow, rows_of, without_texts
from queuectl.monitor.rows import ROWS, NextRow, PoolRow
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.steps import Steps
from queuectl.spool import clock_note, pause
from queuectl.spool.folder import RECORD_MAX_BYTES, SpoolDir
from queuectl.system import files, sharing

_OPENED = 100
_KEPT = 5000
# What the dashboard and `queuectl top` show. A record takes some 1 KiB.
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
_HOUR_S = 3600.0


class Survey:
    """Takes snapshots of one spool.

    `is_full` False leaves out every text of a job. `next_rows` of the jobs that run next are read; without, none of
    them is opened. `default_timeout_s` is the timeout of jobs that have none (the setting).
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
        self._next_rows = next_rows if is_full else 0
        self._limits = Limits(spool)
        self._details = Details(spool, scope, is_full=is_full, default_timeout_s=default_timeout_s)

    def marks(self) -> tuple[files.FileSig | None, ...]:
        """Return what differs after a file came, went or was renamed: a few stats."""
        spool = self._spool
        folders = [spool.folder(state) for state in (PENDING, RUNNING, DONE, DLQ, REJECTED)]
        others = (spool.pool_dir, spool.inbox_dir, spool.schedules_dir, spool.paused_path)
        return tuple(files.sig_of(path) for path in (*folders, *others))

    def take(self, now_at: float) -> Steps[Snapshot]:
        """Take a snapshot; each step is a millisecond or few (of a local disk).

        Raises:
            OSError: a folder cannot be listed.
        """
        spool, scope, details = self._spool, self._scope, self._details
        details.begin()
        turns = order.turns_of(spool, self._limits.read())
        tally = GroupTally() if self._is_full else None
        waiting = yield from listing.scan_waiting(
            spool, scope, now_at, next_rows=self._next_rows, turns=turns, tally=tally
        )
        running = yield from listing.scan(spool, RUNNING, scope, tally)
        done = yield from listing.scan(spool, DONE, scope, tally)
        dead = yield from listing.scan(spool, DLQ, scope, tally)
        refused = yield from listing.scan(spool, REJECTED, scope)
        coming = yield from arriving.collect(
            spool, waiting.drops, now_at, at_most_bytes=scope.opened_bytes, ask=self._why_not_whole
        )
        incomplete = {row.name for row in coming}
        could_run = max(0, waiting.ready - len(coming))
        oldest_since, oldest_id = yield from details.oldest([name for name in waiting.oldest if name not in incomplete])
        pools = live.rows(spool, now_at)
        known = load.read(spool)
        yield
        ended_well = (yield from details.ended(DONE, done)) if scope.has_finishes else []
        ended_badly = yield from details.ended(DLQ, dead)
        usual = _usual(ended_well)
        runs = yield from details.runs(sorted(running.kept)[: scope.runs], usual.get, some_pool_lives=bool(pools))
        pools = live.with_use(pools, runs)
        dues = (yield from details.dues(waiting.first)) if self._is_full else ()
        nexts = yield from self._nexts(waiting, incomplete, now_at, turns)
        held_jobs = yield from details.held(waiting.held_names if self._is_full else [], now_at)
        refusals = (yield from details.refusals(refused.kept)) if self._is_full else ()
        details.end()
        yield
        finishes = [each.finish for each in (*ended_well, *ended_badly) if each.finish is not None]
        finishes.sort(key=lambda each: each.ended_at)
        buried = [each.dead for each in ended_badly if each.dead is not None]
        rows = causes.collect(each for each in buried if not each.row.cancelled) if scope.has_finishes else ()
        paused = self._pause_reason()
        counted = ((PENDING, waiting.listing), (RUNNING, running), (DONE, done), (DLQ, dead), (REJECTED, refused))
        counts = {folder: listed.total for folder, listed in counted}
        unread = {folder: max(0, counts[folder] - details.read[folder]) for folder in (PENDING, RUNNING, DONE, DLQ)}
        found = load.of(known, now_at, counts[PENDING], counts[RUNNING])
        yield
        planned, planned_left = schedule_rows.rows(spool, most=ROWS)
        batches, batches_left = ((), 0) if tally is None else tally.rows(now_at)
        lately = [each for each in finishes if each.ended_at > now_at - _HOUR_S]
        return Snapshot(
            path=spool.root,
            taken_at=now_at,
            is_full=self._is_full,
            paused=paused,
            paused_until=None if paused is None else pause.until(spool),
            counts=counts,
            ready=could_run if paused is None else 0,
            stopped=0 if paused is None else could_run,
            incomplete=len(coming),
            blocked=waiting.blocked,
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
            failures=tuple(each.row for each in buried),
            dues=dues,
            refusals=refusals,
            foreign={folder: listed.foreign for folder, listed in counted if listed.foreign},
            foreign_names={folder: listed.foreign_names for folder, listed in counted if listed.foreign_names},
            copies={folder: listed.copies for folder, listed in counted if listed.copies},
            arriving=tuple(row._replace(name=details.cut(row.name), why=details.cut(row.why)) for row in coming)
            if self._is_full
            else (),
            finishes=tuple(finishes[-ROWS:]),
            ended_since=details.ended_since,
            nexts=nexts,
            held_jobs=held_jobs,
            inboxes=self._inboxes(),
            retention_waits=clock_note.waiting(spool, now_at=now_at),
            cancelled=dead.cancelled,
            causes=rows,
            causes_left=counts[DLQ] - dead.cancelled - sum(row.jobs for row in rows) if rows else 0,
            load=found,
            # Without counts, or with jobs that a pool has not counted yet: at least those that were read.
            done_last_hour=max(sum(each.done for each in found.hour), sum(each.is_good for each in lately)),
            failed_last_hour=max(sum(each.failed for each in found.hour), sum(not each.is_good for each in lately)),
            skipped_last_hour=sum((each.skipped_at or 0.0) > now_at - _HOUR_S for each in ended_well),
            tags=groups.tag_rows(details.labels),
            tags_left=sum(unread.values()),
            owners=groups.owner_rows(details.labels, waiting.owners) if self._is_full else (),
            owners_left=sum(unread.values()) - unread[PENDING],
            totals=None if known is None else known.totals,
            ended_pool=live.ended_pool(spool, pools, known),
            queues=self._queues(waiting, turns, pools, now_at),
            schedules=planned if self._is_full else (),
            schedules_left=planned_left if self._is_full else 0,
            groups=batches,
            groups_left=batches_left,
        )

    def _queues(
        self, waiting: Waiting, turns: Turns, pools: tuple[PoolRow, ...], now_at: float
    ) -> tuple[QueueRow, ...]:
        """Return the queues, unless there is only the default one and nothing is to be said of it."""
        if not turns.limits and waiting.queues.is_plain and not turns.paused:
            return ()
        found = rows_of(self._spool, waiting.queues, turns.limits, pools, now_at)[:ROWS]
        return found if self._is_full else without_texts(found)

    def _inboxes(self) -> tuple[InboxRow, ...]:
        found = state.read_all(self._spool)[:ROWS]
        return tuple(inboxes.row(each if self._is_full else inboxes.without_texts(each)) for each in found)

    def _why_not_whole(self, name: str, sig: files.FileSig) -> str:
        return self._details.remembered("arriving", name, sig, arriving.why_not_whole, self._spool, name, sig)

    def _nexts(self, waiting: Waiting, incomplete: set[str], now_at: float, turns: Turns) -> Steps[tuple[NextRow, ...]]:
        """Return the rows of what runs next, without the files that are not whole (`incomplete`)."""
        listed, untold = ([name for name in some if name not in incomplete] for some in (waiting.nexts, waiting.untold))
        if untold:
            listed = yield from self._with_drops(listed, untold, now_at, turns)
        return (yield from self._details.nexts(listed, now_at))

    def _with_drops(self, nexts: list[str], untold: list[str], now_at: float, turns: Turns) -> Steps[list[str]]:
        """Return the names that run next when a pool has judged the drops in `untold` as well."""
        from queuectl.spool import full_names  # only who asks for what runs next

        plain: dict[str, str] = {}
        for name in untold:
            yield
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is not None:
                full_name = self._details.remembered("full_name", name, sig, full_names.read, self._spool, name, now_at)
                plain[full_name] = name
        ready, _ = order.split_by_time(plain, now_at)
        dropped = set(plain.values())
        others = [name for name in nexts if name not in dropped]
        in_order = order.next_to_run([*others, *ready], now_at, self._next_rows, turns)
        return [plain.get(name, name) for name in in_order]

    def _pause_reason(self) -> str | None:
        if not pause.is_paused(self._spool):
            return None
        return self._details.cut(pause.reason(self._spool)) if self._is_full else ""


def _usual(ended_well: list[Ended]) -> dict[str, float]:
    """Return the usual duration of a run by the shape of its command."""
    return shapes.usual(
        (each.shape, each.finish.duration_s)
        for each in ended_well
        if each.finish is not None and each.finish.duration_s is not None
    )
