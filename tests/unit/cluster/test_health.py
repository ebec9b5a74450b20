"""health: what a pool knows of a node beside its lease."""

from __future__ import annotations

import random

import pytest

from queuectl.cluster.health import Health, Reading, drift
from queuectl.cluster.protocol import Hello, Look


def hello(member: str = "m1") -> Hello:
    """What a node with four free slots says."""
    return Hello(member, "h", "b", 4, 4, {}, [], [], "group", False, {}, 0.0)


def look(clock_s: float) -> Look:
    """A node's clock."""
    return Look("m1", "h", 1, 4, 4, {}, "group", False, {}, "/s", 1 << 30, [], clock_s)


def test_drift_is_only_what_delays_cannot_explain() -> None:
    """A right clock is never called wrong, however long messages take; a wrong one is, by what is certain."""
    rng = random.Random(5)
    for _ in range(2000):
        sent = [rng.uniform(0, 50), rng.uniform(100, 200)]
        there = [each + rng.expovariate(0.1) for each in sent]
        back = [each + rng.expovariate(0.1) for each in there]
        rate = rng.uniform(0.9, 1.1)
        readings = [Reading(1e6 + rate * at, began, end) for at, began, end in zip(there, sent, back, strict=True)]
        found = drift(*readings)
        assert min(0.0, rate - 1) - 1e-9 <= found <= max(0.0, rate - 1) + 1e-9
    assert drift(Reading(0, 0, 0.1), Reading(54, 60, 60.1)) == pytest.approx(-0.0985, abs=1e-3)
    assert drift(Reading(0, 0, 0.1), Reading(66, 60, 60.1)) == pytest.approx(0.0982, abs=1e-3)


def test_a_slow_clock_gets_nothing_until_it_is_right_again() -> None:
    """P3: A node with a slow clock would end commands too late."""
    health = Health()
    health.hear_hello(hello(), 0.0)
    health.hear_look(look(0.0), 0.0, 0.01)
    health.hear_look(look(57.0), 60.0, 60.01)
    health.hear(4, False, 60.0)
    assert not health.may_get(60.0) and "its clock runs 5% slower" in health.news()
    assert health.news() == ""
    health.hear_look(look(117.0), 120.0, 120.01)
    health.hear(4, False, 120.0)
    assert health.may_get(120.0) and health.news() == "gets commands again"


def test_a_node_that_cannot_start_commands_rests_longer_each_time() -> None:
    """Its jobs go to other nodes; one start that succeeds ends that."""
    health = Health()
    health.hear_hello(hello(), 0.0)
    for until_s in (1.0, 2.0, 5.0, 10.0, 10.0):
        health.rest("No space left on device", 0.0)
        health.hear(4, False, until_s)
        assert not health.may_get(until_s - 0.01) and health.may_get(until_s)
    assert health.trouble == "it cannot start commands: No space left on device"
    health.end_rest()
    assert health.may_get(10.0) and health.trouble == ""


def test_another_keeper_begins_anew() -> None:
    """Its clock may be another machine's, and the trouble of the last one is over."""
    health = Health()
    health.hear_hello(hello(), 0.0)
    health.rest("no memory", 0.0)
    health.refuse_all("another version")
    health.hear_look(look(0.0), 0.0, 0.01)
    assert not health.may_get(0.0)
    health.hear_hello(hello("m2"), 1.0)
    health.hear_look(look(0.0), 61.0, 61.01)
    health.hear(4, False, 61.0)
    assert health.may_get(61.0) and health.trouble == ""
