"""Send and receive messages through the pipes of `multiprocessing` with one system call each, and little code (POSIX).

A message is what `Connection.send_bytes` makes of it: four bytes with its length, big-endian, and its bytes. So each
end may use this module or the Connection. On Windows the pipes are of another kind, and the Connection does the work.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from multiprocessing.connection import Connection

_LENGTH = struct.Struct("!i")
# Longer messages have another head.
_LONGEST_BYTES = 0x7FFFFFFF
_READ_BYTES = 64 * 1024


def send(conn: Connection, message: bytes) -> None:
    """Send a message.

    Raises:
        OSError: the other end is closed.
        InterruptedError: Ctrl-C on Windows; the message may be there.
    """
    if os.name == "nt" or len(message) > _LONGEST_BYTES:
        conn.send_bytes(message)
        return
    data = _LENGTH.pack(len(message)) + message
    fd = conn.fileno()
    while written := os.write(fd, data):
        if written == len(data):
            return
        data = data[written:]


class Reader:
    """Receives the messages of a pipe that nothing else reads."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._rest = b""
        self._messages: deque[bytes] = deque()

    @property
    def has_message(self) -> bool:
        """True if a message was read that `receive` has not returned yet: the pipe does not show it any more."""
        return bool(self._messages)

    def receive(self) -> bytes:
        """Return the next message; wait for it if there is none.

        Raises:
            EOFError, OSError: the other end is closed.
        """
        if os.name == "nt":
            return self._conn.recv_bytes()
        while not self._messages:
            self._read()
        return self._messages.popleft()

    def _read(self) -> None:
        """Read what the pipe has, or wait for something, and split it into messages."""
        if not (data := os.read(self._conn.fileno(), _READ_BYTES)):
            raise EOFError
        data = self._rest + data
        start = 0
        while len(data) - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(data, start)
            end = start + _LENGTH.size + size
            if end > len(data):
                break
            self._messages.append(data[start + _LENGTH.size : end])
            start = end
        self._rest = data[start:]
