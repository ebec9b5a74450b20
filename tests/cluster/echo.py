"""A preload for tests of the carrier: a node whose keeper says back what it gets, or never answers."""

from __future__ import annotations

import asyncio
from typing import Any

from queuectl.cluster import node
from queuectl.cluster.carrier import ANSWERED, REFUSED


class Echo:
    """In the place of the keeper."""

    async def ask(self, op: str, body: str) -> tuple[str, str]:
        """Answer, by the name of the operation."""
        if op == "hang":
            await asyncio.Event().wait()
        return (REFUSED if op == "refuse" else ANSWERED), body


async def dask_setup(worker: Any) -> None:
    """Make this dask worker a node of its own name."""
    import dask

    node.become(worker, Echo(), dask.config.get("queuectl.name"))
