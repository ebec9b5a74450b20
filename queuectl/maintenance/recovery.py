"""Repair torn records in done/ and dlq/ after a pool that did not stop cleanly, in small steps between other work.

With `durability = "queue"` a power cut may keep the move of a finished job but lose the end of its record, which is
then not valid JSON. Records in pending/ and running/ are repaired when a worker reads them. No worker reads records of
ended jobs, so this module goes through them once. The sign of a power cut is a pool's record without its lock (a pool
fsyncs its record when it starts, so a power cut leaves it). A record that cannot be repaired now is tried again. As
long as one is left, the pool leaves its own record, so that the next pool tries, too.

The same walk makes the notes of unmet jobs again (`spool.victims`), which a power cut may take, so that their parents
bring them back (promise P13).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from queuectl.errors import DamagedRecordError
from queuectl.jobs import repair
from queuectl.model import names, record
from queuectl.model.lifecycle import DLQ, DONE, UNMET
from queuectl.spool import victims
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import files, sharing

_STEP = 1000
# Enough for the last event of an unmet job, whose reason may be long.
_TAIL_BYTES = 2048
_UNMET = f'"event": "{UNMET}"'.encode()


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
                tail = self._tail(self._spool.path(state, name))
                if state == DLQ and tail is not None and _UNMET in tail:
                    self._note(name)
                yield state, name, tail is None or not (tail == b"" or tail.endswith(record.CLOSING))

    @staticmethod
    def _tail(path: str) -> bytes | None:
        """Return the end of a record, b"" if there is none to repair, None if it cannot be read."""
        try:
            return files.read_tail(path, _TAIL_BYTES) or b"\0"
        except (FileNotFoundError, files.NotRegularError):
            return b""
        except OSError:
            return None  # perhaps torn: the repair reads it again

    def _note(self, name: str) -> None:
        """Note again of which parent a job in dlq/ died, if it did."""
        with contextlib.suppress(OSError, DamagedRecordError):
            item = self._spool.read(DLQ, name).record
            last = item.standing().last
            if last is not None and last.event == UNMET and last.after and not names.why_bad_id(last.after):
                victims.note(self._spool, last.after, item.id)
