"""The worker's end of the pipe to its supervisor, and the one place where a worker waits.

A wait ends by a message, by a command that may have ended, by a signal, or by the time.
"""

from __future__ import annotations

from multiprocessing.connection import Connection

from queuectl.system.selector import Selector
from queuectl.worker.executors.base import Ended, Executor, Process
from queuectl.worker.messages import Order, Report, pack, unpack_order


class Channel:
    """The pipe of one worker, and the executor whose commands it waits for as well."""

    def __init__(self, conn: Connection, executor: Executor) -> None:
        self._conn = conn
        self._executor = executor
        self._selector = Selector()
        self._is_woken = False
        """True if a command may have ended since the last look at it."""
        self.is_connected = True
        """False once the supervisor is gone."""
        self.has_message = False
        """True if a message was there at the end of the last wait."""

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until a message is there; return whether one is. May return False early."""
        conn, self.has_message = self._conn, False
        sources = [conn, *self._executor.sources] if self.is_connected else self._executor.sources
        for source in self._selector.wait(sources, timeout_s):
            if source is conn:
                self.has_message = True
            else:
                self._is_woken = True
                self._executor.wake()
        return self.has_message

    def wait_for(self, process: Process, timeout_s: float | None) -> Ended | None:
        """Wait until a command has ended or a message is there or the time is over; return the end, or None."""
        if self._is_woken:  # since the last look at it
            self._is_woken = False
            if (ended := process.poll()) is not None:
                return ended
        self.wait(timeout_s)
        self._is_woken = False
        return process.poll()

    def receive(self) -> Order:
        """Return the next order; wait for it if there is none.

        Raises:
            EOFError, OSError: the supervisor is gone.
        """
        return unpack_order(self._conn.recv_bytes())

    def send(self, reports: list[Report]) -> None:
        """Send reports to the supervisor.

        Raises:
            OSError: it is gone.
        """
        self._conn.send_bytes(pack(reports))

    def disconnect(self) -> None:
        """Stop waiting for messages: the supervisor is gone."""
        self.is_connected = False
