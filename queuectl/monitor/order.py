"""Sort what is shown: waiting names by the order of runs and of arrival, files by age. Only looks."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from queuectl.errors import DamagedRecordError
from queuectl.model import names, order, run_order
from queuectl.model.lifecycle import PENDING
from queuectl.model.queues import Queues
from queuectl.model.run_order import NO_TURNS, Turns
from queuectl.model.times import instant
from queuectl.monitor import dependents
from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir
from queuectl.system import files

# With more files than this in a folder, "newest" goes by name: a stat of each takes too long.
STAT_AT_MOST = 20_000


def split_by_time(waiting: Iterable[str], now_at: float) -> tuple[list[str], list[tuple[float, str]]]:
    """Return the names in pending/ that could run now, and those that are due later with their instant (in no order).

    Held jobs, and jobs that wait for another one, are in neither.
    """
    ready: list[str] = []
    later: list[tuple[float, str]] = []
    for name in waiting:
        parts = names.parse(name) if "," in name else None
        if names.is_held(name) or (parts is not None and parts.after):
            continue
        if parts is not None and parts.due_at is not None and parts.due_at > now_at:
            later.append((parts.due_at, name))
        else:
            ready.append(name)
    return ready, later


def turns_of(spool: SpoolDir, limits: Queues) -> Turns:
    """Return what decides between the queues of a spool; `limits` are those of its settings."""
    return Turns(limits, pause.paused_queues(spool))


def in_run_order(
    waiting: Iterable[str], now_at: float, full: Mapping[str, str] | None = None, turns: Turns = NO_TURNS
) -> list[str]:
    """Return names in pending/ in the order of runs: jobs that could run now, jobs of paused queues, jobs that are due
    later, jobs that wait for another one, and held jobs.

    `full` are the full names of drops (see `full_names`): they go where a pool puts them once it has judged them. At
    equal priority queues and owners take turns; only a pool knows who has the first turn.
    """
    plain = {full_name: name for name, full_name in full.items()} if full else {}
    waiting = [full.get(name, name) if full else name for name in waiting]
    ready, later = split_by_time(waiting, now_at)
    held = sorted(filter(names.is_held, waiting))
    blocked = sorted(dependents.blocked(waiting))
    in_order = [*run_order.in_order(ready, now_at, turns), *(name for _, name in sorted(later)), *blocked, *held]
    return [plain.get(name, name) for name in in_order] if plain else in_order


def next_to_run(ready: Iterable[str], now_at: float, limit: int, turns: Turns = NO_TURNS) -> list[str]:
    """Return the names that run next. The next ones of a whole listing are among the next ones of its parts."""
    return list(islice(run_order.in_order(ready, now_at, turns), limit))


def newest_first(spool: SpoolDir, state: str, listed: Sequence[str], limit: int) -> list[str]:
    """Return the names in a state's folder that changed last, at most `limit`.

    A record's last change is the outcome that moved it there. Only `queuectl` writes there, so the files' times give a
    reliable order, unlike in pending/.
    """
    if len(listed) > STAT_AT_MOST:
        return sorted(listed, reverse=True)[:limit]

    def changed_ns(name: str) -> tuple[int, str]:
        sig = files.sig_of(spool.path(state, name))
        return (0 if sig is None else sig.mtime_ns, name)

    return [name for _, name in heapq.nlargest(limit, map(changed_ns, listed))]


def arrival_key(name: str) -> str:
    """Return the key of a name in pending/ that says when its job arrived (see `model.order`), else ""."""
    if names.is_generated(name.removesuffix(".json").partition(",")[0]):
        return name
    return order.key_of(name, names.parse(name)) if ",in=" in name else ""


def oldest_names(oldest_key: str, others: Sequence[str]) -> list[str]:
    """Return the names that may be the oldest: that of the smallest `arrival_key`, and the names without a key."""
    return [*([order.name_of(oldest_key)] if oldest_key else []), *others]


def since(spool: SpoolDir, name: str) -> tuple[float, str] | None:
    """Return since when a job waits: its last return to pending/, or for a drop the time of its file."""
    try:
        item = spool.read(PENDING, name).record
    except (OSError, DamagedRecordError):  # a drop, or a job that moved on
        sig = files.sig_of(spool.path(PENDING, name))
        parts = names.parse(name)
        return None if sig is None else (sig.mtime_ns / 1e9, parts.stem if parts else name)
    last = item.standing().last
    since_at = instant(last.due_at or last.at) if last is not None else None
    return None if since_at is None else (since_at, item.id)
