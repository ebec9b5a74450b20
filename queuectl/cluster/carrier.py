"""What carries messages between a pool and the keepers of its nodes: dask.distributed, or sockets on this machine.

A carrier knows nodes by name and moves opaque text (`protocol`). It starts no command, keeps no lease and decides
nothing: whatever it loses, repeats, delays or delivers late, the keeper and the pool stay right (FORMAT.md, section
11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

# What a call came to.
ANSWERED = "answered"
"""`text` is the keeper's answer."""
REFUSED = "refused"
"""The keeper has read the message and refused it whole; `text` says why. Nothing of it was done."""
LOST = "lost"
"""No answer will come; `text` says why. The message may have arrived, or may still arrive."""


class Node(NamedTuple):
    """A node that the carrier can reach at this moment, or believes so."""

    name: str
    """Stays the same while a dask worker, or the keeper, is replaced by another for the same scratch folder."""
    address: str
    """For people."""


class Arrival(NamedTuple):
    """What a call came to. Each call has exactly one arrival, unless the carrier is closed before."""

    call: int
    kind: str
    text: str


class Carrier(Protocol):
    """Brings messages to keepers. One thread uses it, which waits for `fileno` among other things.

    `call` returns at once, with a number. When `fileno` is readable, `arrivals` returns what calls came to since, in
    any order; it never waits. A call that the carrier gives up (the node's address is gone, the way to it is broken)
    arrives as LOST at once and without a time limit of its own, and an answer that comes later is dropped. So a call
    to a node that is cut off may stay open: whoever calls keeps the time.
    """

    @property
    def lost(self) -> str:
        """Return why there is no way to any node (no scheduler), "" if there is one. The carrier keeps trying."""

    def fileno(self) -> int:
        """Return a descriptor that is readable while `arrivals` has something, or `nodes` or `lost` changed."""

    def nodes(self) -> Mapping[str, Node]:
        """Return the nodes by name, as last heard. Does not wait."""

    def call(self, node: str, op: str, body: str) -> int:
        """Send a message (`protocol.encode`) to a node's keeper; return the number of its arrival."""

    def arrivals(self) -> Sequence[Arrival]:
        """Return what calls came to since the last look, and make `fileno` quiet."""

    def busy(self, node: str, busy: bool) -> None:
        """Say whether anything runs on a node, so that the carrier's own machinery does not take it away as idle."""

    def close(self) -> None:
        """End the carrier. Commands on nodes are not touched."""
