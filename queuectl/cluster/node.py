"""The preload of a dask worker that makes it a node: `dask worker --preload queuectl.cluster.node`.

The dask worker only carries messages to the keeper of its scratch folder, which owns the commands: it may be killed and
replaced, and they go on. `queuectl cluster node` runs both. Without it (jobqueue, Kubernetes) the first dask worker of
a scratch folder starts the keeper, and its successors find it there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import zlib
from typing import Any, ClassVar, Protocol

from queuectl.cluster import client
from queuectl.cluster.carrier import ANSWERED, LOST, REFUSED
from queuectl.cluster.scratch import SOCKET
from queuectl.system import local_socket

METRIC = "queuectl"
"""The metric of a dask worker that holds the name of the node; other dask workers have none."""


# A silent keeper is killed after `client.guard`'s time, so within 5 s.
_GUARD_EVERY_S = 1.0


class Link(Protocol):
    """The way to a keeper."""

    async def ask(self, op: str, body: str) -> tuple[str, str]:
        """Return ANSWERED, REFUSED or LOST, and the text. Raises nothing but CancelledError."""


class _Here:
    """What this process carries for. `Client.run` finds it by the name of this module."""

    link: Link | None = None
    duties: ClassVar[list[asyncio.Task[None]]] = []


async def dask_setup(worker: Any) -> None:
    """Find or start the keeper, and offer the way to it. dask calls this in each new worker process."""
    import dask

    usual = os.path.join(os.path.dirname(worker.local_directory), "queuectl")
    scratch = str(dask.config.get("queuectl.scratch", "") or usual)
    resources = dask.config.get("queuectl.resources", None)
    if resources is None:
        resources = " ".join(f"{name}={amount:.17g}" for name, amount in worker.state.total_resources.items())
    words = ["--slots", str(dask.config.get("queuectl.slots", 0) or worker.state.nthreads)]
    for each in str(resources).split():
        words += ["--resource", each]
    own = "" if str(worker.name) == worker.address else str(worker.name)
    name = str(dask.config.get("queuectl.name", "") or own or _name_of(scratch))
    await asyncio.to_thread(client.find_or_start, scratch, [*words, "--node", name])
    # A launcher may start several dask workers beside one scratch folder: they carry for one node.
    name = await asyncio.to_thread(client.node_name, scratch) or name
    words += ["--node", name]
    become(worker, KeeperLink(scratch), name)
    _Here.duties = [asyncio.create_task(_guard(scratch, words))]
    if parent := int(dask.config.get("queuectl.parent", 0)):
        _Here.duties.append(asyncio.create_task(_end_with(parent)))


async def dask_teardown(_worker: Any) -> None:
    """Leave the keeper alone: the next dask worker finds it."""
    for each in _Here.duties:
        each.cancel()


async def _guard(scratch: str, words: list[str]) -> None:
    """Have a keeper that answers: kill one that is silent for 4 s, whose commands die with it, and start another."""
    while True:
        await asyncio.sleep(_GUARD_EVERY_S)
        try:
            if not await asyncio.to_thread(client.guard, scratch):
                await asyncio.to_thread(client.find_or_start, scratch, words)
        except OSError as error:
            logging.getLogger("distributed.worker").error("no keeper: %s", error)


async def _end_with(parent: int) -> None:
    """End this dask worker when the process that starts it again is gone: its successor starts one of its own."""
    while os.getppid() == parent:
        await asyncio.sleep(_GUARD_EVERY_S)
    signal.raise_signal(signal.SIGTERM)


def _name_of(scratch: str) -> str:
    """Return a name for a node without one: the same for each dask worker of a scratch folder."""
    return f"{socket.gethostname()}-{zlib.crc32(os.path.realpath(scratch).encode()):08x}"


def become(worker: Any, link: Link, name: str) -> None:
    """Make a dask worker the carrier of a node."""
    _Here.link = link

    async def say_name(_worker: Any) -> str:
        return name

    worker.metrics[METRIC] = say_name
    logging.getLogger("distributed.worker").addFilter(_is_no_delivery)


def _is_no_delivery(record: logging.LogRecord) -> bool:
    """Leave out dask's line for each message."""
    return "out-of-band" not in str(record.msg)


async def deliver(op: str, body: str) -> tuple[str, str]:
    """Bring a message to the keeper; return ANSWERED or REFUSED and its text, or LOST and why.

    Raises nothing, because dask would log the message, which holds commands.
    """
    if _Here.link is None:
        return REFUSED, "this dask worker is no node"
    return await _Here.link.ask(op, body)


async def keep_awake() -> None:
    """Keep this dask worker from being idle, until cancelled."""
    await asyncio.Event().wait()


class KeeperLink:
    """One connection to the keeper's socket for all messages. A keeper that was replaced is found at the same path."""

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._writer: asyncio.StreamWriter | None = None
        self._open: dict[int, asyncio.Future[tuple[str, str]]] = {}
        self._last = 0
        self._connecting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def ask(self, op: str, body: str) -> tuple[str, str]:
        """Send a message, and wait for its answer."""
        if not op.isidentifier():
            return REFUSED, "not a message"
        self._last += 1
        number = self._last
        try:
            writer = await self._connected()
            self._open[number] = asyncio.get_running_loop().create_future()
            writer.write(local_socket.pack(str(number), op, body))
            return await self._open[number]
        except OSError as error:
            return LOST, f"the keeper does not answer: {error.strerror or error}"
        finally:
            self._open.pop(number, None)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                with local_socket.address(self._scratch, SOCKET) as where:
                    reader, self._writer = await asyncio.open_unix_connection(where, limit=local_socket.MAX_BYTES)
                self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        why: OSError = ConnectionResetError("it has ended")
        try:
            while line := await reader.readline():
                number, kind, text = local_socket.unpack(line)
                waiting = self._open.get(int(number))
                if waiting is not None and not waiting.done():
                    waiting.set_result((ANSWERED if kind == local_socket.OK else REFUSED, text))
        except OSError as error:
            why = error
        except ValueError:
            why = ConnectionResetError("it does not keep to the form")
        finally:
            with contextlib.suppress(OSError):
                writer.close()
            waiting_for, self._open = self._open, {}
            for each in waiting_for.values():
                if not each.done():
                    each.set_exception(why)
