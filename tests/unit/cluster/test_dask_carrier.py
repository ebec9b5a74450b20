"""The carrier by dask: which settings it takes, and what it believes of its bridge. Needs nothing of dask."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from queuectl.cluster import dask_carrier, frames, launch
from queuectl.cluster.carrier import LOST, Arrival, Node
from queuectl.cluster.dask_carrier import DaskCarrier
from queuectl.cluster.frames import pack
from queuectl.errors import ClusterError
from queuectl.model import settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the bridge needs socketpair; Windows is refused")
USUAL = settings.defaults()


@pytest.fixture
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "cluster.scheduler"),
        ({"cluster_scheduler": "tls://head:8786"}, "cluster.keys is not set"),
        ({"cluster_scheduler": "tcp://head:8786"}, "not encrypted"),
        ({"cluster_scheduler": "tcp://192.0.2.1:8786"}, "not encrypted"),
    ],
)
def test_settings_that_name_no_usable_cluster_are_refused(values: dict[str, Any], words: str) -> None:
    """The error names the setting, and the hint a command."""
    with pytest.raises(ClusterError, match=words) as caught:
        dask_carrier.check(USUAL._replace(**values))
    assert "queuectl" in caught.value.hint


@pytest.mark.usefixtures("_library")
def test_plain_tcp_is_for_this_machine_or_the_insecure() -> None:
    """And the variables of jobs, which can hold secrets, never cross a network in plain text."""
    for address in ("tcp://127.0.0.1:1", "tcp://[::1]:1", "tcp://localhost:1"):
        found = USUAL._replace(cluster_scheduler=address)
        assert dask_carrier.check(found) is None
        assert dask_carrier.sends_env(found)
    found = USUAL._replace(cluster_scheduler="tcp://head:1", cluster_insecure=True)
    assert dask_carrier.check(found) is None
    assert not dask_carrier.sends_env(found)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is the command that installs it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ClusterError, match="not installed") as caught:
        launch.need_library()
    assert caught.value.hint == 'pip install "queuectl-spool[dask]"'


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DaskCarrier, Path]]:
    """A carrier whose bridge says what a file holds, bytes as they are, and stays."""
    says = tmp_path / "says"
    says.write_bytes(b"")
    package = tmp_path / "queuectl" / "cluster"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package.parent / "__init__.py").write_text("")
    (package / "bridge.py").write_text(
        f"import os\nos.write(0, open({str(says)!r}, 'rb').read())\nwhile os.read(0, 65536): pass\n"
    )
    monkeypatch.setattr(launch, "environment", lambda: {**os.environ, "PYTHONPATH": str(tmp_path)})
    made: list[DaskCarrier] = []

    def start(data: bytes) -> DaskCarrier:
        says.write_bytes(data)
        made.append(DaskCarrier({}))
        return made[-1]

    yield start  # type: ignore[misc]
    for each in made:
        each.close()


def until(carrier: DaskCarrier, is_true: Any) -> list[Arrival]:
    """Take arrivals until something is true."""
    got: list[Arrival] = []
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline, (carrier.lost, carrier.nodes())
        wait([carrier.fileno()], 0.5)
        got += carrier.arrivals()
    return got


def test_the_nodes_are_what_the_bridge_says(bridge: Any) -> None:
    """Nodes come by name; a call to another one is lost at once, and `fileno` says so."""
    carrier = bridge(pack(frames.LOST) + pack(frames.NODES, body=json.dumps({"w1": "tls://a:1"})))
    until(carrier, carrier.nodes)
    assert carrier.nodes() == {"w1": Node("w1", "tls://a:1")}
    assert carrier.lost == ""
    number = carrier.call("w2", "beat", "{}")
    assert wait([carrier.fileno()], 10)
    assert carrier.arrivals() == [Arrival(number, LOST, "there is no node w2")]


@pytest.mark.parametrize("garbage", [b"garbage\n", pack(frames.NODES, body="[1]"), pack(frames.NODES, body="{")])
def test_a_bridge_that_talks_nonsense_is_replaced(bridge: Any, garbage: bytes) -> None:
    """Its open calls are lost, and another bridge is started."""
    carrier = bridge(pack(frames.NODES, body=json.dumps({"w1": "tls://a:1"})) + garbage)
    first = carrier._process.pid
    until(carrier, lambda: carrier._process.pid != first)
    assert carrier.lost.startswith("the bridge has ended: ")
    assert carrier.nodes() == {}


def test_arrivals_that_nobody_waits_for_are_dropped(bridge: Any) -> None:
    """A bridge cannot answer twice, nor for a call that there is not, nor with another kind."""
    spoof = pack(frames.ARRIVAL, 1, "answered", body="x") + pack(frames.ARRIVAL, 7, "odd") + pack(frames.ARRIVAL)
    carrier = bridge(spoof + pack(frames.NODES, body=json.dumps({"w1": "tls://a:1"})))
    assert until(carrier, carrier.nodes) == []
