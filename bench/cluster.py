"""G: a pool whose commands run on nodes, beside a local pool and plain dask tasks, all on this machine.

CPU is counted by process: what each part of a cluster takes for a job. Everything speaks TLS on loopback.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench import latency, machine, spools, table
from queuectl.cluster import client, keys, launch
from queuectl.spool.folder import SpoolDir
from queuectl.system import processes

_WITHIN_S = 120.0
# One dask task a job, as a user of dask would write it.
_PLAIN = """
import subprocess, sys
from distributed import Client, Security
address, keys, how, count = sys.argv[1:4] + [int(sys.argv[4])]
security = Security(require_encryption=True, tls_ca_file=keys + "/ca.pem", tls_client_cert=keys + "/spool.pem")
client = Client(address, security=security)
client.wait_for_workers(1)
run = lambda number: subprocess.run(["true"]).returncode
print("ready", flush=True)
sys.stdin.readline()
if how == "map":
    futures = client.map(run, range(count), pure=False, batch_size=64)
else:
    futures = [client.submit(run, number, pure=False) for number in range(count)]
assert not any(client.gather(futures))
print("done", flush=True)
sys.stdin.readline()
"""
ROLES = ("pool", "bridge", "scheduler", "dask worker", "keeper")
"""Whose CPU is counted; what is left are the commands themselves."""


class Cost(NamedTuple):
    """CPU of each role, in ms a job, that of the commands, and the jobs a second."""

    by_role: dict[str, float]
    commands: float
    rate: float


def _wait(is_true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not is_true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} took longer than {_WITHIN_S:g} s")
        time.sleep(0.02)


class Cluster:
    """A scheduler and nodes on loopback, in a folder of their own."""

    def __init__(self, folder: str, *, nodes: int, slots: int, preload: bool = True) -> None:
        self.folder = os.path.join(folder, "cluster")
        os.mkdir(self.folder)
        self.keys = os.path.join(self.folder, "keys")
        keys.make(self.keys)
        self._env = machine.environment() | launch.environment()
        self.scheduler = machine.Process(launch.scheduler("127.0.0.1", 0, self.keys), cwd=self.folder, env=self._env)
        self.started = [self.scheduler]
        log = Path(self.folder, "stderr.txt")
        found: list[str] = []
        _wait(
            lambda: found.extend(re.findall(r"Scheduler at: +(tls://\S+)", log.read_text())) or found, "the scheduler"
        )
        self.address = found[0]
        self.names = [f"w{number}" for number in range(nodes)]
        for name in self.names:
            self.started.append(
                machine.Process(self._node(name, slots, preload=preload), cwd=self.folder, env=self._env)
            )
        if preload:
            _wait(lambda: all(self._keeper(name) for name in self.names), "a node")

    def _node(self, name: str, slots: int, *, preload: bool) -> list[str]:
        scratch = os.path.join(self.folder, name)
        if preload:
            words = ["cluster", "node", self.address, "--keys", self.keys, "--name", name, "--slots", str(slots)]
            return [sys.executable, "-m", "queuectl", *words, "--scratch", scratch]
        argv = launch.worker(launch.NodeOptions(self.address, self.keys, name, scratch))
        argv[argv.index("--nthreads") + 1] = str(slots)
        return argv[: argv.index("--preload")]

    def _keeper(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return client.keeper_pid(os.path.join(self.folder, name))
        return 0

    def pids(self) -> dict[str, list[int]]:
        """The processes of the cluster, by role. Those of `queuectl cluster node` only wait."""
        workers = [pid for each in self.started[1:] for pid in (machine.children(each.pid) or [each.pid])]
        keepers = [pid for name in self.names if (pid := self._keeper(name))]
        return {"scheduler": [self.scheduler.pid], "dask worker": workers, "keeper": keepers}

    def close(self) -> None:
        """End everything."""
        for each in reversed(self.started):
            each.stop()


def _pool_pids(pid: int) -> dict[str, list[int]]:
    workers = machine.workers_of(pid)
    bridges = [each for worker in workers for each in machine.children(worker) if _is_bridge(each)]
    return {"pool": [pid, *workers], "bridge": bridges}


def _is_bridge(pid: int) -> bool:
    return "queuectl.cluster.bridge" in machine.command_line(pid)


def _children_s(pids: list[int]) -> float:
    """The CPU of the commands that these processes have reaped."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[13]) + int(fields[14])
    return total / os.sysconf("SC_CLK_TCK")


def _measure(roles: dict[str, list[int]], parents: list[int], count: int, work: Callable[[], None]) -> Cost:
    """Measure the CPU that each role takes while `work` runs `count` jobs. `parents` reap the commands."""
    before = {role: sum(map(machine.cpu_s, pids)) for role, pids in roles.items()}
    commands_s, began_s = _children_s(parents), time.perf_counter()
    work()
    took_s = time.perf_counter() - began_s
    by_role = {role: (sum(map(machine.cpu_s, pids)) - before[role]) * 1e3 / count for role, pids in roles.items()}
    return Cost(by_role, (_children_s(parents) - commands_s) * 1e3 / count, count / took_s)


def _run_all(spool: SpoolDir, count: int) -> None:
    before = len(os.listdir(spool.folder("done")))
    spools.fill(spool, count, ["true"])
    _wait(lambda: len(os.listdir(spool.folder("done"))) >= before + count, f"{count} jobs")


@contextlib.contextmanager
def _led(folder: str, cluster: Cluster, slots: int) -> Iterator[tuple[SpoolDir, machine.Process]]:
    """A spool with a pool that runs jobs on the cluster, warm."""
    spool = spools.make(folder)
    with open(spool.settings_path, "a", encoding="utf-8") as file:
        file.write(f'\n[cluster]\nscheduler = "{cluster.address}"\nkeys = "{cluster.keys}"\n')
    process = machine.Process(
        spools.queuectl(spool, "worker", "start", "--cluster", "--slots", str(slots), "--grace", "0s"), cwd=folder
    )
    try:
        _run_all(spool, 50)
        yield spool, process
    finally:
        process.stop()


def _cluster_cost(parent: str, jobs: int, slots: int) -> Cost:
    with spools.folder(parent) as folder:
        cluster = Cluster(folder, nodes=1, slots=slots)
        try:
            with _led(folder, cluster, slots) as (spool, process):
                roles = {**_pool_pids(process.pid), **cluster.pids()}
                return _measure(roles, roles["keeper"], jobs, lambda: _run_all(spool, jobs))
        finally:
            cluster.close()


def _local_cost(parent: str, jobs: int) -> Cost:
    with spools.folder(parent) as folder:
        spool = spools.make(folder)
        process = machine.Process(spools.pool(spool, 2), cwd=folder)
        try:
            _run_all(spool, 50)
            roles = _pool_pids(process.pid)
            return _measure(roles, roles["pool"][1:], jobs, lambda: _run_all(spool, jobs))
        finally:
            process.stop()


def _plain_cost(parent: str, jobs: int, slots: int, how: str) -> Cost:
    with spools.folder(parent) as folder:
        cluster = Cluster(folder, nodes=1, slots=slots, preload=False)
        try:
            read, write = os.pipe()
            with contextlib.ExitStack() as stack:
                said = stack.enter_context(open(read, encoding="ascii"))
                Path(folder, "stdin").touch()
                os.mkfifo(os.path.join(folder, "orders"))
                argv = [sys.executable, "-c", _PLAIN, cluster.address, cluster.keys, how, str(jobs)]
                # The write end of a FIFO must be there first, for its reader not to wait.
                orders = os.open(os.path.join(folder, "orders"), os.O_RDWR)
                stack.callback(os.close, orders)
                user = machine.Process(
                    argv, cwd=folder, stdin=os.path.join(folder, "orders"), stdout=write, env=machine.environment()
                )
                os.close(write)
                try:
                    assert said.readline() == "ready\n"
                    roles = {"pool": [user.pid], **cluster.pids()}

                    def work() -> None:
                        os.write(orders, b"\n")
                        assert said.readline() == "done\n"

                    found = _measure(roles, roles["dask worker"], jobs, work)
                    os.write(orders, b"\n")
                finally:
                    user.stop()
                return found
        finally:
            cluster.close()


def measure(parent: str, *, jobs: int, repetitions: int, slots: int, idle: int, in_flight: int) -> None:
    """Measure and print."""
    if not machine.HAS_PROC or importlib.util.find_spec("distributed") is None:
        print("G is left out: it needs /proc, and the extra dask")
        return
    _costs(parent, jobs=jobs, repetitions=repetitions, slots=slots)
    _latency(parent, count=idle)
    _in_flight(parent, count=in_flight)


def _costs(parent: str, *, jobs: int, repetitions: int, slots: int) -> None:
    busy = machine.Busy()
    ways: dict[str, Callable[[], Cost]] = {
        "local pool, 2 workers": lambda: _local_cost(parent, jobs),
        f"cluster, {slots} in flight": lambda: _cluster_cost(parent, jobs, slots),
        "one dask task a job": lambda: _plain_cost(parent, jobs, slots, "submit"),
        "dask tasks by client.map": lambda: _plain_cost(parent, jobs, slots, "map"),
    }
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            found[name].append(way())
    local = [each.rate for each in found["local pool, 2 workers"]]
    rows = []
    for name, costs in found.items():
        ratios = [cost.rate / of for cost, of in zip(costs, local, strict=True)]
        roles = [table.spread(cost.by_role.get(role) for cost in costs) for role in ROLES]
        sums = table.spread(sum(cost.by_role.values()) for cost in costs)
        rows.append([name, table.spread(ratios), sums, *roles, table.spread(cost.commands for cost in costs)])
    head = ["CPU, ms a job", "rate / local", "all but commands", *ROLES, "commands"]
    notes = [
        f"{jobs} jobs `true` (a list), {repetitions} repetitions in turns.",
        "Pool: supervisor and workers, or the client of dask.",
        *table.others(busy.others()),
    ]
    table.show("G: what a job on a node costs", head, rows, notes)


def _latency(parent: str, *, count: int) -> None:
    rows = []
    with spools.folder(parent) as folder:
        stamp = latency.Stamp(folder)
        cluster = Cluster(folder, nodes=2, slots=4)
        try:
            with _led(folder, cluster, 8) as (spool, _):
                drop = os.path.join(folder, "drop.json")

                def write(tag: int) -> None:
                    Path(drop).write_text(json.dumps({"command": stamp.words(tag)}))

                def rename(tag: int) -> None:
                    os.rename(drop, spool.path("pending", f"drop-{time.time_ns()}-{tag}.json"))

                time.sleep(1.5)
                rows.append(
                    latency.row("cluster: drop by rename, a list", latency.series(stamp, count, rename, write), count)
                )
        finally:
            cluster.close()
    table.show("G: latency on an idle cluster, ms", ["", "p50", "p95", "max", "jobs"], rows)


def _in_flight(parent: str, *, count: int) -> None:
    """Commands that sleep, all at once: how soon, and what the parts take meanwhile."""
    with spools.folder(parent) as folder:
        cluster = Cluster(folder, nodes=4, slots=-(-count // 4))
        try:
            with _led(folder, cluster, count) as (spool, process):
                roles = {**_pool_pids(process.pid), **cluster.pids()}
                began_s = time.perf_counter()
                spools.fill(spool, count, ["sleep", "300"])
                keepers = roles["keeper"]
                _wait(lambda: sum(len(machine.children(pid)) for pid in keepers) >= count, "the starts")
                all_s = time.perf_counter() - began_s
                time.sleep(3)
                cost = _measure(roles, [], 1, lambda: time.sleep(10))
                rows = []
                for role, pids in roles.items():
                    memory = [found for pid in pids if (found := machine.memory(pid)) is not None]
                    rows.append(
                        [
                            role,
                            str(len(pids)),
                            f"{cost.by_role[role] / 1e4:.1%}",
                            table.number(sum(each.pss for each in memory)),
                            table.spread(each.rss for each in memory),
                        ]
                    )
                for pid in keepers:  # the commands end with them, at once
                    if (found := processes.find(pid)) is not None:
                        processes.send(found, 9)
        finally:
            cluster.close()
    head = ["", "processes", "of a core, asleep", "proportional MB in all", "resident MB each"]
    notes = [f"All {count} commands ran {all_s:.1f} s after their drop, on 4 nodes; then they sleep, over 10 s."]
    table.show(f"G: {count} commands in flight", head, rows, notes)
