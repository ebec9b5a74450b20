"""Ask the nodes of a cluster something once, for a person: what they do, and to start nothing new."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from queuectl.cluster import protocol, wire
from queuectl.cluster.carrier import ANSWERED, Arrival, Carrier
from queuectl.errors import ClusterError, ClusterUnreachableError
from queuectl.system.selector import Selector

# How long to wait for the scheduler, and then for the first nodes.
_REACHED_WITHIN_S = 15.0
_NODES_WITHIN_S = 2.0
_ANSWER_WITHIN_S = 5.0


class Said(NamedTuple):
    """What a node answered, or why there is no answer."""

    node: str
    address: str
    answer: Any
    why: str


def reach(carrier: Carrier, scheduler: str) -> None:
    """Wait until the carrier knows the nodes.

    Raises:
        ClusterUnreachableError: the scheduler does not answer.
    """
    for _ in _turns(carrier, _REACHED_WITHIN_S):
        if not carrier.lost:
            break
    else:
        raise ClusterUnreachableError(
            f"no way to the cluster at {scheduler}",
            cause=carrier.lost,
            hint="check that `queuectl cluster scheduler` runs there, and that its keys are from the same folder",
        )
    for _ in _turns(carrier, _NODES_WITHIN_S):
        if carrier.nodes():
            break


def ask(carrier: Carrier, op: str, request: tuple[Any, ...], *, only: str = "") -> list[Said]:
    """Ask all nodes, or one; return what they say, by name.

    Raises:
        ClusterError: there is no node `only`.
    """
    nodes = carrier.nodes()
    if only and only not in nodes:
        raise ClusterError(
            f"there is no node {only[:60]!r}",
            cause=f"nodes: {', '.join(sorted(nodes)[:8])}" if nodes else "no node is connected",
            hint="queuectl cluster list",
        )
    text = wire.encode(request)
    calls = {carrier.call(name, op, text): name for name in sorted(nodes) if only in ("", name)}
    found: dict[str, Said] = {}

    for arrivals in _turns(carrier, _ANSWER_WITHIN_S):
        for arrival in arrivals:
            name = calls.get(arrival.call)
            if name is not None:
                found[name] = _said(nodes[name].address, name, op, arrival.kind, arrival.text)
        if len(found) == len(calls):
            break
    silent = (Said(name, nodes[name].address, None, "no answer") for name in calls.values() if name not in found)
    return sorted([*found.values(), *silent])


def _said(address: str, name: str, op: str, kind: str, text: str) -> Said:
    if kind != ANSWERED:
        return Said(name, address, None, text)
    try:
        return Said(name, address, wire.decode(protocol.ANSWERS[op], text), "")
    except wire.ProtocolError as error:
        return Said(name, address, None, f"another version? {error}")


def _turns(carrier: Carrier, within_s: float) -> Iterator[Sequence[Arrival]]:
    """Yield what arrives, again and again, until the time is over."""
    deadline_s = time.monotonic() + within_s
    selector = Selector()  # takes any handle, where select takes none above 1023
    yield carrier.arrivals()
    while (left_s := deadline_s - time.monotonic()) > 0:
        selector.wait([carrier.fileno()], min(left_s, 0.5))
        yield carrier.arrivals()
