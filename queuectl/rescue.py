"""Recovery: jobs whose worker died are found by a freed lock, continuously, and go on (promise P5).

For each file in running/ that none of this pool's own live workers is known to run: if its claimer died before the
start it goes back to pending/; if its outcome is on record only the move is made; if its lease is free the run is
recorded as abandoned and the job moves on by the state table. A held lease means alive, however long it takes: slow
is not dead. The work itself is `Claims.rescue`, under the id's stripe.
"""

from __future__ import annotations

import contextlib
import os
import random
from typing import NamedTuple

from queuectl import batch, errortext, fsops
from queuectl.claim import Claims
from queuectl.clock import Clock
from queuectl.config import Settings
from queuectl.errors import DamagedRecordError
from queuectl.lifecycle import DLQ, RUNNING
from queuectl.locks import NamedLock
from queuectl.settle import Settled, Stripes
from queuectl.spool import SpoolDir


class Rescued(NamedTuple):
    """A job that was found without its worker, and where it went."""

    job_id: str
    settled: Settled


class Rescue:
    """Looks after running/ (and batches whose split was cut short) for a supervisor."""

    def __init__(
        self,
        spool: SpoolDir,
        settings: Settings,
        claims: Claims,
        stripes: Stripes,
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._spool = spool
        self._settings = settings
        self._claims = claims
        self._stripes = stripes
        self._clock = clock
        self._rng = rng
        self.foreign: set[str] = set()
        """Names in running/ that are no files, as the last look found them: left alone, never waited for (P11)."""

    def look(self, mine: set[str]) -> list[Rescued]:
        """One pass over running/; `mine` are the ids that live workers of this pool run.

        Raises:
            OSError: the machine's trouble; what could not be done is done at a later pass.
        """
        found = []
        foreign: set[str] = set()
        for name in self._spool.job_names(RUNNING):
            job_id = name.removesuffix(".json")
            if job_id in mine:
                continue
            try:
                settled = self._claims.rescue(name)
            except (DamagedRecordError, fsops.NotRegularError):
                foreign.add(name)
                continue
            except PermissionError:
                continue  # a mode that nobody may read, or a handle that shares nothing: seen at a later pass
            if settled is not None:
                if settled.to == DLQ:
                    errortext.write(self._spool, settled.name, rng=self._rng)
                found.append(Rescued(job_id, settled))
        self.foreign = foreign
        return found

    def finish_batches(self) -> int:
        """Finish the splits that a crash cut short; how many jobs came of them."""
        made = 0
        for taken in batch.unfinished(self._spool):
            stripe = self._stripes.of(batch.token_of(taken))
            if not stripe.try_acquire():
                continue
            try:
                made += batch.split(
                    self._spool, self._settings, taken, may_be_there=True, clock=self._clock, rng=self._rng
                )
            except (FileNotFoundError, fsops.NotRegularError, PermissionError):
                continue
            finally:
                stripe.release()
        return made

    def sweep_leases(self) -> None:
        """Delete lease files that nobody holds and no running record names, and what lies beside them in tmp/."""
        named: set[str] = set()
        for name in self._spool.job_names(RUNNING):
            with contextlib.suppress(DamagedRecordError, OSError):
                stored = self._spool.read(RUNNING, name)
                named.update(event.lease for event in stored.record.history if event.lease)
        for name in fsops.names(self._spool.lease_dir):
            lease = name.removesuffix(".lock")
            if lease in named:
                continue
            lock = NamedLock(os.path.join(self._spool.lease_dir, name))
            with contextlib.suppress(OSError):
                if lock.try_acquire():
                    output = self._spool.output_path(lease)
                    sig = fsops.sig_of(output)
                    if sig is not None and sig.size == 0:
                        fsops.unlink(output)
                    lock.remove()
            lock.close()
        for name in self._spool.starts():
            with contextlib.suppress(FileNotFoundError, fsops.NotRegularError, PermissionError):
                self._claims.sweep_start(name)
