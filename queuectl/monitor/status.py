"""How a spool is doing: collected for `status` and `list` from names and a few records. Only looks.

However many jobs there are, one listing a folder is made and a bounded number of files is opened: the names say which
are worth a look.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from queuectl.errors import DamagedRecordError
from queuectl.inbox import state as inboxstate
from queuectl.model import names, order, record, run_queue, times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.text import command_text
from queuectl.monitor import arriving as incoming
from queuectl.monitor import inboxes
from queuectl.monitor.rows import DueRow, PoolRow, RefusalRow
from queuectl.monitor.snapshot import Failure, Run, Snapshot, Status
from queuectl.spool import clock_note
from queuectl.spool.folder import REASON_ENDING, SpoolDir
from queuectl.system import files

if TYPE_CHECKING:
    from queuectl.spool.pools import PoolInfo

# Files looked at to find the oldest waiting one among names that do not tell their time.
_LOOK_AT_MOST = 200
# With more files than this in a folder, "newest" goes by name: asking each for its time takes too long.
_STAT_AT_MOST = 20_000
_SHOWN = 5
_RUNNING_SHOWN = 256
_CLOCKS_APART_S = 1.0


class Advice(NamedTuple):
    """The next sensible command and why; `command` is "" where there is nothing to do."""

    command: str
    why: str


def collect(spool: SpoolDir, *, now_at: float) -> Status:
    """Look at a spool. Raises OSError where it cannot be listed."""
    waiting = spool.waiting_names()
    ready, later = split_by_time(waiting, now_at)
    dues = sorted(later)
    listed, foreign = {}, {PENDING: spool.foreign_names(PENDING)}
    for state in (RUNNING, DONE, DLQ):
        listed[state], foreign[state] = spool.listing(state)
    foreign[REJECTED] = spool.foreign_names(REJECTED)
    refused = rejected_names(spool)
    arriving = incoming.look(spool, ready, now_at)
    blocked = {row.name for row in arriving}
    could_run = [name for name in ready if name not in blocked]
    paused = spool.pause_reason() if spool.is_paused() else None
    oldest_id, oldest_since = _oldest(spool, could_run)
    pools = [PoolRow(each.pool, each.host, each.pid, each.count, each.started_at) for each in live_pools(spool)]
    counts = {state: len(found) for state, found in listed.items()}
    return Status(
        path=spool.root,
        now_at=now_at,
        paused=paused,
        paused_until=None if paused is None else spool.paused_until(),
        counts={PENDING: len(waiting), **counts, REJECTED: len(refused)},
        ready=len(could_run) if paused is None else 0,
        stopped=0 if paused is None else len(could_run),
        later=len(later),
        held=sum(map(names.is_held, waiting)),
        next_due_at=dues[0][0] if dues else None,
        last_due_at=dues[-1][0] if dues else None,
        dues=[due for due_at, name in dues[:_SHOWN] if (due := _due(spool, name, due_at)) is not None],
        oldest_id=oldest_id,
        oldest_since=oldest_since,
        pools=pools,
        runs=_runs(spool, listed[RUNNING][:_RUNNING_SHOWN], some_pool_lives=bool(pools)),
        failures=[
            made
            for name in newest_first(spool, DLQ, listed[DLQ], _SHOWN)
            if (made := _failure(spool, name)) is not None
        ],
        refusals=[refusal(spool, name) for name in newest_refused(spool, refused, _SHOWN)],
        foreign={state: found for state, found in foreign.items() if found},
        arriving=arriving,
        blocked=len(arriving),
        settings_changed=settings_changed(spool, pools),
        inboxes=[inboxes.row(state) for state in inboxstate.read_all(spool)],
        retention_waits=clock_note.waiting(spool, now_at=now_at),
        cancelled=spool.count_cancelled(listed[DLQ]) if listed[DLQ] else 0,
    )


def advise(status: Status | Snapshot) -> Advice:
    """What to do next, most pressing first."""
    counts = status.counts
    if status.paused is not None:
        return Advice("queuectl resume", "the spool is paused: nothing new is started; deleting PAUSED does the same")
    if not status.pools and counts[PENDING]:
        return Advice("queuectl worker start --count 2", "jobs are waiting and no workers run")
    if not status.pools and counts[RUNNING]:
        return Advice("queuectl worker start --count 2", "jobs were left by workers that are gone")
    if status.dead:
        return Advice("queuectl dlq list", "dead jobs: they failed, and nothing runs them again by itself")
    if counts[REJECTED]:
        return Advice("queuectl rejected list", "files that could not become jobs")
    if not any(counts.values()):
        return Advice('queuectl enqueue --command "echo hello"', "the queue is empty")
    return Advice("", "")


# ----------------------------------------------------------------------------------------------------------- in order


def split_by_time(waiting: Iterable[str], now_at: float) -> tuple[list[str], list[tuple[float, str]]]:
    """The names in pending/ that could run now, and those that are due later with their instant (in no order).

    Neither has those that a person holds.
    """
    ready: list[str] = []
    later: list[tuple[float, str]] = []
    for name in waiting:
        parts = names.parse(name) if "," in name else None
        if names.is_held(name):
            continue
        if parts is not None and parts.due_at is not None and parts.due_at > now_at:
            later.append((parts.due_at, name))
        else:
            ready.append(name)
    return ready, later


def in_run_order(waiting: Iterable[str], now_at: float, full: Mapping[str, str] | None = None) -> list[str]:
    """Names in pending/ as they will be run: those of now, those of later, and those held.

    `full` are the full names of drops (see `foresight`): they go where a pool puts them once it has judged them. At
    equal priority owners take turns; who has the first turn, only a pool knows.
    """
    plain = {full_name: name for name, full_name in full.items()} if full else {}
    waiting = [full.get(name, name) if full else name for name in waiting]
    ready, later = split_by_time(waiting, now_at)
    held = sorted(filter(names.is_held, waiting))
    in_order = [*run_queue.in_order(ready, now_at), *(name for _, name in sorted(later)), *held]
    return [plain.get(name, name) for name in in_order] if plain else in_order


def next_to_run(ready: Iterable[str], now_at: float, limit: int) -> list[str]:
    """The first names of those that could run now. Those of a whole listing are among those of its parts."""
    return list(islice(run_queue.in_order(ready, now_at), limit))


def newest_first(spool: SpoolDir, state: str, listed: Sequence[str], limit: int) -> list[str]:
    """The names in a state's folder that changed last, at most `limit`.

    A record's last change is the outcome that brought it there. Only `queuectl` writes there, so unlike in pending/
    the files' times can be believed for an order.
    """
    if len(listed) > _STAT_AT_MOST:
        return sorted(listed, reverse=True)[:limit]

    def changed_ns(name: str) -> tuple[int, str]:
        sig = files.sig_of(spool.path(state, name))
        return (0 if sig is None else sig.mtime_ns, name)

    return [name for _, name in heapq.nlargest(limit, map(changed_ns, listed))]


# ------------------------------------------------------------------------------------------------------- rejected files


def rejected_names(spool: SpoolDir) -> list[str]:
    """The files in rejected/, their reasons left out."""
    return [
        name
        for name in spool.names(spool.folder(REJECTED))
        if not name.endswith(REASON_ENDING) and not names.is_temporary(name) and names.ends_as_job(name)
    ]


def newest_refused(spool: SpoolDir, listed: Sequence[str], limit: int) -> list[str]:
    """The files that were rejected last, by the time of their reasons."""
    reasons = newest_first(spool, REJECTED, [name + REASON_ENDING for name in listed], limit)
    return [name.removesuffix(REASON_ENDING) for name in reasons]


def refusal(spool: SpoolDir, name: str) -> RefusalRow:
    """A file in rejected/ and the reason beside it."""
    try:
        text = files.read(spool.reason_path(name), 64 * 1024).data.decode("utf-8", "replace")
    except OSError:
        return RefusalRow(name, "no reason lies beside it", None)
    found = {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in reversed(text.split("\n"))}
    return RefusalRow(name, found.get("Why:", ""), instant(found.get("Rejected", "").partition(",")[0]))


# ------------------------------------------------------------------------------------------------------------- details


def _read(spool: SpoolDir, state: str, name: str) -> record.Record | None:
    """A record, or None for one that moved on, or a file that is none."""
    try:
        return spool.read(state, name).record
    except (OSError, DamagedRecordError):
        return None


def _due(spool: SpoolDir, name: str, due_at: float) -> DueRow | None:
    item = _read(spool, PENDING, name)
    if item is None:
        return None
    standing = record.standing(item)
    return DueRow(item.id, due_at, standing.failures, item.max_retries, standing.error)


def _oldest(spool: SpoolDir, ready: list[str]) -> tuple[str, float | None]:
    """Most names tell their time; of the others a bounded number is opened."""
    told = ""
    others: list[str] = []
    for name in ready:
        if key := arrival_key(name):
            told = key if not told or key < told else told
        elif len(others) < _LOOK_AT_MOST:
            others.append(name)
    found = [pair for name in oldest_names(told, others) if (pair := since(spool, name)) is not None]
    oldest_since, oldest_id = min(found, default=(None, ""))
    return oldest_id, oldest_since


def arrival_key(name: str) -> str:
    """The key of a name in pending/ that tells when its job arrived (see `order`), else ""."""
    if names.is_generated(name.removesuffix(".json").partition(",")[0]):
        return name
    return order.key_of(name, names.parse(name)) if ",in=" in name else ""


def oldest_names(told: str, others: Sequence[str]) -> list[str]:
    """The names that may be the oldest: that of the smallest `arrival_key`, and those that have none."""
    return [*([order.name_of(told)] if told else []), *others]


def since(spool: SpoolDir, name: str) -> tuple[float, str] | None:
    """Since when a job waits: its last return to pending/, or for a drop the time of its file."""
    item = _read(spool, PENDING, name)
    if item is None:
        sig = files.sig_of(spool.path(PENDING, name))
        parts = names.parse(name)
        return None if sig is None else (sig.mtime_ns / 1e9, parts.stem if parts else name)
    last = record.standing(item).last
    since_at = instant(last.due_at or last.at) if last is not None else None
    return None if since_at is None else (since_at, item.id)


def _runs(spool: SpoolDir, listed: Sequence[str], *, some_pool_lives: bool) -> list[Run]:
    found = []
    for name in listed:
        item = _read(spool, RUNNING, name)
        start = record.standing(item).last_start if item is not None else None
        if item is None or start is None:
            continue  # claimed this instant
        alive = some_pool_lives
        if not alive:
            from queuectl.spool import lease  # brings portalocker: only where there is something to ask

            alive = lease.is_alive(spool, start.lease)
        found.append(Run(item.id, start.attempt, start.worker, instant(start.at), command_text(item.command), alive))
    return found


def _failure(spool: SpoolDir, name: str) -> Failure | None:
    item = _read(spool, DLQ, name)
    if item is None:
        return None
    standing = record.standing(item)
    ended_at = None if standing.last is None else instant(standing.last.at)
    error = standing.error or (standing.last.event if standing.last is not None else "")
    return Failure(item.id, ended_at, error, command_text(item.command), standing.is_cancelled)


def live_pools(spool: SpoolDir) -> list[PoolInfo]:
    """The pools that work on the spool now; nothing is imported where none has left a trace."""
    if not spool.has_pool_traces():
        return []
    from queuectl.spool import pools  # brings portalocker

    return pools.live(spool)


def settings_changed(spool: SpoolDir, pools: Sequence[PoolRow]) -> bool:
    """True where the settings file changed after one of these pools had read it."""
    if not pools:
        return False
    sig = files.sig_of(spool.settings_path)
    # The clock of the file system may be a moment behind ours.
    return sig is not None and any(sig.mtime_ns / 1e9 > pool.started_at + _CLOCKS_APART_S for pool in pools)


def instant(text: str) -> float | None:
    """An instant as it stands in a file, or None where it is none."""
    try:
        return times.from_text(text)
    except ValueError:
        return None
