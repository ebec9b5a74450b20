"""Find what crashes leave in .queuectl/ and tmp/. Delete nothing: `leftovers` reports it, `sweeper` removes it.

A leftover looks like work in progress, so each kind needs a proof: a freed lock, or an age of an hour by the file
system's own time (the mtime of a newly created file; no clock of this machine is used).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from queuectl.errors import DamagedRecordError
from queuectl.model.lifecycle import RUNNING
from queuectl.spool import batch, pools, stamps
from queuectl.spool.cancel_requests import waiting
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import START
from queuectl.spool.lease import is_alive
from queuectl.system import disk, files

# No write takes this long; a producer that was suspended for longer fails when it continues, and reports that.
UNFINISHED_S = 3600.0
OUTPUT = ".out"


class FileAge:
    """The age of files by the file system's own time."""

    def __init__(self, spool: SpoolDir) -> None:
        self._spool = spool
        self._now_ns: int | None = None

    def is_over(self, sig: files.FileSig, seconds: float) -> bool:
        """Whether a file has not changed for longer; False also if no file can be created to compare it with."""
        if self._now_ns is None:
            try:
                if self._spool.lacks_folders:
                    raise FileNotFoundError(self._spool.tmp_dir)  # a check without repair creates no folder
                path = self._spool.write_temporary("now", b"", sync=False)
                found = files.sig_of(path)
                disk.unlink(path)
            except OSError:
                found = None
            self._now_ns = 0 if found is None else found.mtime_ns
        return self._now_ns - sig.mtime_ns > seconds * 1e9


class Named(NamedTuple):
    """The leases that the records in running/ name; `is_certain` is False if some record could not be read."""

    leases: set[str]
    is_certain: bool


class PoolFile(NamedTuple):
    """A file of a pool that is gone: `json`, `stop`, `lock` or `stopped`."""

    kind: str
    path: str


def named_leases(spool: SpoolDir) -> Named:
    """Find the leases that running jobs have or had."""
    found: set[str] = set()
    is_certain = True
    for name in spool.job_names(RUNNING):
        try:
            found.update(event.lease for event in spool.read(RUNNING, name).record.history if event.lease)
        except (DamagedRecordError, OSError):
            is_certain = False
    return Named(found, is_certain)


def unnamed_leases(spool: SpoolDir, named: Named) -> Iterator[tuple[str, str]]:
    """Find the leases that no running job names, with the paths of their locks, which prove whether a worker lives."""
    for name in spool.names(spool.lease_dir):
        lease = name.removesuffix(".lock")
        if lease not in named.leases:
            yield lease, os.path.join(spool.lease_dir, name)


def dead_sessions(spool: SpoolDir, named: Named) -> Iterator[str]:
    """Find the sessions that have no stamp, or one that has run out, and of which no running job may be."""
    if not (found := stamps.traces(spool)) or not named.is_certain:
        return
    used = {stamps.session_of(lease) for lease in named.leases}
    for session in found:
        stamp = stamps.read(spool, session)
        if (stamp is None or stamp.left_s() <= 0) and session not in used:
            yield session


def dead_outputs(spool: SpoolDir) -> list[str]:
    """Find the leases that no process holds and whose output is in tmp/. Call this only if no pool is alive.

    A live worker releases its lease for an instant after each job, and keeps its output open meanwhile.
    """
    found = [name.removesuffix(OUTPUT) for name in spool.names(spool.tmp_dir) if name.endswith(OUTPUT)]
    return [lease for lease in found if not is_alive(spool, lease)]


def dead_desks(spool: SpoolDir) -> list[str]:
    """Find the leases that no process holds and no running record names, and that have a desk."""
    found = spool.names(spool.desk_dir)
    # A live worker releases its lease for an instant after each job, but does not delete the file.
    locks = set(spool.names(spool.lease_dir))
    found = [lease for lease in found if f"{lease}.lock" not in locks]
    if not found:
        return []
    named = named_leases(spool)
    return [lease for lease in found if lease not in named.leases] if named.is_certain else []


def is_starting(spool: SpoolDir, name: str) -> bool:
    """Whether a file in tmp/ is the record of a drop whose worker is alive, or whose drop is still in running/."""
    if not name.startswith(START):
        return False
    job_id, _, lease = name.removeprefix(START).partition(",")
    return is_alive(spool, lease) or bool(spool.holds(job_id, (RUNNING,)))


def pool_files(spool: SpoolDir) -> Iterator[PoolFile]:
    """Find the records, requests, locks and summaries of pools that are gone."""
    for name in spool.names(spool.pool_dir):
        pool, _, kind = name.rpartition(".")
        if kind in ("json", "stop", "scale", "reload", "lock", "stopped") and not pools.is_live(spool, pool):
            yield PoolFile(kind, os.path.join(spool.pool_dir, name))


def idle_requests(spool: SpoolDir) -> Iterator[tuple[str, int]]:
    """Find requests to cancel a job that does not run, left by a command that was killed. Raises OSError."""
    for job_id, attempt in waiting(spool):
        if not spool.holds(job_id, (RUNNING,)):
            yield job_id, attempt


def split_notes(spool: SpoolDir) -> Iterator[str]:
    """Find the notes of splits whose file never reached taken/, or was deleted there; any of them may be new."""
    tokens = {batch.token_of(name) for name in spool.names(spool.taken_dir)}
    for name in sorted(spool.names(spool.split_dir)):
        if batch.token_of(name) not in tokens:
            yield os.path.join(spool.split_dir, name)
