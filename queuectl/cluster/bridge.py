"""The bridge: the process that speaks to a dask cluster for one worker. It gets no handle of the spool.

It is a process of its own because whoever holds a key of the cluster can run code in it: dask unpickles what comes. It
also keeps dask's memory, threads and pauses out of the worker. It is started by `dask_carrier`, gets everything that it
needs as its first message, and ends when the worker closes the socket.

The way of a message: `Client.run` calls `node.deliver` in the dask worker of a node. That is dask's public API. Its
private way (`Scheduler.proxy` to a handler of the worker) would save 1.8 ms of each message, which carries many runs.
Only the list of nodes comes from `Scheduler.identity`, which is not public.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import signal
import socket
from typing import TYPE_CHECKING, Any

from queuectl.cluster import carrier, frames, node
from queuectl.cluster.frames import Frame, Frames, pack
from queuectl.cluster.wire import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from distributed import Client

_POLL_S = 0.5
# A connection that takes longer is tried again, and a scheduler that says nothing for as long is no scheduler.
_CONNECT_S = 5.0
_SILENT_S = 8.0
_AGAIN_S = 0.5
# A dask worker sends a sign of life every 0.5 to 2 s.
_STALE_S = 5.0
_READ_BYTES = 1 << 18


def main() -> None:
    """Serve the worker at the other end of standard input, which is a socket."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the worker may still have commands to end; it closes the socket
    logging.disable(logging.CRITICAL)
    asyncio.run(_serve(socket.socket(fileno=0)))


async def _serve(sock: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=sock)
    found, bridge = Frames(), None
    beat: asyncio.Task[None] | None = None
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_READ_BYTES):
            for frame in found.feed(data):
                if bridge is None:
                    bridge = Bridge(writer, json.loads(frame.body))
                    beat = asyncio.create_task(bridge.stay_connected())
                else:
                    bridge.take(frame)
    if beat is not None:
        beat.cancel()
        await asyncio.wait([beat], timeout=2)


class Bridge:
    """The connection to one cluster, and the calls that have no answer yet."""

    def __init__(self, writer: asyncio.StreamWriter, config: dict[str, Any]) -> None:
        self._writer = writer
        self._config = config
        self._client: Client | None = None
        self._nodes: dict[str, str] = {}
        self._lost = "not connected yet"
        self._calls: dict[int, tuple[str, asyncio.Task[None]]] = {}
        self._wanted: set[str] = set()
        """Addresses where something runs."""
        self._held: dict[str, Any] = {}
        """The task that keeps each of them."""

    # -------------------------------------------------------------------------------------------- to the worker

    def _tell(self, *words: str | int, body: str = "") -> None:
        if not self._writer.is_closing():
            self._writer.write(pack(*words, body=body))

    def _tell_lost(self, why: str) -> None:
        if why != self._lost:
            self._lost = why
            self._tell(frames.LOST, body=why)

    def _arrive(self, call: int, kind: str, text: str) -> None:
        """Say what a call came to, once."""
        if self._calls.pop(call, None) is not None:
            self._tell(frames.ARRIVAL, call, kind, body=text)

    # ------------------------------------------------------------------------------------------- from the worker

    def take(self, frame: Frame) -> None:
        """Do what the worker asks."""
        kind, *words = frame.words
        if kind == frames.CALL:
            call, address, op = int(words[0]), str(words[1]), str(words[2])
            self._calls[call] = (address, asyncio.create_task(self._call(call, address, op, frame.body)))
        elif kind == frames.BUSY:
            (self._wanted.add if words[1] else self._wanted.discard)(str(words[0]))
            self._hold()

    async def _call(self, call: int, address: str, op: str, body: str) -> None:
        client = self._client
        if client is None or address not in self._nodes.values():
            self._arrive(call, carrier.LOST, self._lost or "the node is gone")
            return
        try:
            answers = await client.run(node.deliver, op, body, workers=[address])
            kind, text = answers[address]
            if kind not in (carrier.ANSWERED, carrier.REFUSED, carrier.LOST) or type(text) is not str:
                raise ValueError("not an answer")
            if len(text) > MAX_MESSAGE_BYTES:
                raise ValueError("an answer that is too long")
        except Exception as error:  # whatever dask or the node raises: no answer will come
            kind, text = carrier.LOST, in_words(error)
        self._arrive(call, kind, text)

    def _give_up(self, why: str, but: frozenset[str] = frozenset()) -> None:
        """Let all calls arrive as lost, except those to these addresses."""
        for call, (address, task) in list(self._calls.items()):
            if address not in but:
                task.cancel()
                self._arrive(call, carrier.LOST, why)

    def _lose(self, why: str) -> None:
        """There is no scheduler: the worker forgets the nodes, so send them anew even if they are the same."""
        self._nodes = {}
        self._give_up(why)  # first, as when a node goes: who hears of the loss knows what all calls came to
        self._tell_lost(why)

    # -------------------------------------------------------------------------------------------- to the cluster

    async def stay_connected(self) -> None:
        """Connect, follow the nodes, and connect again, until cancelled."""
        await asyncio.sleep(self._config["wait_s"])
        while True:
            try:
                await self._connect_and_follow()
            except asyncio.CancelledError:
                await self._disconnect()
                raise
            except Exception as error:
                self._lose(in_words(error))
            await self._disconnect()
            await asyncio.sleep(_AGAIN_S)

    async def _connect_and_follow(self) -> None:
        from distributed import Client

        client = Client(
            self._config["scheduler"],
            security=_security(self._config),
            asynchronous=True,
            set_as_default=False,
            timeout=_CONNECT_S,
            name="queuectl",
        )
        self._client = client
        await asyncio.wait_for(client, _CONNECT_S * 2)
        while True:
            found = await asyncio.wait_for(client.scheduler.identity(n_workers=-1), _SILENT_S)
            self._follow(found["workers"])
            self._tell_lost("")
            await asyncio.sleep(_POLL_S)

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        self._held.clear()
        if client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.close(timeout=1), 2)

    def _follow(self, workers: dict[str, dict[str, Any]]) -> None:
        """Take the nodes from what the scheduler knows of its workers."""
        seen: dict[str, dict[str, float]] = {}
        for address, worker in workers.items():
            name = worker.get("metrics", {}).get(node.METRIC)
            if type(name) is str and name:
                seen.setdefault(name, {})[address] = float(worker.get("last_seen") or 0)
        nodes = {name: _best(found, self._nodes.get(name, "")) for name, found in seen.items()}
        addresses = frozenset(nodes.values())
        self._give_up("the dask worker of the node is gone", but=addresses)
        if nodes != self._nodes:
            self._nodes = nodes
            self._tell(frames.NODES, body=json.dumps(nodes))
        self._wanted &= addresses
        self._hold()

    def _hold(self) -> None:
        """Keep a task on each node where something runs: a scheduler ends workers, and itself, if they are idle."""
        for address in [each for each in self._held if each not in self._wanted]:
            held = self._held.pop(address)
            with contextlib.suppress(Exception):
                held.cancel()
        if self._client is None:
            return
        for address in self._wanted - self._held.keys():
            with contextlib.suppress(Exception):
                self._held[address] = self._client.submit(
                    node.keep_awake, workers=[address], allow_other_workers=False, pure=False
                )


def _best(seen: dict[str, float], present: str) -> str:
    """Return the address of a node: of several dask workers the present one, unless only others are heard of.

    A scheduler may take a minute to notice that a worker is gone whose successor is there.
    """
    newest = max(seen, key=lambda address: seen[address])
    return present if seen[newest] - seen.get(present, -math.inf) < _STALE_S else newest


def _security(config: dict[str, Any]) -> Any:
    """Return dask's security: the keys as text, because another user than the worker's may not read their files."""
    if not config["ca"]:
        return None
    from distributed import Security

    return Security(
        require_encryption=True, tls_ca_file=config["ca"], tls_client_cert=config["own"], tls_client_key=config["own"]
    )


def in_words(error: BaseException) -> str:
    """Return why a connection or a call failed, in a sentence without the names of Python and dask."""
    import ssl

    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"the scheduler's certificate is refused: {each.verify_message}"
        if isinstance(each, ssl.SSLError):
            return (
                f"the TLS connection is refused: {(getattr(each, 'reason', '') or str(each)).replace('_', ' ').lower()}"
            )
    if isinstance(error, ConnectionRefusedError) or any(isinstance(each, ConnectionRefusedError) for each in chain):
        return "the connection is refused: nothing listens there"
    if isinstance(error, TimeoutError):
        return "no answer"
    return (str(error) or type(error).__name__).splitlines()[0][:200]


if __name__ == "__main__":
    main()
