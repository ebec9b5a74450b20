"""Wake a loop that waits for pipes, from another thread or from a signal handler."""

from __future__ import annotations

import contextlib
import threading
from multiprocessing.connection import Connection, Pipe
from typing import Any


class Wakeup:
    """A pipe that a loop waits for together with others: `wake` makes `conn` readable, `clear` empties it again."""

    def __init__(self) -> None:
        pair: Any = Pipe(duplex=False)  # to a type checker, pipes of Windows are of another kind
        self.conn: Connection
        self.conn, self._send = pair
        self._pending = threading.Lock()

    def wake(self) -> None:
        """Wake the loop. Several calls before the next `clear` send one byte, so the pipe never fills."""
        if self._pending.acquire(blocking=False):
            with contextlib.suppress(OSError):
                self._send.send_bytes(b".")

    def clear(self) -> None:
        """Empty the pipe, because the loop is awake."""
        with contextlib.suppress(OSError, EOFError):
            self.conn.recv_bytes()
        with contextlib.suppress(RuntimeError):
            self._pending.release()

    def close(self) -> None:
        """Close both ends."""
        self._send.close()
        self.conn.close()
