"""Show the queues of a spool: what waits and runs in each, its limits, its pause, and who takes it. Only looks.

Waiting jobs are counted by their names: a drop that no pool has judged counts as one of the default queue, and a job
that waits for another one counts nowhere. Running jobs are counted by their records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from queuectl.errors import DamagedRecordError, QueuectlError
from queuectl.model import names, queues, settings
from queuectl.model.lifecycle import RUNNING
from queuectl.monitor import brakes
from queuectl.monitor.rows import PoolRow
from queuectl.spool import pause, settings_file
from queuectl.spool.folder import SpoolDir
from queuectl.system import files

# So many records in running/ are read.
_READ_AT_MOST = 1000
_KEYS = 10


class KeyRow(NamedTuple):
    """A key that jobs wait for, as names have it."""

    key: str
    waiting: int
    running: int


class QueueRow(NamedTuple):
    """A queue. The limits are those of the settings; `slots` 0 means no limit."""

    queue: str
    waiting: int
    running: int
    slots: int
    per_key: int
    weight: int
    paused: str | None
    """The reason in PAUSED-QUEUE, None if the queue is not paused."""
    paused_until: float | None
    is_taken: bool
    """Whether a live pool takes it; True if no pool lives."""
    keys: tuple[KeyRow, ...]
    """The keys that most jobs wait for."""
    is_set: bool = True
    """Whether the settings name it, or it is the default queue."""
    rate: str = ""
    """The following are as in `brakes.Brakes`."""
    rate_next_at: float | None = None
    failures: int = 0
    is_halted: bool = False
    is_half_open: bool = False

    @property
    def state(self) -> str:
        """What holds it up, in words, or ""."""
        if self.paused is not None:
            word = "halted" if self.is_halted else "paused"
            return f"{word}: {self.paused}" if self.paused else word
        if not self.is_taken:
            return "no workers take it"
        if self.is_half_open:
            return "one job at a time until one succeeds"
        if self.slots and self.running >= self.slots:
            return "full"
        return f"rate {self.rate} reached" if self.rate_next_at is not None else ""

    @property
    def state_until(self) -> float | None:
        """Until when that lasts, None if nobody knows."""
        if self.paused is not None:
            return self.paused_until
        return self.rate_next_at if self.state.startswith("rate ") else None

    @property
    def is_plain(self) -> bool:
        """Whether this is the default queue and nothing is to be said of it."""
        says = self.slots or self.paused is not None or self.keys or self.rate or self.failures
        return self.queue == queues.DEFAULT and not says


class Waits:
    """Counts waiting names by queue, and by queue and key. Only names with a comma are parsed."""

    def __init__(self, limits: queues.Queues) -> None:
        self._limits = limits
        self.jobs: Counter[str] = Counter()
        self.with_key: Counter[tuple[str, str]] = Counter()

    def add(self, listed: list[str]) -> None:
        """Count some names in pending/."""
        generated, others = names.split_generated(listed)
        self.add_plain(len(generated))
        for name in others:
            if (parts := names.parse(name)) is None or parts.after:
                continue  # the name of a blocked job does not say its queue
            self.jobs[parts.queue or queues.DEFAULT] += 1
            place = queues.place(parts.queue, parts.key, parts.owner, self._limits)
            if place is not None and place.key:
                self.with_key[place.queue, place.key] += 1

    @property
    def is_plain(self) -> bool:
        """Whether all are of the default queue and wait for no key."""
        return not self.with_key and not self.jobs.keys() - {queues.DEFAULT}

    def add_plain(self, count: int) -> None:
        """Count jobs of the default queue."""
        if count:
            self.jobs[queues.DEFAULT] += count


def rows(
    spool: SpoolDir, waiting: Iterable[str], limits: queues.Queues, pools: Iterable[PoolRow], now_at: float
) -> tuple[QueueRow, ...]:
    """Return the queues that have jobs, settings or a pause, by name. `waiting` are names in pending/."""
    found = Waits(limits)
    found.add(list(waiting))
    return rows_of(spool, found, limits, pools, now_at)


def rows_of(
    spool: SpoolDir, found: Waits, limits: queues.Queues, pools: Iterable[PoolRow], now_at: float
) -> tuple[QueueRow, ...]:
    """Return the same as `rows` for names that were counted."""
    waits, waits_with = found.jobs, found.with_key
    runs, runs_with = _running(spool, limits)
    paused = pause.paused_queues(spool)
    known = {queues.DEFAULT, *limits, *waits, *runs, *paused}
    return tuple(
        QueueRow(
            queue,
            waits[queue],
            runs[queue],
            limits.get(queue, queues.Queue()).slots,
            limits.get(queue, queues.Queue()).per_key,
            limits.get(queue, queues.Queue()).weight,
            pause.reason(spool, queue) if queue in paused else None,
            pause.until(spool, queue) if queue in paused else None,
            is_taken(queue, pools),
            tuple(
                KeyRow(key, count, runs_with[queue, key])
                for (_, key), count in Counter(
                    {where: count for where, count in waits_with.items() if where[0] == queue}
                ).most_common(_KEYS)
            ),
            queue in limits or queue == queues.DEFAULT,
            *brakes.of(spool, queue, limits.get(queue, queues.Queue()), now_at),
        )
        for queue in sorted(known)
    )


def without_texts(found: Iterable[QueueRow]) -> tuple[QueueRow, ...]:
    """Return the rows without a text of a job: also the name of a queue is one, if the settings do not name it."""
    return tuple(row._replace(paused=row.paused and "", keys=()) for row in found if row.is_set)


class Limits:
    """The queues in the settings of a spool, read again when the file changes; none if it has a mistake."""

    def __init__(self, spool: SpoolDir) -> None:
        self._spool = spool
        self._sig: files.FileSig | None = None
        self._found: queues.Queues = {}

    def read(self) -> queues.Queues:
        """Return the queues."""
        try:
            sig = files.sig_of(self._spool.settings_path)
            if sig != self._sig:
                self._sig, self._found = sig, {}
                self._found = settings.parse(settings_file.read(self._spool.settings_path)).queues
        except (OSError, QueuectlError):
            pass
        return self._found


def is_taken(queue: str, pools: Iterable[PoolRow]) -> bool:
    """Return whether a pool takes jobs of a queue; True without pools, because the next one may."""
    listed = list(pools)
    return not listed or any(not pool.queues or queue in pool.queues for pool in listed)


def _running(spool: SpoolDir, limits: queues.Queues) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Count running jobs by queue, and by queue and key."""
    found: Counter[str] = Counter()
    with_key: Counter[tuple[str, str]] = Counter()
    for name in spool.job_names(RUNNING)[:_READ_AT_MOST]:
        try:
            item = spool.read(RUNNING, name).record
        except (OSError, DamagedRecordError):
            continue  # it has just moved, or is a drop that is being claimed
        found[item.extras.queue or queues.DEFAULT] += 1
        place = queues.place(*item.place[:2], item.owner, limits)
        if place is not None and place.key:
            with_key[place.queue, place.key] += 1
    return found, with_key
