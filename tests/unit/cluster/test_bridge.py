"""The bridge's own decisions, without dask."""

from __future__ import annotations

import asyncio
import ssl

from queuectl.cluster import bridge, carrier, frames


def test_the_present_dask_worker_of_a_node_stays() -> None:
    """Two dask workers of one keeper do not take turns; one that is heard of no more gives way to its successor."""
    assert bridge._best({"a": 100.0, "b": 101.0}, "a") == "a"
    assert bridge._best({"a": 100.0, "b": 106.0}, "a") == "b"
    assert bridge._best({"a": 100.0, "b": 101.0}, "") == "b"
    assert bridge._best({"b": 1.0}, "a") == "b"


class Told:
    """The end of the worker: what the bridge has told it."""

    def __init__(self) -> None:
        self.frames: list[frames.Frame] = []

    def is_closing(self) -> bool:
        """Whether the worker is gone."""
        return False

    def write(self, data: bytes) -> None:
        """Take what is told."""
        self.frames += frames.Frames().feed(data)


def test_the_same_nodes_are_told_again_after_a_loss() -> None:
    """A scheduler that was silent for a while and comes back with its nodes: the worker forgot them with the loss."""
    told = Told()
    made = bridge.Bridge(told, {})  # type: ignore[arg-type]
    workers = {"tls://a:1": {"metrics": {"queuectl": "w1"}, "last_seen": 1.0}}
    for _ in range(2):
        made._follow(workers)
        made._tell_lost("")
        made._follow(workers)
        made._lose("no answer")
    assert [each.words[0] for each in told.frames] == [frames.NODES, frames.LOST, frames.LOST] * 2


def test_calls_are_lost_before_the_loss_is_told() -> None:
    """Whoever hears that there is no scheduler has heard of each open call what it came to."""

    async def lose() -> list[object]:
        told = Told()
        made = bridge.Bridge(told, {})  # type: ignore[arg-type]
        made._tell_lost("")
        made._calls[7] = ("tls://a:1", asyncio.create_task(asyncio.sleep(0)))
        made._lose("no answer")
        return [each.words for each in told.frames]

    assert asyncio.run(lose()) == [[frames.LOST], [frames.ARRIVAL, 7, carrier.LOST], [frames.LOST]]


def test_a_reason_is_a_sentence() -> None:
    """What dask raises becomes words that a person can use."""
    refused = OSError("Timed out trying to connect to tls://head:1 after 5 s")
    refused.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert bridge.in_words(refused) == "the connection is refused: nothing listens there"
    assert bridge.in_words(TimeoutError()) == "no answer"
    broken = OSError("x")
    broken.__cause__ = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
    assert bridge.in_words(broken).startswith("the TLS connection is refused: ")
    assert bridge.in_words(ValueError("first\nsecond")) == "first"
