"""The worker's end of the pipe to its supervisor, and the one place where a worker waits.

A wait ends with a message, with a command that may have ended, with a signal, or with its timeout.
"""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection

from queuectl.system import framing
from queuectl.system.selector import Selector
from queuectl.worker.executors.base import Ended, Executor, Process
from queuectl.worker.messages import Order, Report, pack, unpack_order


class Channel:
    """The pipe of one worker, and the executor whose commands it also waits for."""

    def __init__(self, conn: Connection, executor: Executor) -> None:
        self._conn = conn
        self._executor = executor
        self._reader = framing.Reader(conn)
        self._selector = Selector()
        self._is_woken = False
        """True if a command may have ended since `ended` was called."""
        self.is_connected = True
        """False once the supervisor is gone."""

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for a message or the possible end of a command; return whether there is a message. May return early.

        Raises:
            OSError: the system cannot wait.
        """
        conn, has_message = self._conn, self._reader.has_message
        sources = [conn, *self._executor.sources] if self.is_connected else self._executor.sources
        for source in self._selector.wait(sources, 0 if has_message else timeout_s):
            if source is conn:
                has_message = True
            else:
                self._is_woken = True
                self._executor.wake()
        return has_message

    def ended(self) -> Sequence[tuple[Process, Ended]] | None:
        """Return the commands that have ended since the last call, and how; None if no wait ended with a command."""
        if not self._is_woken:
            return None
        self._is_woken = False
        return self._executor.ended()

    def receive(self) -> Order:
        """Return the next order; wait for it if there is none.

        Raises:
            EOFError, OSError: the supervisor is gone.
        """
        return unpack_order(self._reader.receive())

    def send(self, reports: list[Report]) -> None:
        """Send reports to the supervisor.

        Raises:
            OSError: the supervisor is gone.
        """
        framing.send(self._conn, pack(reports))

    def disconnect(self) -> None:
        """Stop waiting for messages, because the supervisor is gone."""
        self.is_connected = False
