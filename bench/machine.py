"""The machine: what it is, how busy others keep it, and what processes cost (Linux: /proc; elsewhere less is known)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple, Self

import queuectl

PACKAGE_HOME = str(Path(queuectl.__file__).parent.parent)
HAS_PROC = os.path.exists("/proc/self/stat")
_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")
# Orphans of what was run (a helper of multiprocessing, nq's jobs) are waited for this long.
_ORPHANS_S = 0.5


class Ran(NamedTuple):
    """A process that has ended: when it began, how long it took, and the CPU of it and all below it."""

    began_at: float
    wall_s: float
    cpu_s: float
    code: int


class Memory(NamedTuple):
    """Memory of a process in MB: resident, its share of what it shares with others, and the most it ever had."""

    rss: float
    pss: float
    peak: float


def environment() -> dict[str, str]:
    """The environment of everything that is measured: this package, compiled code kept, no terminal tricks."""
    made = {key: value for key, value in os.environ.items() if key not in ("PYTHONDONTWRITEBYTECODE", "QUEUECTL_SPOOL")}
    paths = [PACKAGE_HOME, *filter(None, [os.environ.get("PYTHONPATH")])]
    return made | {"PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1"}


def adopt_orphans() -> None:
    """Become the parent of what the measured processes leave, so that its CPU is counted too (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_cpu_s() -> float:
    """CPU of all processes that were waited for, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def reap_orphans() -> None:
    """Wait for the orphans that are ending; those that go on are left."""
    deadline = time.monotonic() + _ORPHANS_S
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return


class Process:
    """A process that is measured from its start to its end."""

    def __init__(
        self,
        argv: list[str],
        *,
        cwd: str,
        stdin: str | None = None,
        stdout: int | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self._before_s = children_cpu_s()
        self._log_path = os.path.join(cwd, "stderr.txt")
        with open(stdin or os.devnull, "rb") as source, open(self._log_path, "ab") as log:
            self.began_at = time.time()
            self._began_s = time.perf_counter()
            self._popen = subprocess.Popen(
                argv, cwd=cwd, stdin=source, stdout=subprocess.DEVNULL if stdout is None else stdout, stderr=log,
                env=env or environment(),
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def wait(self, timeout_s: float = 300, *, check: bool = True) -> Ran:
        """Wait for its end. Raises RuntimeError where it failed and `check` is on; ends it after `timeout_s`."""
        guard = threading.Timer(timeout_s, self._popen.kill)
        guard.start()
        try:
            _, status, _ = os.wait4(self.pid, 0)
        finally:
            guard.cancel()
        wall_s = time.perf_counter() - self._began_s
        code = self._popen.returncode = os.waitstatus_to_exitcode(status)
        reap_orphans()
        if check and code != 0:
            text = Path(self._log_path).read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self._popen.args} ended with {code}\n{text}")
        return Ran(self.began_at, wall_s, children_cpu_s() - self._before_s, code)

    def stop(self) -> Ran:
        """Ask it to end, and wait."""
        self._popen.terminate()
        return self.wait(30, check=False)


def run(argv: list[str], *, cwd: str, stdin: str | None = None, env: dict[str, str] | None = None) -> Ran:
    """Run a process to its end."""
    return Process(argv, cwd=cwd, stdin=stdin, env=env).wait()


# ---------------------------------------------------------------------------------------------- living processes


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def command_line(pid: int) -> str:
    """What a process was started with, "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def workers_of(pid: int) -> list[int]:
    """The worker processes of a pool (its helpers left out)."""
    return [
        child for child in children(pid) if "python" in (line := command_line(child)) and "resource_tracker" not in line
    ]


def cpu_s(pid: int) -> float:
    """The CPU time of a living process and its threads, to the nanosecond where the kernel tells."""
    total_ns = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total_ns += int(file.read().split()[0])
    except (OSError, IndexError, ValueError):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / _TICKS
        return 0.0
    return total_ns / 1e9


def memory(pid: int) -> Memory | None:
    """The memory of a living process, None where it is gone or nobody tells."""
    found: dict[str, float] = {}
    try:
        for path in (f"/proc/{pid}/status", f"/proc/{pid}/smaps_rollup"):
            with open(path, encoding="ascii", errors="replace") as file:
                for line in file:
                    key, _, rest = line.partition(":")
                    if key in ("VmRSS", "VmHWM", "Pss"):
                        found[key] = int(rest.split()[0]) / 1000
    except OSError:
        return None
    return Memory(found.get("VmRSS", 0), found.get("Pss", 0), found.get("VmHWM", 0))


class MemoryWatch:
    """Looks at a pool's memory every 50 ms while it runs: the most seen of the supervisor and of a worker."""

    def __init__(self, pid: int) -> None:
        self.supervisor_mb = 0.0
        self.worker_mb = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            if (found := memory(self._pid)) is not None:
                self.supervisor_mb = max(self.supervisor_mb, found.peak)
            for worker in workers_of(self._pid):
                if (found := memory(worker)) is not None:
                    self.worker_mb = max(self.worker_mb, found.peak)

    def __enter__(self) -> Self:
        if HAS_PROC:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()


# ----------------------------------------------------------------------------------------------------- description


class Busy:
    """How much of the machine others used since this object was made."""

    def __init__(self) -> None:
        self._busy_s, self._all_s = self._now()
        self._mine_s = self._own()

    @staticmethod
    def _now() -> tuple[float, float]:
        try:
            with open("/proc/stat", encoding="ascii") as file:
                ticks = list(map(int, file.readline().split()[1:9]))
        except OSError:
            return 0.0, 0.0
        return (sum(ticks) - ticks[3] - ticks[4]) / _TICKS, sum(ticks) / _TICKS

    @staticmethod
    def _own() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime + children_cpu_s()

    def others(self) -> float | None:
        """The share from 0 to 1, or None where it is not known."""
        busy_s, all_s = self._now()
        if all_s <= self._all_s:
            return None
        return max(0.0, busy_s - self._busy_s - (self._own() - self._mine_s)) / (all_s - self._all_s)


def describe(folder: str) -> str:
    """The machine in one line: processor, cores, kernel, file system of `folder`, Python, load."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{_processor()}, {cores} cores, {platform.system()} {platform.release()}, {file_system(folder)}, "
        f"Python {platform.python_version()}{load}"
    )


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def file_system(folder: str) -> str:
    """The kind of file system that a folder is on."""
    best, kind = "", "unknown file system"
    with contextlib.suppress(OSError), open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        for line in file:
            place, name = line.split()[1:3]
            inside = os.path.realpath(folder).startswith(place.rstrip("/") + "/") or place == "/"
            if inside and len(place) >= len(best):
                best, kind = place, name
    return kind
