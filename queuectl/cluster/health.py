"""What a pool knows of a node beside its lease: what it said last, and whether it may get commands. Computes only.

A node that cannot start commands rests for a while, so that its jobs go to other nodes. A node whose clock runs too
slowly gets none: it would end commands too late (promise P3).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from queuectl.cluster.protocol import Hello, Look

# A node that was silent for longer gets no new command.
QUIET_S = 5.0
# How often a node is asked for its clock, and how far the rate may be off (`lease_model`).
LOOK_EVERY_S = 60.0
MOST_DRIFT = 0.01
# How long a node rests after one, two ... refusals in a row.
_REST_S = (1.0, 2.0, 5.0, 10.0)
TROUBLE = "trouble: "
"""Before the text of a refusal that is the node's fault, and lasts."""


class Reading(NamedTuple):
    """A node's clock, read at some instant between two of this machine's clock."""

    node_s: float
    sent_s: float
    received_s: float


def drift(first: Reading, last: Reading) -> float:
    """Return how much faster a node's clock runs for certain: 0.05 is 5 % faster, -0.05 slower, 0.0 as far as is known.

    The delays of messages are unknown, so only what they cannot explain counts.
    """
    passed_s = last.node_s - first.node_s
    longest_s, shortest_s = last.received_s - first.sent_s, last.sent_s - first.received_s
    if shortest_s <= 0:
        return 0.0
    return max(0.0, passed_s / longest_s - 1) or min(0.0, passed_s / shortest_s - 1)


class Health:
    """The state of one node."""

    def __init__(self) -> None:
        self.said: Hello | None = None
        """What it said last of itself, also while it is silent."""
        self.free = 0
        self.is_draining = False
        self.heard_s = -math.inf
        """When it answered last."""
        self.looked_s = -math.inf
        """When it was asked for its clock."""
        self._reading: Reading | None = None
        self._wrong = self._slow = self._refused = ""
        self._refusals = 0
        self._rests_until_s = -math.inf
        self._told = ""

    @property
    def trouble(self) -> str:
        """Why it gets no commands, or will get none soon; "" if it does."""
        return self._wrong or self._slow or self._refused

    @property
    def offered(self) -> dict[str, float]:
        """The resources of the node."""
        return {} if self.said is None else self.said.resources

    def news(self) -> str:
        """Return what people do not know of it yet, "" if they do."""
        if self._told == self.trouble:
            return ""
        self._told = self.trouble
        return f"gets no commands: {self._told}" if self._told else "gets commands again"

    def may_get(self, now_s: float) -> bool:
        """Return whether a command may start there."""
        is_well = not self.is_draining and not self._wrong and not self._slow
        return is_well and now_s >= self._rests_until_s and now_s - self.heard_s <= QUIET_S

    def hear(self, free: int, is_draining: bool, now_s: float) -> None:
        """Take what each answer says."""
        self.free, self.is_draining, self.heard_s = free, is_draining, now_s

    def hear_hello(self, hello: Hello, now_s: float) -> None:
        """Take what a node says of itself."""
        if self.said is not None and (self.said.boot, self.said.member) != (hello.boot, hello.member):
            self._reading, self.looked_s = None, -math.inf
            self.end_rest()
        self.said, self._wrong = hello, ""
        self.hear(hello.free, hello.is_draining, now_s)

    def hear_look(self, look: Look, sent_s: float, now_s: float) -> None:
        """Compare the clocks since the last look."""
        before, self._reading = self._reading, Reading(look.clock_s, sent_s, now_s)
        by = 0.0 if before is None else drift(before, self._reading)
        self._slow = f"its clock runs {-by:.0%} slower than this machine's, so a lease would not hold" * (
            by < -MOST_DRIFT
        )

    def refuse_all(self, why: str) -> None:
        """Note that it cannot be used as it is, for example because of its version."""
        self._wrong = why

    def rest(self, why: str, now_s: float) -> None:
        """Give it no command for a while, because it could not start one."""
        self._rests_until_s = now_s + _REST_S[min(self._refusals, len(_REST_S) - 1)]
        self._refusals += 1
        self._refused = f"it cannot start commands: {why}"

    def end_rest(self) -> None:
        """Note that it could start a command."""
        self._refused, self._refusals, self._rests_until_s = "", 0, -math.inf
