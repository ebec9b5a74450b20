"""Other queues at the same work, where they are installed: huey (files, SQLite), dirq, nq, tsp.

They promise less or other things (see README.md), so this is a look around and no contest. Each is used as its own
documents say, its results switched off where that can be done.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from typing import ClassVar

from bench import machine

_PATIENCE_S = 120.0

# What a huey consumer imports; the same file is used to put tasks in. The counter tells how many are done.
_HUEY = """
import os, subprocess
from huey import {kind} as Huey
place = dict(filename={place!r}) if {kind!r} == "SqliteHuey" else dict(path={place!r})
huey = Huey("bench", results=False, **place)

@huey.task()
def job(command):
    subprocess.run(["sh", "-c", command])
    fd = os.open({count!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b".")
    os.close(fd)
"""

# dirq is a queue without workers, so here is the least of one.
_DIRQ = """
import os, subprocess, sys, time
from dirq.QueueSimple import QueueSimple
queue = QueueSimple(sys.argv[1])
while True:
    found = False
    for name in queue:
        if queue.lock(name):
            subprocess.run(["sh", "-c", queue.get(name).decode()])
            queue.remove(name)
            fd = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(fd, b".")
            os.close(fd)
            found = True
    if not found:
        time.sleep(0.1)
"""


class Peer:
    """One other queue in a folder of its own. `start`, `submit`, `done`; or `work_off` where that is different."""

    name: ClassVar[str]
    most_jobs: ClassVar[int] = 100_000
    waits: ClassVar[bool] = True
    """It has a worker that waits for jobs, so its latency can be measured."""

    def __init__(self, folder: str, workers: int) -> None:
        self.folder = folder
        self.workers = workers
        self.count_path = os.path.join(folder, "count")
        self.env = machine.environment() | {"TMPDIR": folder, "TS_SOCKET": os.path.join(folder, "socket")}
        self.processes: list[machine.Process] = []

    @classmethod
    def missing(cls) -> str:
        """Why it cannot take part here, or ""."""
        return ""

    def start(self) -> None:
        """Start what waits for jobs."""

    def submit(self, command: str) -> None:
        """Put one job in."""
        raise NotImplementedError

    def fill(self, command: str, jobs: int) -> None:
        """Put many jobs in, before the workers start."""
        for _ in range(jobs):
            self.submit(command)

    def done(self) -> int:
        """How many jobs have ended."""
        try:
            return os.path.getsize(self.count_path)
        except FileNotFoundError:
            return 0

    def stop(self) -> float:
        """End everything; the CPU it took."""
        return sum(process.stop().cpu_s for process in self.processes)

    def spawn(self, argv: list[str]) -> None:
        """Start a process of this peer."""
        self.processes.append(machine.Process(argv, cwd=self.folder, env=self.env))

    def work_off(self, command: str, jobs: int) -> tuple[float, float]:
        """Fill it, work everything off; wall time from the start of the workers, and CPU, in seconds."""
        self.fill(command, jobs)
        before_s = machine.children_cpu_s()
        began_s = time.perf_counter()
        try:
            self.start()
            self._wait(jobs)
            wall_s = time.perf_counter() - began_s
        finally:
            self.stop()
        machine.reap_orphans()
        return wall_s, machine.children_cpu_s() - before_s

    def _wait(self, jobs: int) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while self.done() < jobs:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.done()} of {jobs} jobs after {_PATIENCE_S:g} s")
            time.sleep(0.005)

    def _call(self, *argv: str) -> str:
        return subprocess.run(argv, env=self.env, cwd=self.folder, check=True, capture_output=True, text=True).stdout


class Huey(Peer):
    """huey: a task queue; its consumer with process workers and its default polling."""

    kind = ""

    @classmethod
    def missing(cls) -> str:
        return "" if importlib.util.find_spec("huey") else "pip install huey"

    def __init__(self, folder: str, workers: int) -> None:
        super().__init__(folder, workers)
        place = os.path.join(folder, "queue")
        with open(os.path.join(folder, "bench_huey.py"), "w", encoding="utf-8") as file:
            file.write(_HUEY.format(kind=self.kind, place=place, count=self.count_path))
        spec = importlib.util.spec_from_file_location("bench_huey", os.path.join(folder, "bench_huey.py"))
        assert spec is not None and spec.loader is not None
        self._app = importlib.util.module_from_spec(spec)
        sys.modules["bench_huey"] = self._app
        spec.loader.exec_module(self._app)

    def submit(self, command: str) -> None:
        self._app.job(command)

    def start(self) -> None:
        # Its tasks are named after their module, so the consumer is to find it under the same name.
        self.env["PYTHONPATH"] = f"{self.folder}{os.pathsep}{self.env['PYTHONPATH']}"
        consumer = [sys.executable, "-m", "huey.bin.huey_consumer", "bench_huey.huey"]
        self.spawn([*consumer, "-w", str(self.workers), "-k", "process", "-q"])


class HueyFiles(Huey):
    """huey with its file storage."""

    name = "huey, files"
    kind = "FileHuey"


class HueySqlite(Huey):
    """huey with SQLite."""

    name = "huey, SQLite"
    kind = "SqliteHuey"


class Dirq(Peer):
    """dirq: a queue of files, here with the least of a worker."""

    name = "dirq"

    @classmethod
    def missing(cls) -> str:
        return "" if importlib.util.find_spec("dirq") else "pip install dirq"

    def __init__(self, folder: str, workers: int) -> None:
        super().__init__(folder, workers)
        from dirq.QueueSimple import QueueSimple

        self._place = os.path.join(folder, "queue")
        self._queue = QueueSimple(self._place)

    def submit(self, command: str) -> None:
        self._queue.add(command)

    def start(self) -> None:
        for _ in range(self.workers):
            self.spawn([sys.executable, "-c", _DIRQ, self._place, self.count_path])


class Nq(Peer):
    """nq: one process a waiting job and one folder a line, so several folders stand for several workers."""

    name = "nq"
    most_jobs = 300

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("nq") else "apt install nq"

    def __init__(self, folder: str, workers: int) -> None:
        super().__init__(folder, workers)
        self._next = 0
        self._hold = os.path.join(folder, "hold")
        self._lines = [os.path.join(folder, f"line{number}") for number in range(workers)]

    def _nq(self, line: str, *argv: str) -> None:
        self.env["NQDIR"] = line
        self._call("nq", "-q", *argv)

    def submit(self, command: str) -> None:
        self._next += 1
        self._nq(self._lines[self._next % len(self._lines)], "sh", "-c", command)

    def fill(self, command: str, jobs: int) -> None:
        with open(self._hold, "w", encoding="ascii"):
            pass
        for line in self._lines:
            self._nq(line, "sh", "-c", f"while [ -e {self._hold} ]; do sleep 0.01; done")
        self._jobs = jobs
        super().fill(command, jobs)

    def start(self) -> None:
        if os.path.exists(self._hold):
            os.unlink(self._hold)

    def done(self) -> int:
        for line in self._lines:
            tested = subprocess.run(["nq", "-t"], env=self.env | {"NQDIR": line}, cwd=self.folder, check=False)
            if tested.returncode != 0:
                return 0
        return self._jobs


class Tsp(Peer):
    """task spooler: a server, and a process for each waiting job."""

    name = "tsp"
    most_jobs = 300

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("tsp") else "apt install task-spooler"

    def __init__(self, folder: str, workers: int) -> None:
        super().__init__(folder, workers)
        self._hold = os.path.join(folder, "hold")
        self.env |= {"TS_MAXFINISHED": "5000", "TS_MAXCONN": "4000", "TS_SLOTS": "1"}

    def submit(self, command: str) -> None:
        self._call("tsp", "-n", "sh", "-c", command)

    def fill(self, command: str, jobs: int) -> None:
        with open(self._hold, "w", encoding="ascii"):
            pass
        self._call("tsp", "-n", "sh", "-c", f"while [ -e {self._hold} ]; do sleep 0.01; done")
        super().fill(command, jobs)

    def start(self) -> None:
        self._call("tsp", "-S", str(self.workers))
        if os.path.exists(self._hold):
            os.unlink(self._hold)

    def _wait(self, jobs: int) -> None:
        # A job that needs every slot runs when all the others have ended.
        self._call("tsp", "-n", "-f", "-N", str(self.workers), "true")

    def stop(self) -> float:
        subprocess.run(["tsp", "-K"], env=self.env, cwd=self.folder, check=False, capture_output=True)
        return super().stop()


ADAPTERS: dict[str, type[Peer]] = {kind.name: kind for kind in (HueyFiles, HueySqlite, Dirq, Nq, Tsp)}
