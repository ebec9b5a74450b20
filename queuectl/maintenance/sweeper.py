"""Remove what dead workers, pools and commands left in .queuectl/ and tmp/, and texts of jobs that are gone.

`debris` finds the leftovers and has the proof that no process needs them.
"""

from __future__ import annotations

import contextlib

from queuectl.jobs import error_text
from queuectl.jobs.rescue import Orphans
from queuectl.maintenance import debris
from queuectl.maintenance.old_splits import OldSplits
from queuectl.maintenance.old_starts import OldStarts
from queuectl.model.lifecycle import DLQ
from queuectl.spool import cancel_requests, desk, stamps
from queuectl.spool.blame import Blame
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files
from queuectl.system.locks import NamedLock

# A pass over dlq/ takes at most this share of the time, and deletes at most this many texts.
_SWEEP_SHARE = 0.01
_SWEEP_AT_MOST = 1000


class Sweeper:
    """Sweeps one spool for a pool."""

    def __init__(self, session: Session, stripes: Stripes) -> None:
        self._spool = session.spool
        self._orphans = Orphans(session, stripes)
        self._blame = Blame(session.spool, clock=session.clock)
        self._texts = OrphanTexts(session)
        self._old_starts = OldStarts(session)
        self._old_splits = OldSplits(session)
        self._stuck_desks: set[str] = set()

    def sweep(self) -> None:
        """Remove what no process needs any more. Raises OSError for a problem of the machine."""
        self.sweep_leases()
        sweep_requests(self._spool)
        self._texts.sweep()
        self._old_starts.sweep()
        self._old_splits.sweep()

    def sweep_leases(self) -> None:
        """Delete lease files that no process holds and no running record names, their files in tmp/, and old stamps."""
        named = debris.named_leases(self._spool)
        for session in debris.dead_sessions(self._spool, named):
            if (held := stamps.lock(self._spool, session)) is not None:
                from queuectl.spool import node_boards  # only where a cluster was led

                node_boards.remove(self._spool, session)
                stamps.remove(self._spool, session, held)
        for lease, path in debris.unnamed_leases(self._spool, named):
            lock = NamedLock(path)
            with contextlib.suppress(OSError):
                if lock.try_acquire():
                    output = self._spool.output_path(lease)
                    sig = files.sig_of(output)
                    if sig is not None and sig.size == 0:
                        disk.unlink(output)
                    lock.remove()
            lock.close()
        self._sweep_desks()
        for name in self._spool.starts():
            try:
                self._orphans.sweep_start(name)
            except OSError as error:
                if self._blame.fault(error, self._spool.tmp_path(name)) is None:
                    raise

    def _sweep_desks(self) -> None:
        """Delete the desks of dead workers; a desk that cannot be deleted is not tried again by this pool."""
        for lease in debris.dead_desks(self._spool):
            if lease not in self._stuck_desks and not desk.remove(self._spool, lease):
                self._stuck_desks.add(lease)


class OrphanTexts:
    """Removes the texts of jobs that somebody dragged away or deleted, now and then."""

    def __init__(self, session: Session) -> None:
        self._spool, self._clock = session.spool, session.clock
        self._seen: files.FileSig | None = None
        self._next_s = 0.0

    def sweep(self) -> int:
        """Make a pass if dlq/ has changed since the last one; return how many texts were removed.

        A folder that cannot be listed waits for the next pass, because a pool must not wait for a text (P9).
        """
        started_s = self._clock.monotonic()
        try:
            now = files.sig_of(self._spool.folder(DLQ))
            if started_s < self._next_s or now == self._seen:
                return 0
            found = error_text.orphans(self._spool)
        except OSError:
            return 0
        taken = sum(error_text.forget(self._spool, error_text.job_file(name)) for name in found[:_SWEEP_AT_MOST])
        # Deleted texts have changed the folder, and remaining texts wait for the next pass: both need another look.
        self._seen = None if len(found) > _SWEEP_AT_MOST else now
        took_s = self._clock.monotonic() - started_s
        self._next_s = self._clock.monotonic() + took_s / _SWEEP_SHARE
        return taken


def sweep_pools(spool: SpoolDir) -> int:
    """Remove what dead pools left: records, requests, locks, summaries; return how many had not ended cleanly."""
    unclean = 0
    for kind, path in debris.pool_files(spool):
        if not files.is_regular(path):
            continue  # a foreign file (P11), or gone
        with contextlib.suppress(OSError):
            if kind == "lock":
                lock = NamedLock(path)
                if lock.try_acquire():
                    lock.remove()
            else:
                disk.unlink(path)
                unclean += kind == "json"
    return unclean


def sweep_requests(spool: SpoolDir) -> None:
    """Remove requests to cancel a job that does not run. Raises OSError."""
    for job_id, attempt in debris.idle_requests(spool):
        cancel_requests.remove(spool, job_id, attempt)
