"""What people see of a real cluster, and what wrong input comes to: each one clear line, and jobs wait in pending/."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from queuectl.cluster import keys
from tests.cluster.rig import PYTHON, Rig, until
from tests.cluster.test_node import end_keepers

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def no_keeper_left(rig: Rig) -> Iterator[None]:
    """End the keepers, which outlive what started them."""
    yield
    end_keepers(rig)


class Head:
    """A spool, and the commands of a person there."""

    def __init__(self, rig: Rig, scheduler: str, folder: str) -> None:
        self.rig = rig
        self.spool = rig.folder / "spool"
        self.call("init", str(self.spool), at=False)
        self.use(scheduler, folder)

    def use(self, scheduler: str, folder: str) -> None:
        """Name the cluster in the settings."""
        self.call("config", "set", "cluster.scheduler", scheduler)
        self.call("config", "set", "cluster.keys", folder)

    def call(self, *words: str, at: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of queuectl."""
        argv = [PYTHON, "-m", "queuectl", *(["--spool", str(self.spool)] if at else []), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=90, env=self.rig.environment, check=False)

    def start(self) -> subprocess.Popen[bytes]:
        """Start a pool that runs jobs on nodes."""
        words = ["--spool", str(self.spool), "worker", "start", "--cluster"]
        return self.rig.spawn([PYTHON, "-m", "queuectl", *words], "pool.log")

    def why(self, job_id: str) -> str:
        """Why a job waits, or where it runs."""
        return self.call("why", job_id).stdout


@pytest.mark.slow
def test_what_people_see_of_a_cluster(rig: Rig) -> None:
    """A pool with keys of another cluster says so and loses nothing; with the right ones all views name the node."""
    rig.scheduler()
    rig.node("w1", "--slots", "3", "--resource", "GPU=2")
    foreign = str(rig.folder / "foreign")
    keys.make(foreign)
    head = Head(rig, rig.address, foreign)
    head.call("enqueue", "--id", "job1", "--resource", "GPU=1", "--", "sleep", "100")
    pool = head.start()
    until(lambda: "the scheduler's certificate is refused" in head.why("job1"))
    assert "use the keys of this cluster" in head.why("job1")
    assert "no way to it" in head.call("status").stdout
    assert [path.name[:5] for path in (head.spool / "pending").glob("job1*")] == ["job1,"]
    pool.terminate()
    assert pool.wait(30) == 0

    head.use(rig.address, rig.keys)
    head.start()
    until(lambda: "it is running on node w1" in head.why("job1"))
    text = head.call("status", "-v").stdout
    assert f"cluster   {rig.address}: 1 node, 1 of 3 slots, beat" in text
    assert "w1  1 of 3 slots, GPU=2, beat" in text and "on w1 by" in text
    assert "on node w1" in head.call("show", "job1").stdout
    (row,) = json.loads(head.call("worker", "list", "--json").stdout)["pools"]
    assert row["workers"] == 3 and row["running"] == ["job1"]
    head.call("enqueue", "--id", "job2", "--resource", "GPU=9", "--", "true")
    assert "no node offers GPU=9" in head.why("job2")
    lines = {line["name"]: line for line in json.loads(head.call("doctor", "--json").stdout)["lines"]}
    assert {lines[name]["level"] for name in ("cluster", "scheduler", "true on w1")} == {"ok"}
    assert lines["node w1"]["level"] != "fail" and "dask" in lines["node w1"]["measured"]
    assert abs(lines["node w1"]["measured"]["clock_drift"]) < 0.01
    stopped = head.call("worker", "stop", "--leave").stdout
    assert "1 command goes on on nodes" in stopped
    head.call("cancel", "job1")


def test_an_unreachable_scheduler(rig: Rig) -> None:
    """Nothing listens at the address: `why` and `status` say so, and the job waits."""
    head = Head(rig, "tls://127.0.0.1:9", rig.keys)
    head.call("enqueue", "--id", "job1", "--", "true")
    head.start()
    until(lambda: "nothing listens there" in head.why("job1"))
    assert "no way to the scheduler tls://127.0.0.1:9" in head.why("job1")
    assert head.call("status").stdout.startswith("No way to the cluster, 1 waiting")
    assert list((head.spool / "pending").glob("job1*"))
