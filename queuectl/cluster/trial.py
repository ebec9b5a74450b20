"""Try a node out, for `doctor`: run a real `true` under a short lease, and read its clock."""

from __future__ import annotations

import os
import time
from typing import Any

from queuectl.cluster import asking, protocol
from queuectl.cluster.carrier import Carrier
from queuectl.errors import ClusterError

_LEASE_S = 12.0
_WAIT_S = 1.0
_WITHIN_S = 15.0


def run_true(carrier: Carrier, node: str, spool: str) -> float:
    """Run `true` on a node as a pool would; return how long that took, in seconds.

    Raises:
        ClusterError: the node does not do what it should; the text says what happened.
    """
    session = f"doctor-{os.getpid()}-{os.urandom(4).hex()}-c0"
    began_s = time.monotonic()
    hello = _ask(carrier, node, protocol.HELLO, protocol.HelloRequest(spool, session))
    token, grant = 0, ""
    run = protocol.run_name(spool, session.rpartition("-")[0], 1)
    is_started = False
    while time.monotonic() < began_s + _WITHIN_S:
        wait_s = _WAIT_S if is_started else 0.0
        request = protocol.BeatRequest(session, hello.member, spool, _LEASE_S, token, grant, wait_s=wait_s)
        beat = _ask(carrier, node, protocol.BEAT, request)
        for end in beat.ended:
            if end.run == run:
                acknowledged = request._replace(token=beat.token, acks=[run], wait_s=0.0)
                _ask(carrier, node, protocol.BEAT, acknowledged)
                if end.exit_code != 0:
                    raise ClusterError(f"`true` ended with exit code {end.exit_code}: {end.reason or end.kind}")
                return time.monotonic() - began_s
        token, grant = beat.token, beat.grant
        if not is_started and beat.left_s > 0:
            start = protocol.StartRequest(session, hello.member, grant, token, [protocol.RunSpec(run, ["true"])])
            answer = _ask(carrier, node, protocol.START, start)
            if answer.refused:
                raise ClusterError(f"`true` was not started: {answer.refused[0].why}")
            is_started = True
    raise ClusterError(f"`true` has not ended within {_WITHIN_S:g} s")


def _ask(carrier: Carrier, node: str, op: str, request: tuple[Any, ...]) -> Any:
    (said,) = asking.ask(carrier, op, request, only=node)
    if said.answer is None:
        raise ClusterError(said.why)
    return said.answer
