"""Faults on a real cluster: what goes on, what runs again and when; no two runs of a job ever overlap (P3, P4, P5)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from queuectl.system import processes
from tests.cluster.farm import Farm, kill_family
from tests.cluster.rig import Rig, until

pytestmark = pytest.mark.cluster
# The shortest lease: a command outlives 5 s of silence, so faults are over soon.
LEASE_S = 10
# The usual lease: a command outlives 25 s of silence, also on a busy machine.
USUAL_LEASE_S = 30
# How long the job runs: longer than it takes until a node ends it.
RUN_S = 12
# If nothing ends it, its end may also come while the fault lasts.
SHORT_RUN_S = 6


@pytest.fixture
def farm(rig: Rig, request: pytest.FixtureRequest) -> Iterator[Farm]:
    """Two nodes and a pool, with one long job that runs."""
    lease_s, run_s = getattr(request, "param", (LEASE_S, RUN_S))
    made = Farm(rig, "a", "b", lease_s=lease_s)
    try:
        made.job("x", run_s)
        until(lambda: made.runs("x"), within_s=90)
        yield made
    finally:
        made.close()


def kill_dask_worker(farm: Farm) -> None:
    processes.send(farm.dask_worker(farm.node_of("x")), signal.SIGKILL)


def kill_node_process(farm: Farm) -> None:
    name = farm.node_of("x")
    farm.nodes[name].kill()
    farm.nodes[name].wait()
    farm.start_node(name)


def restart_scheduler(farm: Farm) -> None:
    farm.scheduler.kill()
    farm.scheduler.wait()
    time.sleep(1)  # the length of the fault, not a wait for something
    farm.scheduler = farm.rig.scheduler()


def restart_workers(farm: Farm) -> None:
    """dask's own `client.restart()`."""
    farm.ask_dask("client.restart(timeout=20)")


def retire_workers(farm: Farm) -> None:
    """dask's own `client.retire_workers()`, as adaptive scaling calls it."""
    farm.ask_dask("client.retire_workers()")


def kill_bridge(farm: Farm) -> None:
    processes.send(farm.bridge(), signal.SIGKILL)


def kill_pool(farm: Farm) -> None:
    assert farm.pool is not None
    kill_family(farm.pool)
    farm.start_pool()


@pytest.mark.parametrize("farm", [(USUAL_LEASE_S, SHORT_RUN_S)], indirect=True, ids=["usual lease"])
@pytest.mark.parametrize(
    "fault",
    [
        kill_dask_worker,
        pytest.param(kill_node_process, marks=pytest.mark.slow),
        pytest.param(restart_scheduler, marks=pytest.mark.slow),
        pytest.param(restart_workers, marks=pytest.mark.slow),
        pytest.param(retire_workers, marks=pytest.mark.slow),
        pytest.param(kill_bridge, marks=pytest.mark.slow),
        pytest.param(kill_pool, marks=pytest.mark.slow),
    ],
)
def test_the_command_goes_on(farm: Farm, fault: Callable[[Farm], None]) -> None:
    """P3, P4: kill -9 of what carries, leads or decides, which is back soon: one run, and its true outcome."""
    fault(farm)
    farm.wait_for("x")
    assert farm.events("x")[-1] == "succeeded"
    assert [line.split()[0] for line in farm.runs("x")] == ["begin", "end"]


def kill_keeper(farm: Farm) -> None:
    processes.send(farm.keeper(farm.node_of("x")), signal.SIGKILL)


def stop_keeper(farm: Farm) -> None:
    processes.send(farm.keeper(farm.node_of("x")), signal.SIGSTOP)


def kill_node(farm: Farm) -> None:
    farm.kill_node(farm.node_of("x"))


def restart_node(farm: Farm) -> None:
    """Kill -9 of keeper, dask worker and node process, with the node back after 1 s."""
    name = farm.node_of("x")
    farm.kill_node(name)
    time.sleep(1)  # the length of the fault, not a wait for something
    farm.start_node(name)


def stop_dask_worker(farm: Farm) -> None:
    processes.send(farm.dask_worker(farm.node_of("x")), signal.SIGSTOP)


@pytest.mark.parametrize(
    ("fault", "again_after_s", "farm"),
    [
        (kill_keeper, (0, LEASE_S), (LEASE_S, SHORT_RUN_S)),
        pytest.param(stop_keeper, (0, 2 * LEASE_S), (LEASE_S, RUN_S), marks=pytest.mark.slow),
        pytest.param(restart_node, (0, 2 * LEASE_S), (LEASE_S, RUN_S), marks=pytest.mark.slow),
        pytest.param(kill_node, (LEASE_S / 2, 4 * LEASE_S), (LEASE_S, RUN_S), marks=pytest.mark.slow),
        pytest.param(stop_dask_worker, (LEASE_S / 2, 4 * LEASE_S), (LEASE_S, RUN_S), marks=pytest.mark.slow),
    ],
    indirect=["farm"],
)
def test_the_job_runs_again_and_never_twice_at_once(
    farm: Farm, fault: Callable[[Farm], None], again_after_s: tuple[float, float]
) -> None:
    """P3, P5: by proof where there is one, after the lease where there is none; slow is not dead."""
    began_s = time.time()
    fault(farm)
    _, passed_s = farm.wait_until_again("x", fault.__name__, began_s)
    farm.wait_for("x")
    assert farm.overlaps() == []
    assert farm.events("x")[1:] == ["started", "abandoned", "started", "succeeded"]
    assert again_after_s[0] <= passed_s
    assert passed_s <= again_after_s[1] + 30, "even on a busy machine"


@pytest.mark.slow
def test_without_a_scheduler_nothing_is_claimed_and_nothing_is_lost(farm: Farm) -> None:
    """P1, P3: its commands end with the lease, jobs wait in pending/, and run when it is back."""
    farm.scheduler.kill()
    farm.scheduler.wait()
    until(lambda: farm.state("x") == "pending", within_s=100)
    farm.job("later", 0.1)
    farm.queuectl("check")
    assert farm.state("later") == "pending"
    assert farm.runs("later") == []
    assert not farm.runs("x")[-1].startswith("end")
    farm.scheduler = farm.rig.scheduler()
    farm.wait_for("later")
    farm.wait_for("x")
    assert farm.overlaps() == []


@pytest.mark.parametrize("farm", [(USUAL_LEASE_S, 300)], indirect=True, ids=["usual lease"])
def test_a_cancelled_job_ends_on_its_node(farm: Farm) -> None:
    """`queuectl cancel` ends the command on the node, which would go on for longer than a busy machine needs for it."""
    farm.queuectl("cancel", "x")
    farm.wait_for("x", "dlq")
    assert "end" not in farm.runs("x")
    assert farm.events("x")[-1] == "cancelled"
