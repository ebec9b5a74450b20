"""The stripes: 64 lock files, each of which guards every 64th id (P3, P7).

A process that claims, rescues, changes or deletes a job holds the stripe of its id until that is done.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from queuectl.errors import SpoolUnavailableError
from queuectl.model import names
from queuectl.spool.access import unavailable
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.locks import FileLock

# How long a change by a person waits for a worker that is claiming the same id.
_PATIENCE_S = 10.0
_POLL_S = 0.01


class Stripes:
    """The 64 lock files, opened when they are first used and kept open."""

    def __init__(self, spool: SpoolDir) -> None:
        self._spool = spool
        self._locks: dict[int, FileLock] = {}

    def of(self, job_id: str) -> FileLock:
        """Return the lock that guards an id."""
        return self.at(names.stripe_of(job_id))

    def at(self, number: int) -> FileLock:
        """Return the lock of a stripe."""
        lock = self._locks.get(number)
        if lock is None:
            lock = self._locks[number] = FileLock(self._spool.stripe_path(number))
        return lock

    def part(self, job_id: str) -> FileLock:
        """Return the lock of an id, held or not, and replace it: the new handle is busy while the old one is held."""
        parted = self.of(job_id)
        self._locks[names.stripe_of(job_id)] = FileLock(parted.path)
        return parted

    def close(self) -> None:
        """Close all files."""
        for lock in self._locks.values():
            lock.close()


@contextlib.contextmanager
def held(session: Session, job_id: str) -> Iterator[None]:
    """Hold the stripe of an id, so that no other process claims, rescues or deletes the job.

    Raises:
        SpoolUnavailableError: another process holds it for too long, or the disk refused a change meanwhile.
    """
    spool, clock = session.spool, session.clock
    spool.complete()
    stripes = Stripes(spool)
    try:
        stripe = stripes.of(job_id)
        deadline_s = clock.monotonic() + _PATIENCE_S
        while not stripe.try_acquire():
            if clock.monotonic() > deadline_s:
                what = f"another process holds job {job_id!r}"
                raise SpoolUnavailableError(what, path=spool.root, hint="try again")
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            stripe.release()
    except OSError as error:
        raise unavailable(spool, error) from error
    finally:
        stripes.close()
