"""After a pool that did not end cleanly: torn records in done/ and dlq/ are mended, in small steps beside the work.

With `durability = "queue"` a power cut may keep the move of a finished job and lose the end of its record, which then
is no JSON for whoever opens it. Records in pending/ and running/ are mended when they are met; nobody meets those that
have ended, so they are gone through once. The sign is a pool's record without its lock (it is synced when a pool
starts, so a power cut leaves it).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from queuectl import fsops, record
from queuectl.claim import Claims
from queuectl.lifecycle import DLQ, DONE
from queuectl.spool import SpoolDir

_STEP = 1000


class Aftermath:
    """One walk through the records that have ended."""

    def __init__(self, spool: SpoolDir, claims: Claims) -> None:
        self._spool = spool
        self._claims = claims
        self._walk = self._torn()
        self.over = False

    def step(self) -> int:
        """Look at a thousand files at most, at the last bytes of each; how many were mended.

        Raises:
            OSError: the machine's trouble; the walk goes on at the next step.
        """
        mended = 0
        for _ in range(_STEP):
            found = next(self._walk, None)
            if found is None:
                self.over = True
                break
            state, name, torn = found
            if torn:
                mended += self._claims.mend_ended(state, name)
        return mended

    def _torn(self) -> Iterator[tuple[str, str, bool]]:
        for state in (DONE, DLQ):
            for name in self._spool.job_names(state):
                end = record.CLOSING
                with contextlib.suppress(OSError):
                    end = fsops.read_tail(self._spool.path(state, name), len(record.CLOSING))
                yield state, name, end != record.CLOSING
