"""Requests and answers between processes of one user on one machine: a socket in a private folder. (Linux)

A request is the line `NUMBER WORD TEXT`, its answer the line `NUMBER ok TEXT` or `NUMBER no TEXT`. A connection may
carry many at once, and answers come in any order. The server takes requests from its own user and from root only,
whatever the modes of folder and socket say.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from queuectl.system import disk, files

# No line is longer: the longest text, and what is before it.
MAX_BYTES = 16 * 1024 * 1024 + 256
OK, NO = "ok", "no"
_CREDENTIALS = struct.Struct("3i")
_PIECE = 256 * 1024
_BACKLOG = 128
_MAX_CONNECTIONS = 512
# The longest address of a socket is 107 bytes.
_LONGEST_ADDRESS = 100


class Peer(NamedTuple):
    """Who is at the other end."""

    pid: int
    uid: int


class Request:
    """A message that waits for its answer."""

    def __init__(self, connection: _Connection, number: str, word: str, text: str) -> None:
        self.word = word
        self.text = text
        self._number = number
        self._connection = connection

    def answer(self, text: str) -> None:
        """Send the answer. It is lost if the other end has gone."""
        self._connection.send(pack(self._number, OK, text))

    def refuse(self, text: str) -> None:
        """Send why the request is refused."""
        self._connection.send(pack(self._number, NO, text))

    @property
    def is_gone(self) -> bool:
        """True if nobody waits for the answer any more."""
        return self._connection.is_closed


def pack(number: str, word: str, text: str) -> bytes:
    """Return a message as a line."""
    return f"{number} {word} {' '.join(text.splitlines())}\n".encode("utf-8", "backslashreplace")


def unpack(line: bytes | bytearray) -> tuple[str, str, str]:
    """Return number, word and text of a line. Raises ValueError."""
    number, word, text = bytes(line).decode("utf-8").rstrip("\n").split(" ", 2)
    return number, word, text


@contextlib.contextmanager
def address(folder: str, name: str) -> Iterator[str]:
    """Give the address of a socket in a folder; a long path is reached through a handle of the folder."""
    path = os.path.join(folder, name)
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield path
        return
    fd = files.open_folder(folder)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def peer(connection: socket.socket) -> Peer:
    """Return the process at the other end: who connected, or who began to listen; in this process's own numbers."""
    if sys.platform != "linux":
        raise OSError(errno.ENOTSUP, "only Linux says who is at the other end of a socket")
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(pid, uid)


def connect(folder: str, name: str, timeout_s: float) -> socket.socket:
    """Return a connection to the server in this folder. Raises OSError if there is none."""
    if sys.platform != "linux":
        raise OSError(errno.ENOTSUP, "commands of a cluster run on Linux only")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.settimeout(timeout_s)
        with address(folder, name) as where:
            made.connect(where)
    except BaseException:
        made.close()
        raise
    return made


def ask(connection: socket.socket, word: str, text: str) -> tuple[bool, str]:
    """Send the only request of a connection; return whether it was answered or refused, and the text.

    Raises:
        OSError: nobody answers (TimeoutError after the time of `connect`).
    """
    connection.sendall(pack("1", word, text))
    data = bytearray()
    while not data.endswith(b"\n"):
        piece = connection.recv(_PIECE)
        if not piece:
            raise ConnectionResetError(errno.ECONNRESET, "the keeper closed the connection")
        data += piece
    _, how, answer = unpack(data)
    return how == OK, answer


class Server:
    """Listens in a folder, and waits for requests and for other descriptors at once. It never waits for one peer."""

    def __init__(self, folder: str, name: str) -> None:
        if sys.platform != "linux":
            raise OSError(errno.ENOTSUP, "commands of a cluster run on Linux only")
        self._poll = select.poll()
        self._connections: dict[int, _Connection] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        disk.unlink(os.path.join(folder, name))
        before = os.umask(0o177)
        try:
            with address(folder, name) as where:
                self._socket.bind(where)
        finally:
            os.umask(before)
        self._socket.listen(_BACKLOG)
        self._poll.register(self._socket.fileno(), select.POLLIN)

    def watch(self, fd: int) -> None:
        """Let `wait` end when this descriptor is readable, too."""
        self._poll.register(fd, select.POLLIN)

    def wait(self, timeout_s: float | None) -> tuple[list[Request], set[int]]:
        """Return requests that have come, and which of the watched descriptors are readable; empty after the time."""
        requests, ready = [], set()
        for fd, events in self._poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000):
            if fd == self._socket.fileno():
                self._accept()
            elif fd in self._connections:
                requests += self._connections[fd].handle(events)
            else:
                ready.add(fd)
        return requests, ready

    def close(self) -> None:
        """Close everything."""
        for each in list(self._connections.values()):
            each.close()
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # gone again, or no handle is left
            made, _ = self._socket.accept()
            if peer(made).uid not in (os.geteuid(), 0) or len(self._connections) >= _MAX_CONNECTIONS:
                made.close()
                return
            made.setblocking(False)
            self._connections[made.fileno()] = _Connection(made, self._poll, self._connections)


class _Connection:
    """One connection, as the server has it."""

    def __init__(self, made: socket.socket, poll: select.poll, connections: dict[int, _Connection]) -> None:
        self.is_closed = False
        self._socket = made
        self._fd = made.fileno()
        self._poll = poll
        self._connections = connections
        self._in = bytearray()
        self._out = bytearray()
        poll.register(self._fd, select.POLLIN)

    def handle(self, events: int) -> list[Request]:
        """Read and write as far as possible without waiting; return whole requests."""
        if events & select.POLLOUT:
            self._flush()
        if not events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            return []
        try:
            piece = self._socket.recv(_PIECE)
        except BlockingIOError:
            return []
        except OSError:
            piece = b""
        if not piece:
            self.close()
            return []
        self._in += piece
        try:
            return list(self._requests(len(piece)))
        except ValueError:
            self.close()
            return []

    def _requests(self, fresh: int) -> Iterator[Request]:
        """Yield the requests that are whole. Raises ValueError for another line, or one too long."""
        while (end := self._in.find(b"\n", max(0, len(self._in) - fresh))) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            fresh = len(self._in)
            yield Request(self, *unpack(line))
        if len(self._in) > MAX_BYTES:
            raise ValueError("the line is too long")

    def send(self, data: bytes) -> None:
        """Send as much as possible now, and the rest when the other end reads."""
        if not self.is_closed:
            self._out += data
            self._flush()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._out[:sent]
        self._poll.modify(self._fd, select.POLLIN | (select.POLLOUT if self._out else 0))

    def close(self) -> None:
        """Close the connection."""
        if not self.is_closed:
            self.is_closed = True
            self._poll.unregister(self._fd)
            del self._connections[self._fd]
            self._socket.close()
