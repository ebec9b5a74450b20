"""Waking a loop that waits for pipes, from another thread or from a signal handler."""

from __future__ import annotations

import contextlib
import threading
from multiprocessing.connection import Pipe


class Doorbell:
    """`ring` wakes whoever waits for `conn` in `multiprocessing.connection.wait`; `answer` makes it quiet again."""

    def __init__(self) -> None:
        self.conn, self._send = Pipe(duplex=False)
        self._rung = threading.Lock()

    def ring(self) -> None:
        """Wake the loop; rung many times before the answer is as good as once, so the pipe never fills."""
        if self._rung.acquire(blocking=False):
            with contextlib.suppress(OSError):
                self._send.send_bytes(b".")

    def answer(self) -> None:
        """Take the ring in."""
        with contextlib.suppress(OSError, EOFError):
            self.conn.recv_bytes()
        with contextlib.suppress(RuntimeError):
            self._rung.release()

    def close(self) -> None:
        """Close both ends."""
        self._send.close()
        self.conn.close()
