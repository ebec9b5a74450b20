"""The bridge's own decisions, without dask."""

from __future__ import annotations

import ssl

from queuectl.cluster import bridge


def test_the_present_dask_worker_of_a_node_stays() -> None:
    """Two dask workers of one keeper do not take turns; one that is heard of no more gives way to its successor."""
    assert bridge._best({"a": 100.0, "b": 101.0}, "a") == "a"
    assert bridge._best({"a": 100.0, "b": 106.0}, "a") == "b"
    assert bridge._best({"a": 100.0, "b": 101.0}, "") == "b"
    assert bridge._best({"b": 1.0}, "a") == "b"


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
