"""cluster_lines: what `doctor` says about a cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from queuectl.cluster import carriers
from queuectl.maintenance import cluster_lines
from queuectl.maintenance.probes import FAIL, OK, WARN, Line
from queuectl.model.settings import defaults
from queuectl.spool.folder import SpoolDir
from tests.unit.cluster.fake_node import FakeCarrier, FakeKeeper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a Linux machine leads a cluster")
Examine = Callable[..., dict[str, Line]]


@pytest.fixture
def examine(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """Return the lines about a cluster with these nodes, by name."""
    monkeypatch.setattr("queuectl.cluster.asking._NODES_WITHIN_S", 0.05)
    settings = defaults()._replace(cluster_scheduler="unix:/nowhere")

    def found(clock_s: float = 0.0, **nodes: FakeKeeper) -> dict[str, Line]:
        carrier = FakeCarrier(**nodes)
        monkeypatch.setattr(carriers, "make", lambda _settings: carrier)
        return {line.name: line for line in cluster_lines.lines(spool, settings, clock_s=clock_s)}

    return found


def keeper(**facts: object) -> FakeKeeper:
    """A node on which commands end at once."""
    made = FakeKeeper("m1")
    made.ends_at_once = True
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def test_a_good_node_runs_a_command(examine: Examine) -> None:
    """The keys, the scheduler, each node, and a real command there; the node may forget it."""
    node = keeper()
    lines = examine(w1=node)
    assert [(line.name, line.level) for line in lines.values()] == [
        ("cluster", OK),
        ("scheduler", OK),
        ("node w1", OK),
        ("true on w1", OK),
    ]
    assert len(node.started) == 1 and not node.ended and not node.runs
    assert "by: namespace" in lines["node w1"].text


@pytest.mark.parametrize(
    ("facts", "level", "hint"),
    [
        ({"scratch_free": 1024}, FAIL, "free some space in /s there"),
        ({"scratch_free": 100 * 1024**2}, WARN, "free some space in /s there"),
        ({"containment": "group"}, WARN, "queuectl service install --node"),
        ({"rate": 0.5}, FAIL, "slower than this one"),
        ({"rate": 2.0}, WARN, "faster than this one"),
    ],
)
def test_what_is_wrong_with_a_node(examine: Examine, facts: dict[str, object], level: str, hint: str) -> None:
    """Each with what to do."""
    line = examine(w1=keeper(**facts), clock_s=0.2)["node w1"]
    assert line.level == level and hint in line.hint


def test_a_node_that_runs_nothing(examine: Examine) -> None:
    """A start that is refused is a failure with its reason."""
    line = examine(w1=keeper(refuses="trouble: no memory"))["true on w1"]
    assert line.level == FAIL and line.text == "`true` was not started: trouble: no memory"


def test_no_node_and_no_address(examine: Examine, spool: SpoolDir) -> None:
    """A cluster without nodes is a warning; settings that cannot work are a failure, and nothing is connected to."""
    assert examine()["scheduler"].level == WARN
    for scheduler, text in (("tls://head:8786", "cluster.keys is not set"), ("tcp://head:8786", "is not encrypted")):
        pytest.importorskip("distributed", reason="the extra dask is not installed")
        (line,) = cluster_lines.lines(spool, defaults()._replace(cluster_scheduler=scheduler))
        assert line.level == FAIL and text in line.text and line.hint
