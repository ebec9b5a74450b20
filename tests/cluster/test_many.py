"""Four hundred commands in flight at once (P4, P9): all run, all end with their outcome, and what the parts take."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time

import pytest

from bench import machine
from queuectl.cluster import client
from tests.cluster.farm import Farm
from tests.cluster.rig import Rig, until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
COUNT = 400
NODES = ("a", "b", "c", "d")


@pytest.mark.skipif(not shutil.which("flock"), reason="needs flock of util-linux")
def test_four_hundred_commands_in_flight(rig: Rig) -> None:
    """They wait for a lock that the test has, so they all live at once; then each ends by itself."""
    farm = Farm(rig, *NODES, slots=COUNT // len(NODES), lease_s=30, pool_slots=COUNT)
    gate = rig.folder / "gate"
    try:
        farm.job("warm", 0)
        farm.wait_for("warm")
        with open(gate, "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for number in range(COUNT):
                drop = farm.spool / "pending" / f".{number}"
                words = ["flock", "--shared", str(gate), "echo", str(number)]
                drop.write_text(json.dumps({"id": f"job{number}", "command": words}))
                drop.rename(farm.spool / "pending" / f"job{number}.json")
            began_s = time.monotonic()
            keepers: list[int] = []

            def are_there() -> bool:
                with contextlib.suppress(OSError):
                    keepers[:] = [client.keeper_pid(str(rig.folder / name)) for name in NODES]
                return bool(keepers)

            until(are_there)
            until(lambda: sum(len(machine.children(pid)) for pid in keepers) == COUNT, within_s=200)
            print(f"FIGURE {COUNT} commands run {time.monotonic() - began_s:.1f} s after their drop")
            assert farm.counts()["running"] == COUNT
            worker, bridge = farm.worker(), farm.bridge()
            assert farm.pool is not None
            roles = {
                "pool": [farm.pool.pid, worker.pid],
                "bridge": [bridge.pid],
                "scheduler": [farm.scheduler.pid],
                "dask workers": [farm.dask_worker(name).pid for name in NODES],
                "keepers": keepers,
            }
            before = {pid: machine.cpu_s(pid) for pids in roles.values() for pid in pids}
            time.sleep(10)  # what is measured
            for role, pids in roles.items():
                share = sum(machine.cpu_s(pid) - before[pid] for pid in pids) / 10
                memory_mb = sum(found.pss for pid in pids if (found := machine.memory(pid)) is not None)
                print(f"FIGURE {role}: {share:.1%} of a core, {memory_mb:.0f} MB")
            assert len(os.listdir(f"/proc/{keepers[0]}/fd")) < 2 * COUNT
        until(lambda: farm.counts()["done"] == COUNT + 1, within_s=200)
        for number in range(COUNT):
            assert (farm.spool / "logs" / f"job{number}.1.log").read_text() == f"{number}\n"
            assert farm.events(f"job{number}") == ["enqueued", "started", "succeeded"]
    finally:
        farm.close()
