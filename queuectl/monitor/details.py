"""Read the files that a snapshot shows in rows: a bounded number, each again only after it has changed. Only looks.

Most methods are generators of small steps, as `survey` runs them. Tags and owners of the records are collected on the
way (`labels`), so that groups cost no further reads.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from queuectl.errors import DamagedRecordError
from queuectl.model import names, record
from queuectl.model.history import Event
from queuectl.model.lifecycle import COUNTED, DLQ, DONE, PENDING, REJECTED, RUNNING, SKIPPED, SUCCEEDED
from queuectl.model.text import command_text, printed_lines
from queuectl.model.times import instant
from queuectl.monitor import order, progress, rejected
from queuectl.monitor.causes import Dead
from queuectl.monitor.groups import TAGS, Labels
from queuectl.monitor.listing import Listing, Scope
from queuectl.monitor.rows import DueRow, FailureRow, Finish, HeldRow, NextRow, RefusalRow, RunRow
from queuectl.monitor.shapes import command_shape
from queuectl.monitor.steps import Steps
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import LOGS, REASON_ENDING
from queuectl.system import files

# Files asked for their time in a step.
_STATS_A_STEP = 100
_OUTPUT_BYTES = 4096
_OUTPUT_LINES = 6
_RESULT_LINES, _RESULT_CHARS = 12, 160

T = TypeVar("T")


class Ended(NamedTuple):
    """What a record in done/ or dlq/ says; each part is None if it says no such thing."""

    finish: Finish | None
    dead: Dead | None
    """Of every job in dlq/, a cancelled one included."""
    labels: Labels | None
    shape: str
    skipped_at: float | None = None


class _Run(msgspec.Struct, frozen=True):
    row: RunRow
    lease: str
    labels: Labels
    shape: str


class Details:
    """The rows of one spool's snapshots. Arguments as of `Survey`."""

    def __init__(self, spool: SpoolDir, scope: Scope, *, is_full: bool, default_timeout_s: float | None) -> None:
        self._spool = spool
        self._scope = scope
        self._is_full = is_full
        self._default_timeout_s = default_timeout_s
        self._known: dict[tuple[str, str], tuple[files.FileSig, Any]] = {}
        self._used: dict[tuple[str, str], tuple[files.FileSig, Any]] = {}
        self.begin()

    def begin(self) -> None:
        """Begin a snapshot."""
        self._used = {}
        self.ended_since: dict[str, float] = {}
        """When the oldest file seen in done/ and dlq/ came there."""
        self.labels: list[Labels] = []
        self.read: Counter[str] = Counter()
        """How many records were read for their labels, by state."""

    def end(self) -> None:
        """Forget the files that this snapshot has not asked for."""
        self._known, self._used = self._used, {}

    def remembered(self, kind: str, name: str, sig: files.FileSig, find: Callable[..., T], *facts: Any) -> T:
        """Return what `find(*facts)` finds in a file; asked again only when the file has changed."""
        key = (kind, name)
        known = self._known.get(key)
        if known is None or known[0] != sig:
            known = (sig, find(*facts))
        self._used[key] = known
        made: T = known[1]
        return made

    def cut(self, text: str) -> str:
        """Return a text that is not longer than the scope allows."""
        limit = self._scope.text_chars
        return text if len(text) <= limit else text[:limit] + "..."

    def _read(self, state: str, name: str, sig: files.FileSig) -> record.Record | None:
        """Return a record, or None for one that moved on, is no record, or cannot be read now."""
        if sig.size > self._scope.record_bytes:
            return None
        try:
            return self._spool.read(state, name, patience_s=self._scope.patience_s).record
        except (OSError, DamagedRecordError):
            return None

    def _labels(self, state: str, item: record.Record) -> Labels:
        if not self._is_full:
            return Labels(state, (), "")
        return Labels(state, tuple(self.cut(tag) for tag in item.tags[:TAGS]), item.owner)

    def _note(self, state: str, labels: Labels | None) -> None:
        self.read[state] += 1
        if labels is not None and (labels.tags or labels.owner):
            self.labels.append(labels)

    # ---------------------------------------------------------------------------------------------------- waiting

    def oldest(self, candidates: list[str]) -> Steps[tuple[float | None, str]]:
        """Return since when the oldest of some waiting jobs waits, and its id."""
        found: list[tuple[float, str]] = []
        for name in candidates:
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is not None:
                pair = self.remembered("oldest", name, sig, order.since, self._spool, name)
                if pair is not None:
                    found.append(pair)
            yield
        return min(found, default=(None, ""))

    def dues(self, first: list[tuple[float, str]]) -> Steps[tuple[DueRow, ...]]:
        """Return rows of jobs that are due later."""
        found: list[DueRow] = []
        for due_at, name in first:
            yield
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is None:
                continue
            known = self.remembered(PENDING, name, sig, self._due, name, due_at, sig)
            if known is not None:
                row, labels = known
                self._note(PENDING, labels)
                found.append(row)
        return tuple(found)

    def _due(self, name: str, due_at: float, sig: files.FileSig) -> tuple[DueRow, Labels] | None:
        item = self._read(PENDING, name, sig)
        if item is None:
            return None
        standing = item.standing()
        command, path = self.cut(command_text(item.command)), f"{PENDING}/{name}"
        row = DueRow(item.id, due_at, standing.failures, item.max_retries, self.cut(standing.error), command, path)
        return row, self._labels(PENDING, item)._replace(owner="")

    def nexts(self, listed: list[str], now_at: float) -> Steps[tuple[NextRow, ...]]:
        """Return rows of jobs that could run now."""
        found: list[NextRow] = []
        for name in listed:
            yield
            sig = files.sig_of(self._spool.path(PENDING, name))
            if sig is not None:
                row = self.remembered("next", name, sig, self._next, name, sig)
                self._note(PENDING, Labels(PENDING, row.tags, ""))
                # A file's time may be ahead of the clock.
                found.append(row if row.since is None else row._replace(since=min(row.since, now_at)))
        return tuple(found)

    def held(self, listed: list[str], now_at: float) -> Steps[tuple[HeldRow, ...]]:
        """Return rows of held jobs."""
        rows = yield from self.nexts(listed, now_at)
        return tuple(HeldRow(row.id, row.command, row.owner, row.tags, row.since, row.record) for row in rows)

    def _next(self, name: str, sig: files.FileSig) -> NextRow:
        parts = names.parse(name)
        path = f"{PENDING}/{name}"
        item = None if names.is_batch(name) else self._read(PENDING, name, sig)
        if item is None:
            stem, owner = (name, "") if parts is None else (parts.stem, parts.owner)
            return NextRow(self.cut(stem), 0, 0, "", owner, since=sig.mtime_ns / 1e9, record=path)
        command = self.cut(command_text(item.command))
        standing = item.standing()
        since = None if standing.last is None else instant(standing.last.due_at or standing.last.at)
        tags = self._labels(PENDING, item).tags
        return NextRow(item.id, standing.failures, item.priority, command, item.owner, tags, since, path)

    # ---------------------------------------------------------------------------------------------------- running

    def runs(
        self, listed: list[str], usual: Callable[[str], float | None], *, some_pool_lives: bool
    ) -> Steps[tuple[RunRow, ...]]:
        """Return rows of running jobs; `usual` returns the usual duration of a command of some shape."""
        found: list[RunRow] = []
        for name in listed:
            yield
            sig = files.sig_of(self._spool.path(RUNNING, name))
            if sig is None:
                continue
            known = self.remembered(RUNNING, name, sig, self._run, name, sig)
            if known is not None:
                self._note(RUNNING, known.labels)
                is_alive = some_pool_lives or self._is_alive(known.lease)
                row = known.row._replace(is_alive=is_alive, usual_s=usual(known.shape))
                said = progress.of_lease(self._spool, known.lease)
                if said is not None and files.sig_of(self._spool.path(RUNNING, name)) == sig:  # not the next job's
                    row = row._replace(percent=said.percent, progress=said.text)
                found.append(row)
        return tuple(found)

    def _run(self, name: str, sig: files.FileSig) -> _Run | None:
        item = self._read(RUNNING, name, sig)
        start = item.standing().last_start if item is not None else None
        if item is None or start is None:
            return None  # claimed this instant
        command = self.cut(command_text(item.command))
        row = RunRow(
            item.id,
            start.attempt,
            self.cut(start.worker),
            instant(start.at),
            self._default_timeout_s if item.timeout is None else item.timeout,
            command,
            is_alive=True,
            record=f"{RUNNING}/{name}",
            lease=self.cut(start.lease),
            node=self.cut(start.node),
        )
        return _Run(
            row, start.lease, self._labels(RUNNING, item), command_shape(command) if self._scope.has_finishes else ""
        )

    def _is_alive(self, held: str) -> bool:
        from queuectl.spool import lease  # brings portalocker: only if there is something to ask

        return lease.is_alive(self._spool, held)

    # ------------------------------------------------------------------------------------------------------ ended

    def ended(self, state: str, listed: Listing) -> Steps[list[Ended]]:
        """Return what the newest records of done/ or dlq/ say, newest first."""
        newest, oldest_ns = yield from self._newest(state, listed.kept)
        first = files.sig_of(self._spool.path(state, listed.first)) if listed.total > len(listed.kept) else None
        oldest_ns = min(oldest_ns, first.mtime_ns) if oldest_ns and first is not None else oldest_ns
        if oldest_ns:
            self.ended_since[state] = oldest_ns / 1e9
        found: list[Ended] = []
        for name, sig in newest:
            if sig is not None:
                known = self.remembered(state, name, sig, self._end, state, name, sig)
                self._note(state, known.labels)
                found.append(self._with_text(known, name))
            yield
        return found

    def _end(self, state: str, name: str, sig: files.FileSig) -> Ended:
        item = self._read(state, name, sig)
        if item is None:
            return Ended(None, None, None, "")
        standing = item.standing()
        last = standing.last
        ended_at = None if last is None else instant(last.at)
        attempt = standing.last_start.attempt if standing.last_start is not None else 0
        command = self.cut(command_text(item.command)) if self._is_full else ""
        error = self.cut(standing.error or (last.event if last is not None else ""))
        labels = None if standing.is_cancelled else self._labels(state, item)
        path, log = f"{state}/{name}", self._log(item.id, attempt) if self._is_full else ""
        finish = None
        if last is not None and ended_at is not None and (last.event in COUNTED or last.event == SUCCEEDED):
            finish = Finish(ended_at, last.duration_s, state == DONE)
            if self._is_full:
                why = "" if state == DONE else error
                finish = finish._replace(id=item.id, command=command, error=why, attempt=attempt, record=path, log=log)
        result = self._result(item.id, last) if self._is_full and self._scope.has_finishes else ()
        finish = None if finish is None else finish._replace(result=result)
        shape = command_shape(command) if self._scope.has_finishes else ""
        if state != DLQ or not self._is_full:
            is_skipped = last is not None and last.event == SKIPPED
            return Ended(finish, None, labels, shape, ended_at if is_skipped else None)
        output = self._output(item.id, attempt) if self._scope.has_finishes and log else ()
        row = FailureRow(item.id, ended_at, attempt, error, command, output, standing.is_cancelled, path, log)
        code, reason, said = (None, "", "") if last is None else (last.exit_code, last.reason, last.progress)
        row = row._replace(progress=self.cut(said), result=result)
        return Ended(finish, Dead(row, code, reason), labels, shape)

    def _with_text(self, known: Ended, name: str) -> Ended:
        """Return what is known, with the path of the text that explains a failure: the text comes after its job."""
        if known.dead is None:
            return known
        path = self._spool.error_path(name, cancelled=known.dead.row.cancelled)
        if files.sig_of(path) is None:
            return known
        text = f"{DLQ}/{path[len(self._spool.folder(DLQ)) + 1 :]}"
        finish = None if known.finish is None else known.finish._replace(text=text)
        return known._replace(finish=finish, dead=known.dead._replace(row=known.dead.row._replace(text=text)))

    def _log(self, job_id: str, attempt: int) -> str:
        path = self._spool.log_path(job_id, attempt)
        return "" if files.sig_of(path) is None else f"{LOGS}/{path[len(self._spool.folder(LOGS)) + 1 :]}"

    def _output(self, job_id: str, attempt: int) -> tuple[str, ...]:
        """Return the last lines that a run printed. Of an overwritten line (a progress bar), return the last state."""
        try:
            data = files.read_tail(self._spool.log_path(job_id, attempt), _OUTPUT_BYTES)
        except OSError:
            return ()
        lines = printed_lines(data, is_cut=len(data) == _OUTPUT_BYTES)
        return tuple(self.cut(line) for line in [line for line in lines if line.strip()][-_OUTPUT_LINES:])

    def _result(self, job_id: str, last: Event | None) -> tuple[str, ...]:
        """Return the first lines of what the run that ended last gave back, if it is JSON or a text."""
        if last is None or not last.result_bytes:
            return ()
        from queuectl.monitor import results  # few jobs give anything back

        content = results.content_of(self._spool.result_path(job_id, last.attempt))
        return tuple(results.first_lines(content, lines=_RESULT_LINES, chars=_RESULT_CHARS))

    def refusals(self, listed: list[str]) -> Steps[tuple[RefusalRow, ...]]:
        """Return rows of the newest rejected files."""
        newest, _ = yield from self._newest(REJECTED, [name + REASON_ENDING for name in listed])
        found: list[RefusalRow] = []
        for reason_name, sig in newest:
            name = reason_name.removesuffix(REASON_ENDING)
            if sig is None:  # it has no reason
                found.append(self._refusal(name))
            else:
                found.append(self.remembered(REJECTED, name, sig, self._refusal, name))
            yield
        return tuple(found)

    def _refusal(self, name: str) -> RefusalRow:
        found = rejected.refusal(self._spool, name)
        return RefusalRow(self.cut(found.name), self.cut(found.why), found.rejected_at)

    def _newest(self, state: str, listed: list[str]) -> Steps[tuple[list[tuple[str, files.FileSig | None]], int]]:
        """Return the files that changed last of those listed, and when the first of all did.

        Files that are gone come last. Of very many files, return those with the last names, as `order.newest_first`.
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
