"""Jobs of a spool on two real keepers of this machine: a real pool, no dask (P3, P4, P5)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.cluster import client
from queuectl.spool import stamps
from queuectl.spool.folder import SpoolDir
from queuectl.system import processes
from tests.helpers import names_in, wait_until
from tests.keeper import RealKeeper

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="a Linux machine leads a cluster"),
    pytest.mark.skipif(not shutil.which("flock"), reason="needs flock of util-linux"),
]


class Cluster:
    """A spool, keepers, and pools as real processes."""

    def __init__(self, spool: SpoolDir, nodes: Path, *, lease: str = "12s") -> None:
        self.spool = spool
        self.nodes = nodes
        self.keepers: dict[str, RealKeeper] = {}
        self.pools: list[subprocess.Popen[str]] = []
        nodes.mkdir()
        with open(spool.settings_path, "a", encoding="utf-8") as file:
            file.write(f'\n[cluster]\nscheduler = "unix:{nodes}"\nlease = "{lease}"\n')

    def start_node(self, name: str, *options: str) -> RealKeeper:
        """Start a keeper, or its successor."""
        words = ("--slots", "3", "--node", name, "--term-before", "1", *options)
        made = self.keepers[name] = RealKeeper(self.nodes / name, *words)
        made.__enter__()
        return made

    def start_pool(self, *options: str) -> subprocess.Popen[str]:
        """Start a pool that leads the cluster."""
        argv = [sys.executable, "-m", "queuectl", "--spool", self.spool.root, "worker", "start"]
        chosen = options or ("--cluster",)
        pool = subprocess.Popen([*argv, *chosen], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        self.pools.append(pool)
        return pool

    def worker(self, pool: subprocess.Popen[str]) -> int:
        """The pid of the worker process that leads the cluster, once there is one."""

        def found() -> int:
            pids = [pid for pid in processes.child_pids(pool.pid) if not _is_zombie(pid)]
            return pids[0] if pids else 0

        return int(wait_until(found))

    def add(self, job_id: str, command: str, **keys: object) -> None:
        """Enqueue a job."""
        Spool(self.spool.root).enqueue(command, id=job_id, backoff_base=0, **keys)

    def guarded(self, job_id: str, lasts: str, mark: Path, **keys: object) -> None:
        """Enqueue a job that is alone while it runs, or says OVERLAP; `lasts` is what its shell does meanwhile."""
        self.add(
            job_id,
            f"exec 9>'{mark}'; flock -n 9 || echo OVERLAP >>'{mark}.bad'; echo $QUEUECTL_ATTEMPT >>'{mark}.runs'; "
            f"{lasts}; echo {job_id} done",
            **keys,
        )

    def events(self, job_id: str) -> list[str]:
        """The kinds of events of a job, wherever it is."""
        found = self.spool.find(job_id)
        if found is None:
            return []
        with contextlib.suppress(OSError, ValueError):
            return [each["event"] for each in json.loads(Path(found.path).read_text())["history"]]
        return []

    def is_in(self, job_id: str, state: str) -> bool:
        """Whether a job is in a state."""
        return f"{job_id}.json" in names_in(self.spool, state)

    def runs(self, mark: Path) -> list[str]:
        """The attempts that have begun."""
        path = Path(f"{mark}.runs")
        return path.read_text().split() if path.exists() else []

    def close(self) -> None:
        """End everything."""
        for pool in self.pools:
            with contextlib.suppress(ProcessLookupError):
                pool.terminate()
                pool.terminate()  # twice: running jobs end now
            try:
                pool.wait(60)
            except subprocess.TimeoutExpired:
                pool.kill()
                pool.wait()
        for keeper in self.keepers.values():
            keeper.__exit__(None, None, None)


def _first_lasts(seconds: float) -> str:
    """Text for a job whose first run lasts, so that what a test does to it is never too late."""
    return f"if [ $QUEUECTL_ATTEMPT = 1 ]; then sleep {seconds}; fi"


def _until(gate: Path) -> str:
    """Text for a command that lasts until a file exists."""
    return f"while [ ! -e '{gate}' ]; do sleep 0.05; done"


def _is_zombie(pid: int) -> bool:
    found = processes.find(pid)
    return found is None or found.has_ended


@pytest.fixture
def cluster(spool: SpoolDir, tmp_path: Path) -> Iterator[Cluster]:
    """Two nodes of three places each."""
    made = Cluster(spool, tmp_path / "nodes")
    try:
        made.start_node("w1")
        made.start_node("w2")
        yield made
    finally:
        made.close()
    assert not list(tmp_path.glob("*.bad")), "two runs of one job overlapped"


def test_jobs_run_on_the_nodes(cluster: Cluster, tmp_path: Path) -> None:
    """P4: Outcomes, output, a timeout, a retry and the node of each run are on record; a pool drains and ends."""
    gate = tmp_path / "gate"
    for number in range(8):
        cluster.add(f"job{number}", f"echo {number} on $QUEUECTL_NODE; {_until(gate)}")
    cluster.add("bad", "exit 3", max_retries=1)
    cluster.add("slow", "sleep 100", timeout=0.3, max_retries=0)
    cluster.add("gone", "no-such-program-here", max_retries=0)
    pool = cluster.start_pool("--cluster", "--drain")
    wait_until(lambda: len(names_in(cluster.spool, "running")) == 6)  # all places of both nodes
    gate.touch()
    assert pool.wait(90) == 0
    assert len([name for name in names_in(cluster.spool, "done") if name.startswith("job")]) == 8
    nodes = set()
    for number in range(8):
        words = Path(cluster.spool.log_path(f"job{number}", 1)).read_text().split()
        assert words[:2] == [str(number), "on"]
        nodes.add(words[2])
    assert nodes == {"w1", "w2"}
    assert cluster.events("bad") == ["enqueued", "started", "failed", "started", "failed"]
    assert cluster.events("slow")[-1] == "timed_out"
    assert cluster.events("gone")[-1] == "failed"
    assert stamps.sessions(cluster.spool) == []
    # A node keeps nothing that is acknowledged.
    outputs = [*cluster.nodes.glob("w?/runs/*.out")]
    wait_until(lambda: not any(each.exists() and each.read_bytes() for each in outputs))


@pytest.mark.slow
def test_output_is_followed_and_a_cancel_arrives(cluster: Cluster, tmp_path: Path) -> None:
    """What a command prints shows in its output file while it runs; `cancel` ends it on its node."""
    pool = cluster.start_pool()
    cluster.add("talk", "echo first; exec sleep 100")
    wait_until(lambda: cluster.events("talk")[-1:] == ["started"])
    lease = json.loads(Path(cluster.spool.path("running", "talk.json")).read_text())["history"][-1]["lease"]
    output = Path(cluster.spool.output_path(lease))
    wait_until(lambda: output.exists() and output.read_text() == "first\n")
    Spool(cluster.spool.root).cancel("talk")
    wait_until(lambda: cluster.is_in("talk", "dlq"))
    assert cluster.events("talk")[-1] == "cancelled"
    pool.terminate()
    assert pool.wait(60) == 0


@pytest.mark.slow
def test_a_killed_keeper_costs_seconds(cluster: Cluster, tmp_path: Path) -> None:
    """P5: Its successor proves that it is dead with its commands, and the job runs again, not beside itself (P3)."""
    mark = tmp_path / "mark"
    cluster.start_pool()
    cluster.guarded("job1", _first_lasts(100), mark)
    wait_until(lambda: cluster.runs(mark) == ["1"])
    node = _node_of(cluster, "job1")
    killed_s = time.monotonic()
    os.kill(client.keeper_pid(str(cluster.nodes / node)), signal.SIGKILL)
    cluster.keepers[node].__exit__(None, None, None)
    cluster.start_node(node)
    wait_until(lambda: cluster.is_in("job1", "done"))
    assert cluster.runs(mark) == ["1", "2"]
    assert cluster.events("job1") == ["enqueued", "started", "abandoned", "started", "succeeded"]
    assert time.monotonic() - killed_s < 60


@pytest.mark.slow
def test_a_killed_worker_leaves_its_runs_to_the_next(cluster: Cluster, tmp_path: Path) -> None:
    """P3, P4: The command goes on; the next worker takes it over and records its true outcome."""
    mark = tmp_path / "mark"
    pool = cluster.start_pool()
    cluster.guarded("job1", "sleep 3", mark)
    wait_until(lambda: cluster.runs(mark) == ["1"])
    os.kill(cluster.worker(pool), signal.SIGKILL)
    wait_until(lambda: cluster.is_in("job1", "done"))
    assert cluster.runs(mark) == ["1"]
    assert cluster.events("job1") == ["enqueued", "started", "succeeded"]
    assert Path(cluster.spool.log_path("job1", 1)).read_text() == "job1 done\n"


@pytest.mark.slow
def test_an_upgrade_stops_no_command(cluster: Cluster, tmp_path: Path) -> None:
    """P3, P4: `worker stop --leave` ends the pool at once; the next one has the commands and their true outcomes."""
    mark, stop = tmp_path / "mark", [sys.executable, "-m", "queuectl", "--spool", cluster.spool.root, "worker", "stop"]
    pool = cluster.start_pool()
    gate = tmp_path / "gate"
    cluster.guarded("job1", _until(gate), mark)
    wait_until(lambda: cluster.runs(mark) == ["1"])
    done = subprocess.run([*stop, "--leave"], capture_output=True, text=True, timeout=60, check=True)
    assert "1 command goes on on nodes; start the next pool within" in done.stdout
    assert pool.wait(60) == 0 and cluster.is_in("job1", "running")
    cluster.start_pool()
    gate.touch()
    wait_until(lambda: cluster.is_in("job1", "done"))
    assert cluster.events("job1") == ["enqueued", "started", "succeeded"]
    assert cluster.runs(mark) == ["1"]
    assert Path(cluster.spool.log_path("job1", 1)).read_text() == "job1 done\n"


@pytest.mark.slow
def test_resources_are_found_and_hold_up_nobody(cluster: Cluster, tmp_path: Path) -> None:
    """A job waits for the node that has what it needs; those that need nothing, or something else, pass it."""
    cluster.add("huge", "true", resources={"GPU": 9})
    for number in range(3):
        cluster.guarded(f"gpu{number}", "sleep 0.3", tmp_path / "gpu", resources={"GPU": 1})
    for number in range(4):
        cluster.add(f"plain{number}", "true")
    pool = cluster.start_pool("--cluster", "--count", "1")
    wait_until(lambda: sum(name.startswith("plain") for name in names_in(cluster.spool, "done")) == 4)
    assert sorted(names_in(cluster.spool, "pending"))[0].startswith("gpu0,")
    cluster.start_node("w3", "--resource", "GPU=1")
    wait_until(lambda: sum(name.startswith("gpu") for name in names_in(cluster.spool, "done")) == 3)
    for number in range(3):
        history = json.loads(Path(cluster.spool.path("done", f"gpu{number}.json")).read_text())["history"]
        assert [event["node"] for event in history if event["event"] == "started"] == ["w3"]
    (left,) = names_in(cluster.spool, "pending")
    assert left.startswith("huge,") and left.endswith(",needs=GPU-9.json")
    pool.terminate()
    assert pool.wait(60) == 0


@pytest.mark.slow
def test_nodes_may_be_kept_for_jobs_with_resources(cluster: Cluster) -> None:
    """`cluster.take = "resources"`: a drop whose name does not say what it needs is found all the same, others wait."""
    with open(cluster.spool.settings_path, "a", encoding="utf-8") as file:
        file.write('take = "resources"\n')
    cluster.start_node("w3", "--resource", "GPU=1")
    cluster.add("plain", "true")
    drop = Path(cluster.spool.path("pending", "drop.json"))
    drop.write_text(json.dumps({"command": "echo $QUEUECTL_NODE", "resources": {"GPU": 1}}))
    pool = cluster.start_pool("--cluster", "--drain")
    assert pool.wait(60) == 0
    assert names_in(cluster.spool, "done") == ["drop.json"]
    assert Path(cluster.spool.log_path("drop", 1)).read_text() == "w3\n"
    assert cluster.events("plain") == ["enqueued"]


@pytest.mark.slow
@pytest.mark.skipif(getattr(os, "geteuid", int)() != 0 or os.name == "nt", reason="only root can mount a small disk")
def test_a_node_without_space_gets_no_commands(cluster: Cluster) -> None:
    """P9: A full scratch folder costs no attempt: other nodes run the jobs, and the views name the node."""
    small = cluster.nodes / "w3"
    small.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k,mode=0700", "tmpfs", small], check=True)
    try:
        cluster.start_node("w3")
        with contextlib.suppress(OSError), open(small / "fill", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        for number in range(12):
            cluster.add(f"job{number}", "echo $QUEUECTL_NODE; sleep 0.2")
        cluster.start_pool()
        wait_until(lambda: len([name for name in names_in(cluster.spool, "done") if name.startswith("job")]) == 12)
        for number in range(12):
            events = cluster.events(f"job{number}")
            assert "failed" not in events
            log = Path(cluster.spool.log_path(f"job{number}", events.count("started")))
            assert log.read_text() in ("w1\n", "w2\n")
        argv = [sys.executable, "-m", "queuectl", "--spool", cluster.spool.root, "status"]
        text = "gets no commands: it cannot start commands: 0 bytes are free in"

        def is_named() -> bool:
            return text in subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout

        wait_until(is_named)
    finally:
        cluster.keepers.pop("w3").__exit__(None, None, None)
        subprocess.run(["umount", "-l", small], check=True)


def _node_of(cluster: Cluster, job_id: str) -> str:
    history = json.loads(Path(cluster.spool.path("running", f"{job_id}.json")).read_text())["history"]
    return str(history[-1]["node"])


@pytest.mark.slow
def test_a_stopped_keeper_is_given_up_at_its_bound(cluster: Cluster, tmp_path: Path) -> None:
    """P3: Only after its lease and the margin does another node get the job; the first copy is dead by then."""
    mark = tmp_path / "mark"
    cluster.start_pool()
    cluster.guarded("job1", _first_lasts(8), mark)  # which is over before the bound: nobody is there to end it
    wait_until(lambda: cluster.runs(mark) == ["1"])
    node = _node_of(cluster, "job1")
    pid = client.keeper_pid(str(cluster.nodes / node))
    os.kill(pid, signal.SIGSTOP)
    stopped_s = time.monotonic()
    wait_until(lambda: "abandoned" in cluster.events("job1") or cluster.is_in("job1", "done"), 90)
    took_s = time.monotonic() - stopped_s
    os.kill(pid, signal.SIGCONT)
    assert took_s > 12.0, "given up before its bound"
    wait_until(lambda: cluster.is_in("job1", "done"), 90)


@pytest.mark.slow
def test_another_pool_rescues_by_the_stamp(cluster: Cluster, tmp_path: Path) -> None:
    """P3, P5: A local pool waits until the stamp has run out; the node has ended the command by then."""
    mark = tmp_path / "mark"
    pool = cluster.start_pool()
    cluster.guarded("job1", "sleep 100", mark)
    wait_until(lambda: cluster.runs(mark) == ["1"])
    worker = cluster.worker(pool)
    pool.kill()
    os.kill(worker, signal.SIGKILL)
    killed_s = time.monotonic()
    cluster.start_pool("--count", "1")
    wait_until(lambda: cluster.runs(mark) == ["1", "2"], 90)
    assert time.monotonic() - killed_s > 9.0
    assert cluster.events("job1")[:4] == ["enqueued", "started", "abandoned", "started"]


@pytest.mark.slow
def test_a_storm_of_kills_overlaps_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """P3, P4: Keepers and the worker are killed again and again: every job is done, and none ran beside itself."""
    pool = cluster.start_pool()
    jobs = [f"job{number}" for number in range(20)]
    for job in jobs:
        cluster.guarded(job, "sleep 0.5", tmp_path / job, max_retries=30)
    for turn in range(8):
        time.sleep(0.7)  # the pace of the faults, not a wait for something
        if turn % 2:
            os.kill(cluster.worker(pool), signal.SIGKILL)
        else:
            node = ("w1", "w2")[turn // 2 % 2]
            with contextlib.suppress(OSError):
                os.kill(client.keeper_pid(str(cluster.nodes / node)), signal.SIGKILL)
            cluster.keepers[node].__exit__(None, None, None)
            cluster.start_node(node)
    wait_until(lambda: all(cluster.is_in(job, "done") for job in jobs), 110)
