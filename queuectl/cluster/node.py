"""The preload of a dask worker that makes it a node: `dask worker --preload queuectl.cluster.node`.

The dask worker only carries messages to the keeper of its scratch folder, which owns the commands: it may be killed and
replaced, and they go on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from queuectl.cluster.carrier import REFUSED

METRIC = "queuectl"
"""The metric of a dask worker that holds the name of the node; other dask workers have none."""


class Link(Protocol):
    """The way to a keeper."""

    async def ask(self, op: str, body: str) -> tuple[str, str]:
        """Return ANSWERED or REFUSED, and the text. Raises OSError if no answer will come."""


class _Here:
    """What this process carries for. `Client.run` finds it by the name of this module."""

    link: Link | None = None


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
