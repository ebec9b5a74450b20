"""What the links of an executor share: the carrier, the stamps, and a way to people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from queuectl.cluster.carrier import Arrival
from queuectl.cluster.command import Command
from queuectl.cluster.lease_model import PoolLease
from queuectl.cluster.protocol import RunEnd


class Hub(Protocol):
    """An executor, as its links see it."""

    identity: str
    """The spool's."""
    lease_s: float

    def call(self, node: str, op: str, body: str, take: Callable[[Arrival, float], None]) -> int:
        """Send a message to a node; `take` gets what it came to. Return its number."""

    def cover(self, session: str, until_s: float) -> bool:
        """Stamp a session, so that its runs count as alive until then; return False if the disk refuses."""

    def meet_stranger(self, node: str, end: RunEnd) -> bool:
        """Act on the end of a run that no command of the session waits for; return whether the node may forget it."""

    def part(self, session: str, node: str, commands: list[Command], lease: PoolLease) -> None:
        """Keep commands of a keeper that is out of reach until their lease has ended."""

    def remark(self, text: str, *, is_warning: bool = False) -> None:
        """Report something to people."""
