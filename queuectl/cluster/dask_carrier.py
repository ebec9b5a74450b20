"""The carrier by dask.distributed (`carrier.Carrier`): the worker's side of the bridge. Imports nothing of dask.

The bridge is a child process without a handle of the spool; a bridge that ends, or does not keep to the form of the
messages, is replaced by another.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from queuectl.cluster import frames, keys, launch
from queuectl.cluster.carrier import ANSWERED, LOST, REFUSED, Arrival, Node
from queuectl.cluster.frames import Frame, Frames, pack
from queuectl.cluster.wire import ProtocolError
from queuectl.errors import ClusterError

if TYPE_CHECKING:
    from queuectl.model.settings import Settings

SCHEMES = ("tls://", "tcp://")
_KINDS = (ANSWERED, REFUSED, LOST)
_READ_BYTES = 1 << 18
# A bridge that has just ended is replaced after this long.
_AGAIN_S = 1.0
_END_S = 3.0


def check(settings: Settings) -> keys.KeyFiles | None:
    """Return the spool's keys (None for a tcp:// scheduler) if the settings name a cluster that can be used.

    Connects to nothing.

    Raises:
        ClusterError, UntrustedSpoolError: what a person has to put right first.
    """
    address = settings.cluster_scheduler
    if os.name == "nt":
        raise ClusterError("worker start --cluster does not run on Windows yet", hint="run it on Linux or macOS")
    if not address:
        raise ClusterError(
            "the setting cluster.scheduler names no scheduler",
            hint='queuectl config set cluster.scheduler tls://HOST:8786; see "queuectl cluster --help"',
        )
    launch.need_library()
    if address.startswith("tcp://"):
        if not launch.is_loopback(address) and not settings.cluster_insecure:
            raise ClusterError(
                f"cluster.scheduler: {address} is not encrypted",
                cause="anyone who can reach it can run commands on every node",
                hint="use tls:// with keys (queuectl cluster keys); or: queuectl config set cluster.insecure true",
            )
        return None
    if not settings.cluster_keys:
        raise ClusterError(
            f"cluster.keys is not set, but {address} needs keys",
            hint="queuectl config set cluster.keys FOLDER; to make keys: queuectl cluster keys FOLDER",
        )
    return keys.check(settings.cluster_keys, keys.SPOOL)


def sends_env(settings: Settings) -> bool:
    """Return whether the variables of jobs may cross the network: not without TLS, because they can hold secrets."""
    address = settings.cluster_scheduler
    return not address.startswith("tcp://") or launch.is_loopback(address)


def connect(settings: Settings) -> DaskCarrier:
    """Start a bridge to the cluster in the settings. Raises as `check`."""
    files = check(settings)
    config = {"scheduler": settings.cluster_scheduler, "ca": "", "own": ""}
    if files is not None:
        for name, path in zip(("ca", "own"), files, strict=True):
            with open(path, encoding="ascii") as file:
                config[name] = file.read()
    return DaskCarrier(config, user=settings.cluster_bridge_user)


class DaskCarrier:
    """A bridge, and what it says (see `carrier.Carrier`)."""

    def __init__(self, config: dict[str, Any], *, user: str = "") -> None:
        self._config = config
        self._user = user
        self._nodes: dict[str, Node] = {}
        self._lost = "not connected yet"
        self._last = 0
        self._open: set[int] = set()
        self._arrived: list[Arrival] = []
        self._busy: dict[str, bool] = {}
        self._selector = selectors.DefaultSelector()
        # Another file than a bridge's socket, because a bridge may be replaced.
        self._bell = socket.socketpair()
        for end in self._bell:
            end.setblocking(False)
        self._selector.register(self._bell[0], selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._unsent = bytearray()
        self._start(wait_s=0.0)

    # --------------------------------------------------------------------------------------------- the contract

    @property
    def lost(self) -> str:
        """Return why there is no scheduler, or ""."""
        return self._lost

    def fileno(self) -> int:
        """Return the descriptor of the selector, which is readable when the bridge has said something."""
        return self._selector.fileno()

    def nodes(self) -> Mapping[str, Node]:
        """Return the nodes by name, as last heard."""
        return self._nodes

    def call(self, node: str, op: str, body: str) -> int:
        """Send a message to a node's keeper; return the number of its arrival."""
        self._last += 1
        self._open.add(self._last)
        found = self._nodes.get(node)
        if found is None:
            self._arrive(self._last, LOST, self._lost or f"there is no node {node}")
            self._ring()
        else:
            self._send(pack(frames.CALL, self._last, found.address, op, body=body))
        return self._last

    def arrivals(self) -> Sequence[Arrival]:
        """Return what calls came to since the last look."""
        with contextlib.suppress(BlockingIOError):
            while self._bell[0].recv(4096):
                pass
        try:
            self._read()
        except (ProtocolError, OSError) as error:
            self._replace(str(error))
        arrived, self._arrived = self._arrived, []
        return arrived

    def busy(self, node: str, busy: bool) -> None:
        """Say whether anything runs on a node."""
        if self._busy.get(node, False) != busy:
            self._busy[node] = busy
            self._tell_busy(node)

    def close(self) -> None:
        """End the bridge."""
        self._sock.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        for end in self._bell:
            end.close()

    # ------------------------------------------------------------------------------------------------ the bridge

    def _start(self, *, wait_s: float) -> None:
        self._sock, theirs = socket.socketpair()
        self._sock.setblocking(False)
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-m", "queuectl.cluster.bridge"],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=launch.environment(),
                start_new_session=True,
                **_as_user(self._user),  # type: ignore[call-overload, unused-ignore]
            )
        finally:
            theirs.close()
        self._selector.register(self._sock, selectors.EVENT_READ)
        self._frames = Frames()
        self._began_s = time.monotonic()
        self._unsent.clear()
        self._send(pack(frames.CONFIG, body=json.dumps({**self._config, "wait_s": wait_s})))

    def _replace(self, why: str) -> None:
        """Start another bridge for one that ended or does not keep to the form."""
        self._selector.unregister(self._sock)
        self._sock.close()
        self._process.kill()
        self._process.wait()
        self._lost = f"the bridge has ended: {why}"
        self._nodes = {}
        for call in list(self._open):
            self._arrive(call, LOST, self._lost)
        self._start(wait_s=_AGAIN_S if time.monotonic() - self._began_s < 10 * _AGAIN_S else 0.0)

    def _read(self) -> None:
        while True:
            try:
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                raise OSError("it closed the connection")
            for frame in self._frames.feed(data):
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        kind, *words = frame.words
        if kind == frames.ARRIVAL and len(words) == 2 and words[0] in self._open and words[1] in _KINDS:
            self._arrive(int(words[0]), str(words[1]), frame.body)
        elif kind == frames.LOST:
            self._lost = frame.body
            if self._lost:
                self._nodes = {}
        elif kind == frames.NODES:
            self._take_nodes(frame.body)

    def _take_nodes(self, body: str) -> None:
        try:
            found = json.loads(body)
        except ValueError as error:
            raise ProtocolError("the list of nodes is not JSON") from error
        if type(found) is not dict or not all(type(each) is str for each in found.values()):
            raise ProtocolError("the list of nodes has another form")
        self._nodes = {name: Node(name, address) for name, address in found.items()}
        for name in self._nodes:
            if self._busy.get(name):
                self._tell_busy(name)

    def _arrive(self, call: int, kind: str, text: str) -> None:
        if call in self._open:
            self._open.remove(call)
            self._arrived.append(Arrival(call, kind, text))

    def _ring(self) -> None:
        """Make `fileno` readable."""
        with contextlib.suppress(BlockingIOError):
            self._bell[1].send(b".")

    def _tell_busy(self, name: str) -> None:
        if name in self._nodes:
            self._send(pack(frames.BUSY, self._nodes[name].address, int(self._busy[name])))

    def _send(self, data: bytes) -> None:
        """Send without waiting. What the socket does not take now, a thread sends."""
        with self._lock:
            self._unsent += data
            if len(self._unsent) > len(data):
                return  # a thread is sending
            self._push()
            if self._unsent:
                threading.Thread(target=self._send_rest, args=(self._sock,), daemon=True).start()

    def _push(self) -> None:
        try:
            del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # `arrivals` sees the end of the bridge

    def _send_rest(self, sock: socket.socket) -> None:
        with selectors.DefaultSelector() as waiting, contextlib.suppress(OSError, ValueError):
            waiting.register(sock, selectors.EVENT_WRITE)
            while True:
                waiting.select(1.0)
                with self._lock:
                    if sock is not self._sock or not self._unsent:
                        return
                    self._push()
                    if not self._unsent:
                        return


def _as_user(name: str) -> dict[str, Any]:
    """Return the options of a process that runs as another user."""
    if not name:
        return {}
    if sys.platform == "win32":
        return {}
    import pwd

    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise ClusterError(f"cluster.bridge_user: there is no user {name}") from error
    if os.geteuid() not in (0, user.pw_uid):
        raise ClusterError(
            f"cluster.bridge_user: only root can start a process as {name}",
            hint="run the workers as root, or: queuectl config unset cluster.bridge_user",
        )
    if os.geteuid() == user.pw_uid:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
