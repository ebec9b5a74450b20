"""The files of gates, kept open by one process: the lock and the board of each queue (see `gates`)."""

from __future__ import annotations

import time
from collections import OrderedDict

import msgspec

from queuectl.flows.open_board import OpenBoard
from queuectl.spool.session import Session
from queuectl.system import disk
from queuectl.system.locks import KeptLock

# So many gates stay open: those that were used last.
_OPEN_AT_MOST = 32
_POLL_S = 0.0005


class Gate(msgspec.Struct, frozen=True, eq=False):
    """The files of the gate of a queue, kept open."""

    lock: KeptLock
    board: OpenBoard

    def close(self) -> None:
        """Close both."""
        self.board.close()
        self.lock.close()


class OpenGates:
    """The gates that one process keeps open."""

    def __init__(self, session: Session) -> None:
        self._spool = session.spool
        self._clock = session.clock
        self._open: OrderedDict[str, Gate] = OrderedDict()

    def close(self) -> None:
        """Close all files."""
        for gate in self._open.values():
            gate.close()
        self._open.clear()

    def of(self, queue: str) -> Gate:
        """Return the gate of a queue, and keep it open."""
        gate = self._open.get(queue)
        if gate is None:
            if len(self._open) >= _OPEN_AT_MOST:
                self._open.popitem(last=False)[1].close()
            gate = self._open[queue] = self.apart(queue)
        else:
            self._open.move_to_end(queue)
        return gate

    def apart(self, queue: str) -> Gate:
        """Return the gate of a queue for one use; the caller closes it."""
        return Gate(KeptLock(self._spool.gate_lock_path(queue)), OpenBoard(self._spool.gate_path(queue)))

    def acquire(self, lock: KeptLock, patience_s: float) -> bool:
        """Take a lock; wait for up to `patience_s`. The folder of the boards is made when it is first needed."""
        until_s = 0.0
        while True:
            try:
                if lock.try_acquire():
                    return True
            except FileNotFoundError:
                disk.make_folder(self._spool.gate_dir)
                continue
            now_s = self._clock.monotonic()
            until_s = until_s or now_s + patience_s
            if now_s >= until_s:
                lock.close()  # perhaps a process holds a file that was deleted
                return False
            time.sleep(_POLL_S)
