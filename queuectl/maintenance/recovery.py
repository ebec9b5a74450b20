"""Repair torn records in done/ and dlq/ after a pool that did not stop cleanly, in small steps between other work.

With `durability = "queue"` a power cut may keep the move of a finished job but lose the end of its record, which is
then not valid JSON. Records in pending/ and running/ are repaired when a worker reads them. No worker reads records of
ended jobs, so this module goes through them once. The sign of a power cut is a pool's record without its lock (a pool
fsyncs its record when it starts, so a power cut leaves it). A record that cannot be repaired now is tried again. As
long as one is left, the pool leaves its own record, so that the next pool tries, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from queuectl.jobs import repair
from queuectl.model import record
from queuectl.model.lifecycle import DLQ, DONE
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import files, sharing

_STEP = 1000


class Recovery:
    """One walk through the records of ended jobs, and further tries at those that could not be repaired."""

    def __init__(self, session: Session, stripes: Stripes) -> None:
        self._session, self._stripes = session, stripes
        self._spool = session.spool
        self._walk = self._torn()
        self._left: list[tuple[str, str]] = []
        self.is_over = False
        """True once each record was checked."""

    @property
    def left(self) -> int:
        """How many records are still torn, of those checked so far: busy, or the file system refused the repair."""
        return len(self._left)

    def step(self) -> int:
        """Check the last bytes of at most a thousand files; return how many were repaired.

        Raises:
            OSError: a problem of the machine; the walk continues at the next step, and the file is tried again.
        """
        repaired = 0
        for _ in range(_STEP):
            found = next(self._walk, None)
            if found is None:
                self.is_over = True
                break
            state, name, torn = found
            if torn:
                repaired += self._repair(state, name)
        return repaired

    def again(self) -> int:
        """Try at most a thousand of the remaining records; return how many were repaired. Raises as `step`."""
        return sum(self._repair(*self._left[0]) for _ in range(min(len(self._left), _STEP)))

    def _repair(self, state: str, name: str) -> bool:
        """Try one record; until it is whole, move it to the end of the remaining ones."""
        with contextlib.suppress(ValueError):
            self._left.remove((state, name))
        self._left.append((state, name))
        where = Located(state, name, self._spool.path(state, name))
        try:
            repaired = repair.repair_ended(self._session, self._stripes, where)
        except OSError as error:
            if sharing.is_trouble(error):
                raise
            return False  # a problem of this file only: a mode, a flag, an open handle
        if repaired is not None:
            self._left.pop()
        return bool(repaired)

    def _torn(self) -> Iterator[tuple[str, str, bool]]:
        for state in (DONE, DLQ):
            for name in self._spool.job_names(state):
                yield state, name, self._is_torn(self._spool.path(state, name))

    @staticmethod
    def _is_torn(path: str) -> bool:
        try:
            return files.read_tail(path, len(record.CLOSING)) != record.CLOSING
        except (FileNotFoundError, files.NotRegularError):
            return False
        except OSError:
            return True  # perhaps: the repair reads it again
