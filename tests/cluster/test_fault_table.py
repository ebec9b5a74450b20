"""The rest of the fault table: cut networks, machines that stand still, pools that are gone, reboots (P1, P3, P4, P5).

Each prints a line `FIGURE`; docs/reliability.md has them. The witness is a lock that the command holds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from queuectl.cluster import client
from queuectl.spool import stamps
from queuectl.spool.folder import SpoolDir
from queuectl.system import boot, processes
from tests.cluster import net
from tests.cluster.farm import Farm, kill_family
from tests.cluster.freezer import Freezer
from tests.cluster.rig import Rig, until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
LEASE_S = 10
USUAL_LEASE_S = 30


def start(rig: Rig, run_s: float, *nodes: str, lease_s: int = LEASE_S) -> Farm:
    """Return a farm with one long job that runs."""
    farm = Farm(rig, *(nodes or ("a", "b")), lease_s=lease_s)
    try:
        farm.job("x", run_s)
        until(lambda: farm.begins("x"), within_s=90)
    except BaseException:
        farm.close()
        raise
    return farm


def check(farm: Farm, *events: str) -> None:
    """Check that the job ended as it should, without an overlap."""
    farm.wait_for("x")
    assert farm.overlaps() == []
    assert farm.events("x")[1:] == list(events)


GOES_ON = ("started", "succeeded")
AGAIN = ("started", "abandoned", "started", "succeeded")


@pytest.fixture
def cables(rig: Rig) -> Rig:
    """A rig whose nodes and pool have cables."""
    if why := net.missing():
        pytest.skip(why)
    rig.net = net.Net()
    return rig


def cut(farm: Farm, names: list[str], for_s: float) -> float:
    """Pull cables for a while; return when (since 1970)."""
    assert farm.rig.net is not None
    began_s = time.time()
    for name in names:
        farm.rig.net.cut(name)
    time.sleep(for_s)  # the length of the fault, not a wait for something
    for name in names:
        farm.rig.net.heal(name)
    return began_s


def test_a_cut_of_8_s_interrupts_nothing(cables: Rig) -> None:
    """P3: with the usual lease a command outlives it."""
    farm = start(cables, 25, lease_s=USUAL_LEASE_S)
    try:
        cut(farm, [farm.node_of("x")], 8)
        check(farm, *GOES_ON)
        print("FIGURE network of a node cut for 8 s: goes on")
    finally:
        farm.close()


def test_a_cut_of_40_s_ends_the_command_before_it_runs_elsewhere(cables: Rig) -> None:
    """P3, P5: the node ends it by its own clock; healed, the node is back."""
    farm = start(cables, 15)
    try:
        node = farm.node_of("x")
        assert farm.rig.net is not None
        farm.rig.net.cut(node)
        began_s = time.time()
        cut_s, again_s = farm.wait_until_again("x", "network of a node cut for 40 s", began_s)
        assert cut_s < again_s
        until(lambda: time.time() > began_s + 40)
        farm.rig.net.heal(node)
        print(f"FIGURE network of a node healed: back after {farm.wait_until_back(node, began_s + 40):.1f} s")
        check(farm, *AGAIN)
    finally:
        farm.close()


@pytest.mark.parametrize("names", [["a", "b"], ["pool"]], ids=["all nodes", "the pool"])
def test_all_nodes_cut_leave_the_job_pending(cables: Rig, names: list[str]) -> None:
    """P1, P3: it waits for a node."""
    farm = start(cables, 15)
    try:
        assert cables.net is not None
        for name in names:
            cables.net.cut(name)
        began_s = time.time()
        until(lambda: farm.state("x") == "pending", within_s=100)
        print(f"FIGURE {names} cut for 40 s: abandoned {time.time() - began_s:.1f} s")
        until(lambda: time.time() > began_s + 40)
        assert len(farm.begins("x")) == 1
        for name in names:
            cables.net.heal(name)
        farm.wait_until_again("x", f"{names} cut for 40 s", began_s)
        check(farm, *AGAIN)
    finally:
        farm.close()


def test_a_dask_worker_that_stands_still_for_60_s(rig: Rig) -> None:
    """P3, P5: its keeper hears nothing and ends the command; when it goes on, the node is back."""
    farm = start(rig, 15)
    try:
        node = farm.node_of("x")
        worker = farm.dask_worker(node)
        processes.send(worker, signal.SIGSTOP)
        began_s = time.time()
        farm.wait_until_again("x", "dask worker stopped for 60 s", began_s)
        check(farm, *AGAIN)
        until(lambda: time.time() > began_s + 60)
        processes.send(worker, signal.SIGCONT)
        print(f"FIGURE dask worker goes on: back after {farm.wait_until_back(node, began_s + 60):.1f} s")
    finally:
        farm.close()


def test_a_dask_worker_that_nobody_starts_again(rig: Rig) -> None:
    """P3, P5: a node of another launcher, whose nanny is killed: its keeper ends the command with the lease."""
    farm = Farm(rig)
    try:
        nanny = rig.worker("n", preload="queuectl.cluster.node", nanny=True)
        farm.job("x", 15)
        until(lambda: farm.begins("x"), within_s=90)
        began_s = time.time()
        nanny.kill()
        farm.start_node("b")
        farm.wait_until_again("x", "nanny killed, nothing restarts it", began_s)
        check(farm, *AGAIN)
    finally:
        farm.close()
        end_keeper(str(farm.rig.folder / "n" / "keeper"))


def end_keeper(scratch: str) -> None:
    """Kill the keeper of a scratch folder, which has outlived what started it."""
    try:
        found = processes.find(client.keeper_pid(scratch))
    except OSError:
        return
    if found is not None:
        processes.send(found, signal.SIGKILL)


def test_a_worker_of_the_pool_that_stands_still(rig: Rig) -> None:
    """P3, P5: its node ends the command with the lease; given up when the worker goes on."""
    farm = start(rig, 15)
    try:
        worker = farm.worker()
        processes.send(worker, signal.SIGSTOP)
        began_s = time.time()
        time.sleep(25)  # the length of the fault, not a wait for something
        assert len(farm.begins("x")) == 1
        processes.send(worker, signal.SIGCONT)
        farm.wait_until_again("x", "worker of the pool stopped for 25 s", began_s)
        check(farm, *AGAIN)
    finally:
        farm.close()


def test_a_pool_that_is_gone_for_longer_than_the_lease(rig: Rig) -> None:
    """P3, P5: the node ends the command, the next pool finds it abandoned."""
    farm = start(rig, 15)
    try:
        assert farm.pool is not None
        kill_family(farm.pool)
        began_s = time.time()
        time.sleep(25)  # the length of the fault, not a wait for something
        assert len(farm.begins("x")) == 1
        farm.start_pool()
        farm.wait_until_again("x", "pool killed, a new one after 25 s", began_s)
        check(farm, *AGAIN)
    finally:
        farm.close()


def test_a_pool_that_is_gone_while_a_local_pool_is_there(rig: Rig) -> None:
    """P3, P5: the local pool rescues the job by the stamp, not before."""
    farm = start(rig, 15)
    try:
        assert farm.pool is not None
        kill_family(farm.pool)
        began_s = time.time()
        farm.start_pool("--count", "1")
        cut_s, again_s = farm.wait_until_again("x", "pool killed, a local pool there", began_s)
        assert farm.node_of("x") == "here"
        assert cut_s < again_s
        check(farm, *AGAIN)
    finally:
        farm.close()


def test_a_machine_that_stands_still_as_a_whole(rig: Rig) -> None:
    """P3 ends here, and how far: the old copy lives for a moment after the machine goes on, and its end is no outcome.

    The frozen command still holds its lock, so the witness says OVERLAP: that is the limit which P3 names.
    """
    try:
        freezer = Freezer()
    except OSError as error:
        pytest.skip(f"this system freezes no processes: {error}")
    farm = Farm(rig)
    try:
        farm.start_node("f", freezer.within)
        farm.job("x", 60)
        until(lambda: farm.begins("x"), within_s=90)
        farm.start_node("b")
        began_s = time.time()
        freezer.freeze()
        farm.wait_until_again("x", "whole machine frozen for 30 s", began_s)
        until(lambda: time.time() > began_s + 30)
        thawed_s = time.time()
        freezer.thaw()
        back_s = farm.wait_until_back("f", thawed_s)
        lived_s = farm.last_sign_s("x", 1) - thawed_s
        print(f"FIGURE machine goes on: its old copy lived for {lived_s:.2f} s, the node is back after {back_s:.1f} s")
        farm.wait_for("x")
        assert farm.events("x")[1:] == list(AGAIN)
        assert farm.last_sign_s("x", 1) < farm.last_sign_s("x", 2)
        assert lived_s < LEASE_S
    finally:
        freezer.thaw()
        farm.close()
        freezer.close()


def test_a_reboot_of_the_spool_s_host(rig: Rig) -> None:
    """P3: after a boot nothing is claimed or rescued until the machine is up for the longest lease.

    The boot is one of namespaces: the next pool sees another boot id, and a machine that is up for 1 s. The node lives
    on with its command, but nobody can speak to it.
    """
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a boot in namespaces needs root and unshare")
    boot_id = rig.folder / "boot_id"
    boot_id.write_text("0f0f0f0f-another-boot\n")
    mounts = f"mount --bind {boot_id} /proc/sys/kernel/random/boot_id && exec " + '"$@"'
    as_booted = ["unshare", "--mount", "--time", "--fork", "--kill-child", "--boottime"]

    def booted() -> list[str]:
        return [*as_booted, str(-int(boot.uptime_s() - 1)), "sh", "-c", mounts, "sh"]

    if subprocess.run([*booted(), "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system makes no time namespaces")
    farm = start(rig, 15, "a")
    try:
        assert farm.pool is not None
        began_s = time.time()
        kill_family(farm.pool)
        farm.nodes["a"].kill()
        processes.send(farm.dask_worker("a"), signal.SIGKILL)
        farm.job("later", 0.1)
        booted_s = time.time()
        farm.start_pool("--count", "1", within=booted())
        cut_s, again_s = farm.wait_until_again("x", "the spool's host reboots", began_s)
        spool = SpoolDir(str(farm.spool))
        length_s = float((farm.spool / ".queuectl" / "engine" / "length").read_text())
        print(
            f"FIGURE the spool's host reboots: up for {again_s - (booted_s - began_s) + 1:.1f} s, LENGTH {length_s} s"
        )
        assert cut_s < again_s
        farm.wait_for("later")
        for name, number in (("x", 1), ("later", 0)):
            assert farm.begins(name)[number] - booted_s + 2 > length_s
        assert stamps.read(spool, "nobody-c1") is None
        check(farm, *AGAIN)
    finally:
        farm.close()


# ------------------------------------------------------------------------------------------------- dask's own habits


def test_two_spools_on_one_cluster(rig: Rig) -> None:
    """P3, P4: jobs of the same names, on the same nodes: each spool has its own outcomes, cancels and leases."""
    farm = start(rig, 12)
    other = Farm(rig, lease_s=LEASE_S, beside=farm)
    try:
        other.job("x", 100)
        for each in (farm, other):
            for number in range(20):
                each.job(f"y{number}", 0.2)
        until(lambda: other.begins("x"), within_s=90)
        other.queuectl("cancel", "x")
        other.wait_for("x", "dlq")
        assert farm.pool is not None
        kill_family(farm.pool)
        farm.start_pool()
        for each in (farm, other):
            until(lambda each=each: all(each.state(f"y{number}") == "done" for number in range(20)), within_s=90)
            assert all(len(each.begins(f"y{number}")) == 1 for number in range(20))
        farm.wait_for("x")
        assert farm.overlaps() == other.overlaps() == []
        assert len(farm.begins("x")) == 1
    finally:
        other.close()
        farm.close()


@pytest.fixture
def adaptive(rig: Rig) -> Iterator[Farm]:
    """A cluster that dask itself starts, and shrinks once the file `adapt` is there."""
    keys = rig.keys
    security = (
        f"Security(require_encryption=True, tls_ca_file={keys + '/ca.pem'!r},"
        f" tls_client_cert={keys + '/spool.pem'!r}, tls_scheduler_cert={keys + '/scheduler.pem'!r},"
        f" tls_worker_cert={keys + '/node.pem'!r})"
    )
    (rig.folder / "adaptive.py").write_text(
        "import os, sys, time\n"
        "from distributed import LocalCluster, Security\n"
        "if __name__ == '__main__':\n"
        f"    cluster = LocalCluster(n_workers=3, threads_per_worker=2, security={security}, protocol='tls://',\n"
        "        host='127.0.0.1', dashboard_address=None, preload=['queuectl.cluster.node'],\n"
        f"        local_directory={str(rig.folder / 'local')!r})\n"
        "    print('Scheduler at:', cluster.scheduler_address, flush=True)\n"
        f"    while not os.path.exists({str(rig.folder / 'adapt')!r}):\n"
        "        time.sleep(0.1)\n"
        "    cluster.adapt(minimum=0, maximum=3, interval='500ms', wait_count=2)\n"
        "    while True:\n"
        "        print('WORKERS', len(cluster.scheduler.workers), flush=True)\n"
        "        time.sleep(0.1)\n"
    )
    process = rig.spawn([sys.executable, str(rig.folder / "adaptive.py")], "adaptive.log")
    until(lambda: "Scheduler at: " in rig.text("adaptive.log"))
    rig.address = rig.text("adaptive.log").partition("Scheduler at: ")[2].split()[0]
    farm = Farm(rig, scheduler=process)
    yield farm
    farm.close()
    end_keeper(str(rig.folder / "local" / "dask-scratch-space" / "queuectl"))


def test_adapt_spares_the_worker_of_a_node_with_commands(adaptive: Farm) -> None:
    """P3: dask takes idle workers away, not the one that carries for a node where something runs, until it has ended.

    The three workers share a machine and a scratch folder, so they share a keeper, and are one node.
    """
    farm = adaptive
    farm.job("x", 12)
    until(lambda: farm.begins("x"), within_s=90)
    (row,) = json.loads(farm.queuectl("cluster", "list", "--json"))["nodes"]
    assert row["slots"] == 2
    (farm.rig.folder / "adapt").touch()
    until(lambda: "WORKERS 1" in farm.rig.text("adaptive.log"))
    farm.wait_for("x")
    check(farm, *GOES_ON)
    until(lambda: "WORKERS 0" in farm.rig.text("adaptive.log"))
    print("FIGURE adapt: goes on")
