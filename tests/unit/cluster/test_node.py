"""A node's dask worker carries messages to its keeper and back. Needs nothing of dask."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from queuectl.cluster import node
from queuectl.cluster.carrier import ANSWERED, LOST, REFUSED
from queuectl.cluster.node import KeeperLink
from queuectl.cluster.scratch import SOCKET

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the keeper listens on a Unix socket")


class Keeper:
    """A socket that answers the second message first, refuses `bad`, and closes on `die`."""

    def __init__(self, folder: Path) -> None:
        self.scratch = str(folder)
        self.path = str(folder / SOCKET)
        self.connections = 0

    async def start(self) -> asyncio.AbstractServer:
        """Listen."""
        return await asyncio.start_unix_server(self.serve, self.path)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        self.connections += 1
        late: list[bytes] = []
        while line := await reader.readline():
            number, op, body = line.split(b" ", 2)
            if op == b"die":
                break
            if op == b"odd":
                writer.write(b"what\n")
            elif op == b"later":
                late.append(number + b" ok " + body)
            else:
                writer.write(number + (b" no " if op == b"bad" else b" ok ") + body + b"".join(late))
                late.clear()
        writer.close()


def test_answers_come_in_any_order_on_one_connection(tmp_path: Path) -> None:
    """A long poll holds up no other message."""

    async def run() -> None:
        keeper = Keeper(tmp_path)
        async with await keeper.start():
            link = KeeperLink(keeper.scratch)
            later = asyncio.create_task(link.ask("later", '{"a":1}'))
            await asyncio.sleep(0)
            assert await link.ask("x", '{"b":"ü z"}') == (ANSWERED, '{"b":"ü z"}')
            assert await later == (ANSWERED, '{"a":1}')
            assert await link.ask("bad", "why not") == (REFUSED, "why not")
            assert keeper.connections == 1

    asyncio.run(run())


@pytest.mark.parametrize("end", ["die", "odd"])
def test_a_keeper_that_ends_loses_the_open_messages(tmp_path: Path, end: str) -> None:
    """All open messages are lost at once, and the next one connects again."""

    async def run() -> None:
        keeper = Keeper(tmp_path)
        async with await keeper.start():
            link = KeeperLink(keeper.scratch)
            later = asyncio.create_task(link.ask("later", "{}"))
            await asyncio.sleep(0)
            assert (await link.ask(end, "{}"))[0] == LOST
            assert (await later)[0] == LOST
            assert await link.ask("x", "{}") == (ANSWERED, "{}")
            assert keeper.connections == 2

    asyncio.run(run())


def test_a_delivery_never_raises_and_is_not_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dask would log the message of a call that raised, and a message holds commands and variables."""
    monkeypatch.setattr(node._Here, "link", None)
    assert asyncio.run(node.deliver("x", "{}")) == (REFUSED, "this dask worker is no node")
    monkeypatch.setattr(node._Here, "link", KeeperLink(str(tmp_path / "nobody")))
    assert asyncio.run(node.deliver("x", "{}"))[0] == LOST
    assert asyncio.run(node.deliver("x {}", "{}"))[0] == REFUSED
    line = logging.LogRecord("a", logging.INFO, "b", 1, "Run out-of-band function %r", ("deliver",), None)
    assert not node._is_no_delivery(line)
