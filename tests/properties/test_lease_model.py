"""The lease under random histories: delays, losses, reordering, pauses, clocks that are 1 % off."""

from __future__ import annotations

import heapq
import math
from typing import Any, NamedTuple

import hypothesis
from hypothesis import given
from hypothesis import strategies as st

from queuectl.cluster.lease_model import NodeLease, PoolLease

# The keeper looks at its clock this often.
_TICK_S = 0.1


class Trip(NamedTuple):
    """One beat: after which pause it leaves, how long it takes there and back (None: lost)."""

    pause_s: float
    there_s: float | None
    back_s: float | None


class History(NamedTuple):
    """How the clocks run, and what happens to the beats."""

    node_rate: float
    pool_rate: float
    lease_s: float
    trips: list[Trip]


_delays = st.one_of(st.floats(0, 0.1), st.floats(0, 40), st.floats(0, 135))
_trips = st.builds(Trip, _delays, st.none() | _delays, st.none() | _delays)
histories = st.builds(
    History,
    st.floats(0.99, 1.01),
    st.floats(0.99, 1.01),
    st.sampled_from([1.0, 10.0, 30.0, 600.0]),
    st.lists(_trips, min_size=2, max_size=25),
)


class ReceiptLease(NodeLease):
    """The planted bug: the lease runs from the arrival of a beat."""

    def take(self, token: int, lease_s: float, now_s: float) -> bool:
        if super().take(token, lease_s, now_s):
            self.until_s = now_s + lease_s
            return True
        return False


def given_up_too_early(history: History, node: NodeLease) -> bool:
    """Play a history; return whether the pool ever counts on an end before the node ends its commands."""
    node_rate, pool_rate, lease_s, trips = history
    pool = PoolLease()
    events: list[tuple[float, int, str, Any]] = []
    at_s = 0.0
    for number, trip in enumerate(trips):
        at_s += trip.pause_s
        heapq.heappush(events, (at_s, number, "leaves", trip))
    order = len(trips)
    while events:
        at_s, _, what, fact = heapq.heappop(events)
        order += 1
        if what == "leaves":
            token = pool.echo(lease_s, at_s * pool_rate)
            if fact.there_s is not None:
                heapq.heappush(events, (at_s + fact.there_s, order, "arrives", (token, fact.back_s)))
        elif what == "arrives":
            token, back_s = fact
            node.take(token, lease_s, at_s * node_rate)
            answer = node.make_token(at_s * node_rate)
            if back_s is not None:
                heapq.heappush(events, (at_s + back_s, order, "is back", answer))
        else:
            pool.receive(fact, at_s * pool_rate)
        if node.until_s > -math.inf and node.until_s / node_rate + _TICK_S > pool.give_up_s / pool_rate:
            return True
    return False


@given(histories)
def test_a_pool_never_gives_a_lease_up_too_early(history: History) -> None:
    """P3: When a pool gives a node up, the node's lease has ended, whatever happened to the messages."""
    assert not given_up_too_early(history, NodeLease("g"))


def test_a_lease_from_the_receipt_of_a_beat_is_found_out() -> None:
    """The property above can fail: it finds a history in which a lease from the receipt of a beat is too long."""
    any_will_do = hypothesis.settings(max_examples=2000, phases=[hypothesis.Phase.generate], database=None)
    hypothesis.find(histories, lambda history: given_up_too_early(history, ReceiptLease("g")), settings=any_will_do)
