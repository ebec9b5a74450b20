"""A carrier to keepers on this machine, through their sockets: for tests, and to try a cluster without one.

The setting `cluster.scheduler = "unix:/FOLDER"` names a folder whose subfolders are the scratch folders of keepers; the
name of such a folder is the node's. One connection a node carries any number of messages at once.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Mapping, Sequence

from queuectl.cluster import carrier
from queuectl.cluster.carrier import Arrival, Node
from queuectl.cluster.scratch import SOCKET
from queuectl.system import local_socket

# How often to look for nodes that came or left.
_LOOK_EVERY_S = 0.2
_CHUNK = 1 << 16
_CONNECT_WITHIN_S = 1.0


class _Connection:
    """A connection to a keeper, and the calls that wait for its answers."""

    def __init__(self, scratch: str) -> None:
        self.socket = local_socket.connect(scratch, SOCKET, _CONNECT_WITHIN_S)
        self.socket.setblocking(False)
        self.calls: set[int] = set()
        self.unsent = b""
        self.unread = b""


class LoopbackCarrier:
    """See `carrier.Carrier`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._selector = selectors.DefaultSelector()  # a selector that has a descriptor itself: epoll
        self._connections: dict[str, _Connection] = {}
        self._nodes: dict[str, Node] = {}
        self._looked_s = -_LOOK_EVERY_S
        self._numbers = 0
        self._lost: list[Arrival] = []
        self._bell, self._rung = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ, None)

    @property
    def lost(self) -> str:
        """See `carrier.Carrier`."""
        return "" if os.path.isdir(self._folder) else f"{self._folder} is not there"

    def fileno(self) -> int:
        """See `carrier.Carrier`."""
        return self._selector.fileno()

    def nodes(self) -> Mapping[str, Node]:
        """See `carrier.Carrier`: a node is there while its keeper has a socket."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            names: list[str] = []
            with contextlib.suppress(OSError):
                names = sorted(os.listdir(self._folder))
            paths = {name: os.path.join(self._folder, name) for name in names}
            self._nodes = {
                name: Node(name, path) for name, path in paths.items() if os.path.exists(os.path.join(path, SOCKET))
            }
        return self._nodes

    def call(self, node: str, op: str, body: str) -> int:
        """See `carrier.Carrier`."""
        self._numbers += 1
        number = self._numbers
        try:
            connection = self._connected(node)
        except OSError as error:
            self._lose([number], f"{node}: {error.strerror or error}")
            return number
        connection.calls.add(number)
        connection.unsent += local_socket.pack(str(number), op, body)
        self._write(node, connection)
        return number

    def arrivals(self) -> Sequence[Arrival]:
        """See `carrier.Carrier`."""
        found: list[Arrival] = []
        for key, events in self._selector.select(0):
            if key.data is None:
                self._bell.recv(_CHUNK)
                continue
            connection = self._connections.get(key.data)
            if connection is None or connection.socket is not key.fileobj:
                continue
            if events & selectors.EVENT_WRITE:
                self._write(key.data, connection)
            if events & selectors.EVENT_READ:
                found += self._read(key.data, connection)
        found += self._lost
        self._lost.clear()
        return found

    def busy(self, node: str, busy: bool) -> None:
        """Do nothing: no machinery takes a keeper away."""

    def close(self) -> None:
        """See `carrier.Carrier`."""
        for connection in self._connections.values():
            connection.socket.close()
        self._bell.close()
        self._rung.close()
        self._selector.close()

    def _connected(self, node: str) -> _Connection:
        if node not in self._connections:
            made = _Connection(os.path.join(self._folder, node))
            self._connections[node] = made
            self._selector.register(made.socket, selectors.EVENT_READ, node)
        return self._connections[node]

    def _write(self, node: str, connection: _Connection) -> None:
        try:
            while connection.unsent:
                connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._disconnect(node, error.strerror or str(error))
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        self._selector.modify(connection.socket, events, node)

    def _read(self, node: str, connection: _Connection) -> list[Arrival]:
        try:
            data = connection.socket.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._disconnect(node, "the keeper has ended")
            return []
        *lines, connection.unread = (connection.unread + data).split(b"\n")
        found = []
        for line in lines:
            number, how, text = local_socket.unpack(line)
            connection.calls.discard(int(number))
            kind = carrier.ANSWERED if how == local_socket.OK else carrier.REFUSED
            found.append(Arrival(int(number), kind, text))
        return found

    def _disconnect(self, node: str, why: str) -> None:
        connection = self._connections.pop(node)
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._lose(sorted(connection.calls), f"{node}: {why}")

    def _lose(self, numbers: list[int], why: str) -> None:
        self._lost += [Arrival(number, carrier.LOST, why) for number in numbers]
        self._rung.send(b"!")
