"""The carrier by dask on a real scheduler and real dask workers: who gets in, and what a call comes to."""

from __future__ import annotations

import datetime
import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.cluster import dask_carrier, keys
from queuectl.cluster.carrier import ANSWERED, LOST, REFUSED
from queuectl.cluster.dask_carrier import DaskCarrier
from queuectl.errors import ClusterError, UntrustedSpoolError
from queuectl.model import settings
from queuectl.model.settings import Settings
from tests.cluster.rig import PYTHON, Rig, ask, take_until, until

pytestmark = pytest.mark.cluster


def of(rig: Rig, folder: str = "") -> Settings:
    """Settings for the rig's cluster."""
    return settings.defaults()._replace(cluster_scheduler=rig.address, cluster_keys=folder or rig.keys)


@pytest.fixture
def carrier(rig: Rig) -> Iterator[DaskCarrier]:
    """A carrier to a scheduler with one node, which answers."""
    rig.scheduler()
    rig.worker("w1")
    made = dask_carrier.connect(of(rig))
    take_until(made, lambda: "w1" in made.nodes())
    yield made
    made.close()


def test_a_message_goes_to_a_node_and_back(carrier: DaskCarrier) -> None:
    """A keeper's answer and its refusal come as they are, also long ones."""
    assert ask(carrier, "w1", "x", '{"a": "ü"}')[1:] == (ANSWERED, '{"a": "ü"}')
    assert ask(carrier, "w1", "refuse", "why")[1:] == (REFUSED, "why")
    long = "y" * 3_000_000
    assert ask(carrier, "w1", "x", long)[1:] == (ANSWERED, long)


def test_calls_to_a_node_do_not_wait_for_each_other(carrier: DaskCarrier) -> None:
    """A long poll holds up nobody; many calls are open at once."""
    hanging = [carrier.call("w1", "hang", "") for _ in range(20)]
    assert ask(carrier, "w1", "x")[1] == ANSWERED
    assert not any(each.call in hanging for each in carrier.arrivals())


def test_calls_are_lost_at_once_with_their_dask_worker(carrier: DaskCarrier, rig: Rig) -> None:
    """Kill -9 of the dask worker: the next one, of the same name, is the same node."""
    number = carrier.call("w1", "hang", "")
    assert ask(carrier, "w1", "x")[1] == ANSWERED  # so the other call is there as well
    first = carrier.nodes()["w1"].address
    rig.started[1].kill()
    got = take_until(carrier, lambda: not carrier.nodes())
    assert [(each.call, each.kind) for each in got] == [(number, LOST)]
    rig.worker("w1")
    take_until(carrier, lambda: "w1" in carrier.nodes())
    assert carrier.nodes()["w1"].address != first
    assert ask(carrier, "w1", "x")[1] == ANSWERED


@pytest.mark.slow
def test_a_scheduler_that_comes_back_is_found_again(carrier: DaskCarrier, rig: Rig) -> None:
    """Kill -9 of the scheduler: calls are lost and the reason is said; then everything is back."""
    number = carrier.call("w1", "hang", "")
    assert ask(carrier, "w1", "x")[1] == ANSWERED
    rig.started[0].kill()
    got = take_until(carrier, lambda: carrier.lost)
    assert [(each.call, each.kind) for each in got] == [(number, LOST)]
    assert ask(carrier, "w1", "x")[1] == LOST
    take_until(carrier, lambda: "nothing listens" in carrier.lost)
    rig.scheduler()
    rig.worker("w1")  # a keeper starts it again
    take_until(carrier, lambda: "w1" in carrier.nodes())
    assert carrier.lost == ""
    assert ask(carrier, "w1", "x")[1] == ANSWERED


@pytest.mark.slow
def test_a_scheduler_that_was_silent_is_found_again_with_its_nodes(carrier: DaskCarrier, rig: Rig) -> None:
    """SIGSTOP of the scheduler for longer than the bridge waits; its dask workers are the same afterwards."""
    rig.started[0].send_signal(signal.SIGSTOP)
    take_until(carrier, lambda: carrier.lost)
    rig.started[0].send_signal(signal.SIGCONT)
    take_until(carrier, lambda: "w1" in carrier.nodes())
    assert ask(carrier, "w1", "x")[1] == ANSWERED


def test_a_bridge_that_was_killed_is_replaced(carrier: DaskCarrier) -> None:
    """Its calls are lost, and the nodes are back with the next one."""
    number = carrier.call("w1", "hang", "")
    os.kill(carrier._process.pid, signal.SIGKILL)
    got = take_until(carrier, lambda: not carrier.nodes())
    assert [(each.call, each.kind) for each in got] == [(number, LOST)]
    take_until(carrier, lambda: "w1" in carrier.nodes())


def test_the_bridge_has_no_handle_of_the_worker_s(carrier: DaskCarrier) -> None:
    """P10: code of other machines can run in the bridge; it has the socket, its own files, and no folder of ours."""
    folder = f"/proc/{carrier._process.pid}/fd"
    targets = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
    assert not [each for each in targets if each.startswith("/") and not each.startswith(("/dev/", "/proc/"))]
    assert os.readlink(f"/proc/{carrier._process.pid}/cwd") == "/"
    environment = Path(f"/proc/{carrier._process.pid}/environ").read_bytes()
    assert b"QUEUECTL_" not in environment


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can start a process as another user")
def test_the_bridge_can_be_another_user(rig: Rig) -> None:
    """P10: with `cluster.bridge_user` code of other machines cannot even read the keys, let alone write the spool."""
    try:
        subprocess.run([sys.executable, "-c", ""], user="nobody", check=True)
    except PermissionError:
        pytest.skip("this Python is in a folder that other users cannot enter")
    rig.scheduler()
    rig.worker("w1")
    carrier = dask_carrier.connect(of(rig)._replace(cluster_bridge_user="nobody"))
    try:
        take_until(carrier, lambda: "w1" in carrier.nodes())
        status = Path(f"/proc/{carrier._process.pid}/status").read_text()
        uids = re.findall(r"^Uid:\t(.*)$", status, re.MULTILINE)
        assert set(uids[0].split()) == {str(pwd.getpwnam("nobody").pw_uid)}
        assert re.search(r"^Groups:\s*$", status, re.MULTILINE)
        assert ask(carrier, "w1", "x")[1] == ANSWERED
    finally:
        carrier.close()


@pytest.mark.slow
def test_a_busy_node_is_not_idle_for_dask(rig: Rig) -> None:
    """A scheduler with an idle-timeout stays while a node is busy, and may end afterwards."""
    rig.environment["DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT"] = "4s"
    scheduler = rig.scheduler()
    rig.worker("w1")
    carrier = dask_carrier.connect(of(rig))
    try:
        take_until(carrier, lambda: "w1" in carrier.nodes())
        carrier.busy("w1", True)
        with pytest.raises(subprocess.TimeoutExpired):
            scheduler.wait(8)
        assert ask(carrier, "w1", "x")[1] == ANSWERED
        carrier.busy("w1", False)
        take_until(carrier, lambda: scheduler.poll() is not None)
    finally:
        carrier.close()


# ------------------------------------------------------------------------------------------------------------ TLS


def test_every_port_of_a_cluster_is_tls_on_one_address(rig: Rig) -> None:
    """dask listens on all addresses and serves pages, unless it is told otherwise."""
    scheduler = rig.scheduler()
    worker = rig.worker("w1")
    until(lambda: "Registered to" in rig.text("w1.log"))
    for process in (scheduler, worker):
        assert all(each.startswith("127.0.0.1:") for each in listening(process.pid)), listening(process.pid)


def listening(pid: int) -> list[str]:
    """Return the addresses at which a process listens for TCP."""
    shown = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    return [line.split()[3] for line in shown.splitlines() if re.search(rf"\bpid={pid}\b", line)]


def test_nobody_gets_in_without_a_certificate(rig: Rig) -> None:
    """A dask client without keys, or with plain TCP, runs nothing."""
    rig.scheduler()
    for scheme, security in (
        ("tcp", "None"),
        ("tls", f"Security(require_encryption=True, tls_ca_file={rig.keys + '/ca.pem'!r})"),
    ):
        code = (
            "from distributed import Client, Security\n"
            f"client = Client({scheme + rig.address[3:]!r}, security={security}, timeout=3)\n"
            "client.run_on_scheduler(print, 'GOT' + 'IN')\n"
        )
        done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0, done
        assert "GOTIN" not in rig.text("scheduler0.log")


def test_a_scheduler_of_another_ca_is_refused_in_words(rig: Rig, tmp_path: Path) -> None:
    """The reason is a sentence, and the jobs wait."""
    rig.scheduler()
    keys.make(str(tmp_path / "other"))
    carrier = dask_carrier.connect(of(rig, str(tmp_path / "other")))
    try:
        take_until(carrier, lambda: "certificate" in carrier.lost)
        assert carrier.nodes() == {}
    finally:
        carrier.close()


@pytest.mark.slow
def test_a_node_of_another_ca_is_no_node(rig: Rig, tmp_path: Path) -> None:
    """It does not come in, and the others are not disturbed."""
    rig.scheduler()
    keys.make(str(tmp_path / "other"))
    own, rig.keys = rig.keys, str(tmp_path / "other")
    rig.worker("foreign")
    rig.keys = own
    rig.worker("w1")
    carrier = dask_carrier.connect(of(rig))
    try:
        take_until(carrier, lambda: "w1" in carrier.nodes())
        until(lambda: re.search("(?i)alert unknown ca|certificate", rig.text("scheduler0.log")))
        assert set(carrier.nodes()) == {"w1"}
    finally:
        carrier.close()


def test_keys_that_are_not_good_any_more_start_nothing(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expired, and readable by others: refused before a connection, for spool, scheduler and node."""
    rig.address = "tls://127.0.0.1:8786"
    os.chmod(f"{rig.keys}/spool.pem", 0o644)
    with pytest.raises(UntrustedSpoolError, match="refusing to use"):
        dask_carrier.connect(of(rig))
    monkeypatch.setattr(keys, "VALID_DAYS", -1)
    monkeypatch.setattr(keys, "_BACKDATED", datetime.timedelta(days=3))
    rig.keys = str(tmp_path / "old")
    keys.make(rig.keys)
    for start in (lambda: dask_carrier.connect(of(rig)), rig.scheduler, lambda: rig.worker("w1")):
        with pytest.raises(ClusterError, match="expired on"):
            start()
