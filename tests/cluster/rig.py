"""Starts and ends schedulers and dask workers on loopback."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

import queuectl
from queuectl.cluster import keys, launch
from queuectl.cluster.carrier import Arrival, Carrier
from tests.cluster.net import Net

ROOT = str(Path(queuectl.__file__).parents[1])


class Rig:
    """A scheduler, its nodes, and the keys of all, in one folder. With `net`, nodes and pools have cables to pull."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.net: Net | None = None
        self.keys = str(folder / "keys")
        keys.make(self.keys)
        self.environment = {**launch.environment(), "PYTHONPATH": ROOT, "DASK_TEMPORARY_DIRECTORY": str(folder)}
        self.started: list[subprocess.Popen[bytes]] = []
        self._port = 0
        self.address = ""

    def spawn(self, argv: list[str], log: str, *, where: str = "", **variables: str) -> subprocess.Popen[bytes]:
        """Start a program whose output goes to a file of the folder; `where`: in this namespace, if there is a net."""
        if where and self.net is not None:
            argv = [*self.net.within(where), *argv]
        with open(self.folder / log, "ab") as file:
            process = subprocess.Popen(
                argv, stdout=file, stderr=file, env={**self.environment, **variables}, cwd=self.folder
            )
        self.started.append(process)
        return process

    def scheduler(self) -> subprocess.Popen[bytes]:
        """Start the scheduler, again at its old port, and wait until it listens."""
        log = f"scheduler{len(self.started)}.log"
        host = "127.0.0.1" if self.net is None else self.net.host
        process = self.spawn(launch.scheduler(host, self._port, self.keys), log)
        found: list[str] = []

        def listens() -> bool:
            assert process.poll() is None, self.text(log)
            found[:] = re.findall(r"Scheduler at: +(tls://\S+)", self.text(log))
            return bool(found)

        until(listens)
        self.address = found[0]
        self._port = int(self.address.rpartition(":")[2])
        return process

    def worker(self, name: str, *, preload: str = "tests.cluster.echo", nanny: bool = False) -> subprocess.Popen[bytes]:
        """Start a dask worker with this preload, as any launcher of dask's does."""
        options = launch.NodeOptions(self.address, self.keys, name, str(self.folder / name))
        other = {launch.NODE_MODULE: preload} | ({"--no-nanny": "--nanny"} if nanny else {})
        argv = [other.get(word, word) for word in launch.worker(options)]
        scratch = {launch.SCRATCH_VARIABLE: str(self.folder / name / "keeper")}
        return self.spawn(argv, f"{name}.log", where=name, DASK_QUEUECTL__NAME=name, **scratch)

    def node(self, name: str, *options: str, within: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start `queuectl cluster node`; `within`: the words before its command line."""
        words = ["cluster", "node", self.address, "--keys", self.keys, "--name", name, *options]
        argv = [*within, sys.executable, "-m", "queuectl", *words, "--scratch", str(self.folder / name)]
        return self.spawn(argv, f"{name}.log", where=name)

    def text(self, log: str) -> str:
        """Return what a program has printed."""
        return (self.folder / log).read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End everything."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
        for process in self.started:
            process.wait()
        if self.net is not None:
            self.net.close()
            self.net = None


def until(is_true: Callable[[], object], *, within_s: float = 60) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def take_until(carrier: Carrier, is_true: Callable[[], object], *, within_s: float = 60) -> list[Arrival]:
    """Take what arrives until something is true."""
    got: list[Arrival] = []
    deadline = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < deadline, (carrier.lost, carrier.nodes(), got)
        wait([carrier.fileno()], 0.2)
        got += carrier.arrivals()
    return got


def ask(carrier: Carrier, node: str, op: str, body: str = "{}") -> Arrival:
    """Call a node and wait for what the call comes to."""
    number = carrier.call(node, op, body)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for each in carrier.arrivals():
            if each.call == number:
                return each
        wait([carrier.fileno()], 0.2)
    raise AssertionError((carrier.lost, carrier.nodes()))


PYTHON = sys.executable
