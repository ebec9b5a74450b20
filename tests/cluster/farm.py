"""A spool, its pool, a scheduler and nodes; and jobs that say when two runs of one job overlap."""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from queuectl.cluster import client
from queuectl.model.lifecycle import STATES
from queuectl.system import processes
from tests.cluster.rig import PYTHON, Rig, until

WITNESS = """
    import fcntl, os, sys, time
    folder, name, run_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
    log = open(os.path.join(folder, name + ".runs"), "a", buffering=1)
    lock = open(os.path.join(folder, name + ".lock"), "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        log.write("OVERLAP\\n")
    attempt = os.environ["QUEUECTL_ATTEMPT"]
    log.write("begin %s %s %.3f\\n" % (attempt, os.environ.get("QUEUECTL_NODE", "here"), time.time()))
    alive = open(os.path.join(folder, "%s.%s.alive" % (name, attempt)), "w")
    end = time.monotonic() + run_s
    while time.monotonic() < end:
        os.utime(alive.fileno())
        time.sleep(0.02)
    log.write("end\\n")
"""


class Farm:
    """Everything that a cluster needs, on loopback. With `beside`, only another spool and its pool on that cluster."""

    def __init__(
        self,
        rig: Rig,
        *nodes: str,
        slots: int = 4,
        lease_s: int = 10,
        pool_slots: int = 100,
        beside: Farm | None = None,
        scheduler: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.rig = rig
        self.slots = slots
        self.pool_slots = pool_slots
        self.folder = rig.folder if beside is None else rig.folder / "beside"
        self.folder.mkdir(exist_ok=True)
        self.spool = self.folder / "spool"
        self.witness = rig.folder / "witness.py"
        self.witness.write_text(textwrap.dedent(WITNESS))
        self.scheduler = scheduler or (rig.scheduler() if beside is None else beside.scheduler)
        self.is_guest = beside is not None
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.pool: subprocess.Popen[bytes] | None = None
        self.queuectl("init", str(self.spool), at=False)
        (self.spool / "queuectl.toml").write_text(
            f'scan_s = 0.5\n[cluster]\nscheduler = "{rig.address}"\nkeys = "{rig.keys}"\nlease = "{lease_s}s"\n'
        )
        for name in nodes:
            self.start_node(name)
        self.start_pool()

    def queuectl(self, *words: str, at: bool = True) -> str:
        """Run a command of queuectl."""
        argv = [PYTHON, "-m", "queuectl", *(["--spool", str(self.spool)] if at else []), *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=90, env=self.rig.environment, check=False)
        assert done.returncode == 0, done
        return done.stdout

    def start_node(self, name: str, within: Sequence[str] = ()) -> None:
        """Start a node, again with its old scratch folder."""
        self.nodes[name] = self.rig.node(name, "--slots", str(self.slots), within=within)

    def start_pool(self, *options: str, within: Sequence[str] = ()) -> None:
        """Start a pool that runs jobs on the nodes, or as the options say."""
        words = [
            "--spool",
            str(self.spool),
            "worker",
            "start",
            *(options or ("--cluster", "--slots", str(self.pool_slots))),
        ]
        self.pool = self.rig.spawn([*within, PYTHON, "-m", "queuectl", *words], "pool.log", where="pool")

    def job(self, name: str, run_s: float) -> None:
        """Drop a witness into pending/."""
        words = [sys.executable, str(self.witness), str(self.folder), name, str(run_s)]
        drop = self.spool / "pending" / f".{name}"
        drop.write_text(json.dumps({"id": name, "command": words, "max_retries": 50}))
        drop.rename(self.spool / "pending" / f"{name}.json")

    def runs(self, name: str) -> list[str]:
        """Return what the runs of a job have written."""
        path = self.folder / f"{name}.runs"
        return path.read_text().splitlines() if path.exists() else []

    def state(self, name: str) -> str:
        """Return the state of a job; "" while it moves."""
        if list((self.spool / "pending").glob(f"{name}[.,]*json")):
            return "pending"
        return next((state for state in STATES if (self.spool / state / f"{name}.json").exists()), "")

    def events(self, name: str) -> list[str]:
        """Return the events of a job that has ended."""
        (path,) = [self.spool / state / f"{name}.json" for state in ("done", "dlq") if self.state(name) == state]
        return [event["event"] for event in json.loads(path.read_text())["history"]]

    def begins(self, name: str) -> list[float]:
        """Return when the runs of a job began (seconds since 1970)."""
        return [float(line.split()[3]) for line in self.runs(name) if line.startswith("begin")]

    def last_sign_s(self, name: str, attempt: int) -> float:
        """Return when a run of a job was seen alive last (seconds since 1970)."""
        return (self.folder / f"{name}.{attempt}.alive").stat().st_mtime

    def wait_until_again(self, name: str, fault: str, began_s: float, within_s: float = 110) -> tuple[float, float]:
        """Wait until a job runs the second time; return, and print, when its first run was cut and when it ran again.

        Both are in seconds after `began_s` (since 1970).
        """
        until(lambda: len(self.begins(name)) == 2, within_s=within_s)
        cut_s, again_s = self.last_sign_s(name, 1) - began_s, self.begins(name)[1] - began_s
        print(f"FIGURE {fault}: cut {cut_s:.1f} s, again {again_s:.1f} s")
        return cut_s, again_s

    def wait_until_back(self, node: str, began_s: float) -> float:
        """Wait until a job can run on a node; return in how many seconds after `began_s`."""
        names: list[str] = []

        def is_back() -> bool:
            names.append(f"probe{time.monotonic_ns()}")
            self.job(names[-1], 1)
            until(lambda: self.begins(names[-1]))
            return self.node_of(names[-1]) == node

        until(is_back, within_s=100)
        return self.begins(names[-1])[0] - began_s

    def node_of(self, name: str) -> str:
        """Return the node on which a job was started last."""
        return next(line.split()[2] for line in reversed(self.runs(name)) if line.startswith("begin"))

    def keeper(self, node: str) -> processes.Process:
        """Return the keeper of a node."""
        found = processes.find(client.keeper_pid(str(self.rig.folder / node)))
        assert found is not None
        return found

    def dask_worker(self, node: str, within_s: float = 60) -> processes.Process:
        """Return the dask worker of a node."""
        found: list[processes.Process] = []

        def is_there() -> bool:
            found[:] = [each for each in processes.children(self.nodes[node].pid) if not each.has_ended]
            return bool(found)

        until(is_there, within_s=within_s)
        return found[0]

    def ask_dask(self, statement: str) -> None:
        """Run a statement of Python that has a `client` of dask's."""
        keys = self.rig.keys
        files = f"tls_ca_file={keys + '/ca.pem'!r}, tls_client_cert={keys + '/spool.pem'!r}"
        code = (
            "from distributed import Client, Security\n"
            f"client = Client({self.rig.address!r}, security=Security(require_encryption=True, {files}))\n"
            f"{statement}\n"
        )
        subprocess.run([PYTHON, "-c", code], timeout=60, check=True, capture_output=True)

    def _of_pool(self, text: str) -> list[processes.Process]:
        """Return the processes below the pool whose command line has this text."""
        assert self.pool is not None
        pool = processes.find(self.pool.pid)
        family = processes.below([pool]) if pool is not None else []
        return [each for each in family if not each.has_ended and text in processes.command_line(each.pid)]

    def bridge(self, within_s: float = 60) -> processes.Process:
        """Return the bridge of the pool's worker."""
        found: list[processes.Process] = []
        until(lambda: found.extend(self._of_pool("queuectl.cluster.bridge")) or found, within_s=within_s)
        return found[0]

    def worker(self, within_s: float = 60) -> processes.Process:
        """Return the pool's worker: the process that started the bridge."""
        found = processes.find(self.bridge(within_s).parent)
        assert found is not None
        return found

    def wait_for(self, name: str, state: str = "done", within_s: float = 110) -> None:
        """Wait until a job is in a state."""
        until(lambda: self.state(name) == state, within_s=within_s)

    def kill_node(self, name: str) -> None:
        """Kill everything of a node at once, as a power cut would."""
        self.nodes[name].send_signal(signal.SIGSTOP)  # so that it starts nothing meanwhile
        looks = 0
        while looks < 3:  # one that was just being started has no command line yet
            found = [each for each in map(processes.find, processes_with(str(self.rig.folder / name))) if each]
            for each in found:
                processes.send(each, signal.SIGKILL)
            self.nodes[name].kill()  # which may have no command line yet
            self.nodes[name].wait()
            looks = 0 if found else looks + 1
            time.sleep(0.02)

    def close(self) -> None:
        """End everything that is left."""
        for name in self.nodes:
            self.kill_node(name)
        if self.pool is not None:
            kill_family(self.pool)
        if not self.is_guest:
            self.rig.close()

    def overlaps(self) -> list[str]:
        """Return the jobs of which two runs overlapped."""
        return [path.stem for path in self.folder.glob("*.runs") if "OVERLAP" in path.read_text()]

    def counts(self) -> collections.Counter[str]:
        """Return how many jobs are in each state."""
        return collections.Counter(
            {state: len([*(self.spool / state).glob("*.json")]) for state in STATES if (self.spool / state).exists()}
        )


def processes_with(text: str) -> list[int]:
    """Return the processes whose command line has this text; not this one."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                words = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in words.split(b"\0") or any(
                word.startswith(text.encode() + b"/") for word in words.split(b"\0")
            ):
                found.append(int(name))
    return found


def kill_family(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all below it."""
    found = processes.find(process.pid)
    family = processes.below([found]) if found is not None else []
    for each in family:
        processes.send(each, signal.SIGKILL)
    process.kill()
    process.wait()
