"""Nodes on a real scheduler: the keeper, its dask worker, and the process that keeps both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from queuectl.cluster import client, dask_carrier, protocol, wire
from queuectl.cluster.carrier import ANSWERED
from queuectl.cluster.dask_carrier import DaskCarrier
from queuectl.cluster.protocol import Beat, BeatRequest, Hello, HelloRequest, Look, LookRequest, RunSpec, StartRequest
from queuectl.model import settings
from queuectl.spool import create, settings_file
from queuectl.spool.folder import SpoolDir
from queuectl.system import processes
from tests.cluster.rig import PYTHON, Rig, ask, take_until, until

pytestmark = pytest.mark.cluster
SESSION = "head-1-abcd-c1"
# Nothing ends a command by silence, however long a busy machine needs for the next dask worker.
LEASE_S = 600.0


@pytest.fixture
def carrier(rig: Rig) -> Iterator[DaskCarrier]:
    """A carrier to a scheduler with one node."""
    rig.scheduler()
    rig.node("w1", "--slots", "3", "--resource", "GPU=2")
    config = settings.defaults()._replace(cluster_scheduler=rig.address, cluster_keys=rig.keys)
    made = dask_carrier.connect(config)
    take_until(made, lambda: "w1" in made.nodes())
    yield made
    made.close()
    end_keepers(rig)


def end_keepers(rig: Rig) -> None:
    """Kill the keepers of a rig, which outlive what started them, and their commands."""
    rig.close()
    for folder in rig.folder.iterdir():
        with contextlib.suppress(OSError):
            found = processes.find(client.keeper_pid(str(folder)))
            if found:
                processes.send(found, signal.SIGKILL)


def say(carrier: DaskCarrier, op: str, message: tuple[object, ...]) -> object:
    """Ask the node's keeper until it answers (its dask worker may just be starting)."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        take_until(carrier, lambda: "w1" in carrier.nodes())
        arrival = ask(carrier, "w1", op, wire.encode(message))
        if arrival.kind == ANSWERED:
            return wire.decode(protocol.ANSWERS[op], arrival.text)
    raise AssertionError(arrival)


class Lease:
    """A pool's part, as short as it can be: one session, beaten by hand."""

    def __init__(self, carrier: DaskCarrier) -> None:
        self.carrier = carrier
        hello = say(carrier, protocol.HELLO, HelloRequest("spoolx", SESSION))
        assert isinstance(hello, Hello)
        self.hello = hello
        self.last = Beat(0, "", 0, [], [], [], [], 0)
        self.beat()
        self.beat()

    def beat(self) -> Beat:
        """Prolong the lease."""
        last = self.last
        request = BeatRequest(SESSION, self.hello.member, "spoolx", LEASE_S, last.token, last.grant)
        answer = say(self.carrier, protocol.BEAT, request)
        assert isinstance(answer, Beat)
        self.last = answer
        return answer

    def start(self, run: str, command: list[str]) -> None:
        """Start a run."""
        spec = RunSpec(run, command)
        request = StartRequest(SESSION, self.hello.member, self.last.grant, self.last.token, [spec])
        assert say(self.carrier, protocol.START, request).refused == []  # type: ignore[attr-defined]


def test_a_node_says_what_it_is(carrier: DaskCarrier, rig: Rig) -> None:
    """Slots and resources are those of the command line; the scratch folder is private."""
    look = say(carrier, protocol.LOOK, LookRequest())
    assert isinstance(look, Look)
    assert (look.slots, look.free, look.resources) == (3, 3, {"GPU": 2.0})
    assert os.stat(rig.folder / "w1").st_mode & 0o77 == 0


def test_a_command_goes_on_while_its_dask_worker_is_killed(carrier: DaskCarrier, rig: Rig) -> None:
    """P3: kill -9 of the dask worker; the next one finds the keeper, and the outcome comes."""
    lease = Lease(carrier)
    go = rig.folder / "go"
    lease.start("spoolx.a.1", ["sh", "-c", f"until [ -e {go} ]; do sleep 0.1; done; exit 7"])
    address = carrier.nodes()["w1"].address
    kill_dask_worker(rig)
    take_until(carrier, lambda: carrier.nodes() and carrier.nodes()["w1"].address != address)
    assert lease.beat().live == ["spoolx.a.1"]
    go.touch()
    until(lambda: lease.beat().ended)
    assert [(end.run, end.exit_code) for end in lease.last.ended] == [("spoolx.a.1", 7)]


def kill_dask_worker(rig: Rig) -> None:
    """Kill -9 the dask worker of the node."""
    (worker,) = [each for each in processes.children(rig.started[-1].pid) if not each.has_ended]
    assert processes.send(worker, signal.SIGKILL)


@pytest.mark.slow
def test_a_command_goes_on_while_the_node_process_is_killed(carrier: DaskCarrier, rig: Rig) -> None:
    """P3: kill -9 of `queuectl cluster node`: its dask worker ends, and the next one finds keeper and command."""
    lease = Lease(carrier)
    lease.start("spoolx.a.1", ["sleep", "600"])
    rig.started[-1].kill()
    take_until(carrier, lambda: not carrier.nodes())
    rig.node("w1", "--slots", "3")
    assert lease.beat().live == ["spoolx.a.1"]


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_a_keeper_that_dies_or_hangs_is_replaced_by_the_next_member(
    carrier: DaskCarrier, rig: Rig, number: signal.Signals
) -> None:
    """P3, P5: kill -9 or SIGSTOP of the keeper: the next one ends its commands and says that it is dead."""
    lease = Lease(carrier)
    pid_file = rig.folder / "pid"
    lease.start("spoolx.a.1", ["sh", "-c", f"exec 9>>{pid_file}; echo $$ > {pid_file}; exec sleep 600"])
    until(lambda: pid_file.exists() and pid_file.read_text())
    keeper = processes.find(client.keeper_pid(str(rig.folder / "w1")))
    assert keeper is not None
    processes.send(keeper, number)

    def has_next() -> bool:
        look = say(carrier, protocol.LOOK, LookRequest())
        assert isinstance(look, Look)
        return look.member != lease.hello.member

    until(has_next)
    assert lease.hello.member in Lease(carrier).hello.dead
    assert processes.holders(str(pid_file)) == []


@pytest.mark.slow
def test_a_node_that_is_stopped_ends_its_commands(carrier: DaskCarrier, rig: Rig) -> None:
    """SIGTERM: commands, dask worker and keeper are gone when the process is, and the outcome stays for the pool."""
    lease = Lease(carrier)
    lease.start("spoolx.a.1", ["sleep", "600"])
    node = rig.started[-1]
    node.terminate()
    assert node.wait(90) == 0, rig.text("w1.log")
    with pytest.raises(OSError):
        client.keeper_pid(str(rig.folder / "w1"))
    rig.node("w1", "--slots", "3")
    take_until(carrier, lambda: not carrier.nodes())
    (end,) = Lease(carrier).hello.untold
    assert (end.run, end.kind) == ("spoolx.a.1", protocol.LAPSE)


@pytest.mark.slow
def test_retired_workers_come_back(carrier: DaskCarrier, rig: Rig) -> None:
    """dask's own `retire_workers`, as adaptive scaling does it, ends the carrier and no command."""
    lease = Lease(carrier)
    lease.start("spoolx.a.1", ["sleep", "600"])
    address = carrier.nodes()["w1"].address
    code = (
        "from distributed import Client, Security\n"
        f"s = Security(require_encryption=True, tls_ca_file={rig.keys + '/ca.pem'!r},"
        f" tls_client_cert={rig.keys + '/spool.pem'!r})\n"
        f"Client({rig.address!r}, security=s).retire_workers()\n"
    )
    subprocess.run([PYTHON, "-c", code], timeout=60, check=True)
    take_until(carrier, lambda: carrier.nodes() and carrier.nodes()["w1"].address != address)
    assert lease.beat().live == ["spoolx.a.1"]


def test_nodes_are_listed_and_drained(carrier: DaskCarrier, rig: Rig) -> None:
    """`queuectl cluster list | drain | resume`, with the settings of the spool."""
    spool = str(rig.folder / "spool")

    def queuectl(*words: str) -> str:
        argv = [PYTHON, "-m", "queuectl", "--spool", spool, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=rig.environment, check=False)
        assert done.returncode == 0, done
        return done.stdout

    create.create(SpoolDir(spool))
    settings_file.write(SpoolDir(spool), f'[cluster]\nscheduler = "{rig.address}"\nkeys = "{rig.keys}"\n')
    (row,) = json.loads(queuectl("cluster", "list", "--json"))["nodes"]
    assert (row["node"], row["slots"], row["is_draining"], row["error"]) == ("w1", 3, False, "")
    queuectl("cluster", "drain", "w1")
    assert "draining" in queuectl("cluster", "list")
    queuectl("cluster", "resume", "w1")
    assert "ready" in queuectl("cluster", "list")
