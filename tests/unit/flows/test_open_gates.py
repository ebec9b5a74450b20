"""open_gates: the files of gates that a process keeps open."""

from __future__ import annotations

from queuectl.flows import open_gates
from tests.helpers import Desk


def test_the_gate_that_was_used_longest_ago_is_closed(desk: Desk) -> None:
    """A queue that is used all the time keeps its gate open, however many other queues come by."""
    gates = open_gates.OpenGates(desk.session)
    try:
        busy = gates.of("busy")
        others = []
        for number in range(2 * open_gates._OPEN_AT_MOST):
            others.append(gates.of(f"q{number}"))
            assert gates.of("busy") is busy
        assert gates.of("q0") is not others[0]
    finally:
        gates.close()
