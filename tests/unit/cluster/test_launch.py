"""The command lines of dask's programs. Needs nothing of dask."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from queuectl.cluster import keys, launch
from queuectl.cluster.launch import NodeOptions
from queuectl.errors import ClusterError, ClusterUnreachableError


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(keys, "check", lambda folder, party: keys.KeyFiles(f"{folder}/ca.pem", f"{folder}/{party}.pem"))


def test_a_scheduler_is_for_tls_only_at_one_address(tmp_path: Path) -> None:
    """No option of dask's that opens more than that is left at its default."""
    words = launch.scheduler("192.0.2.1", 8786, str(tmp_path))
    text = " ".join(words).replace("\\", "/")
    assert "--host 192.0.2.1 --port 8786 --protocol tls" in text
    assert f"--tls-ca-file {tmp_path.as_posix()}/ca.pem --tls-cert {tmp_path.as_posix()}/scheduler.pem" in text
    assert "--no-dashboard --dashboard-address 127.0.0.1:0" in text


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "[::]"])
def test_a_scheduler_at_all_addresses_is_refused(host: str) -> None:
    """The error says why one address."""
    with pytest.raises(ClusterError, match="needs one address"):
        launch.scheduler(host, 8786, "keys")


def test_a_node_has_one_address_too() -> None:
    """It is that of the way to the scheduler, or the one that is given."""
    assert " --host 127.0.0.1 " in " ".join(launch.worker(NodeOptions("tls://127.0.0.1:8786", "keys", "w1", "/s")))
    given = launch.worker(NodeOptions("tls://127.0.0.1:8786", "keys", "w1", "/s", "192.0.2.7", 9000))
    assert " --host 192.0.2.7 --worker-port 9000 " in " ".join(given)
    with pytest.raises(ClusterUnreachableError, match="no way to"):
        launch.worker(NodeOptions("tls://there-is-no.invalid:8786", "keys", "w1", "/s"))


@pytest.mark.parametrize("scheduler", ["head:8786", "tcp://192.0.2.1:8786", "tcp://head:1", "ssh://head:22"])
def test_a_node_connects_by_tls(scheduler: str) -> None:
    """Without it only to its own machine."""
    with pytest.raises(ClusterError, match="is no address of a scheduler"):
        launch.worker(NodeOptions(scheduler, "keys", "w1", "/s"))
    assert "--tls-cert" not in launch.worker(NodeOptions("tcp://127.0.0.1:1", "", "w1", "/s"))
    with pytest.raises(ClusterError, match="needs keys"):
        launch.worker(NodeOptions("tls://127.0.0.1:1", "", "w1", "/s"))


def test_dask_gets_nothing_of_a_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the spool's folder nor anything else of queuectl is in its variables."""
    monkeypatch.setenv("QUEUECTL_SPOOL", "/spool")
    made = launch.environment("/s")
    assert [name for name in made if name.startswith("QUEUECTL")] == []
    assert made[launch.SCRATCH_VARIABLE] == "/s"
