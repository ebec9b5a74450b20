"""The processes of this machine: their descendants, the files they hold, and signals that reach no other process.

A pid alone does not identify a process, because the system reuses it. A process is its pid together with its start
time. A signal goes through a handle to the process (Linux) after both were compared. Linux has all of this in /proc,
macOS in `ps` and `lsof`. Windows needs nothing from here: a Job Object holds all processes of a run.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# `ps` and `lsof` may hang on a share that is out of reach.
_TOOL_WITHIN_S = 5.0
# How long execve(2) may take, which waits for a processor or for the disk of the program.
_EXEC_WITHIN_S = 0.5
_PS_FIELDS = "pid=,ppid=,pgid=,state=,lstart="
_PS_TIME = "%a %b %d %H:%M:%S %Y"
_DELETED = " (deleted)"
_PAGE_BYTES = 4096


class Process(NamedTuple):
    """One process.

    `state` is a letter of ps(1): Z has ended, T is stopped. `started` is in the system's own unit (`now`). `session` is
    0 if the system does not provide it.
    """

    pid: int
    parent: int
    group: int
    session: int
    state: str
    started: int
    threads: int = 1

    @property
    def has_ended(self) -> bool:
        """True for a process that only waits to be reaped. (If only its first thread has ended, it lives.)"""
        return self.state in ("Z", "X") and self.threads < 2

    @property
    def key(self) -> tuple[int, int]:
        """Identifies this process, also if another has its pid later."""
        return self.pid, self.started


def find(pid: int) -> Process | None:
    """Return the process with this pid, or None if there is none."""
    if sys.platform != "linux":
        return next(iter(_listed("-p", str(pid))), None)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The program's name is in parentheses and may hold anything, so the last one counts (proc(5)).
            words = file.read().rpartition(b")")[2].split()
        state, parent, group, session = words[:4]
        return Process(pid, int(parent), int(group), int(session), state.decode(), int(words[19]), int(words[17]))
    except (OSError, ValueError, IndexError):
        return None


def children(pid: int) -> list[Process]:
    """Return the children of a process, of all its threads."""
    if sys.platform != "linux" or not _lists_children():
        return [each for each in everything() if each.parent == pid]
    return [child for each in _listed_children(pid) if (child := find(each)) is not None]


def child_pids(pid: int) -> set[int]:
    """Return the pids of the children of a process, at less cost than `children`."""
    if sys.platform != "linux" or not _lists_children():
        return {each.pid for each in children(pid)}
    return set(_listed_children(pid))


def _listed_children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    return found


class OwnChildren:
    """The children of this process, listed often: through a handle that stays open, for a tenth of the cost.

    For a process whose main thread starts all of its children and makes this object. The orphans that a subreaper gets
    are children of its main thread, too. The list is complete: the system takes a child from it when it is reaped, and
    that is up to this process (`child_pids` of another one may miss a child).
    """

    def __init__(self) -> None:
        self._fd = -1
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._fd = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)

    def pids(self) -> set[int]:
        """Return the pids of the children."""
        try:
            found = os.pread(self._fd, _PAGE_BYTES, 0)
        except OSError:
            return child_pids(os.getpid())
        # The system ends a read before the first pid that does not fit into a page.
        return set(map(int, found.split())) if len(found) < _PAGE_BYTES - 32 else child_pids(os.getpid())


@functools.cache
def _lists_children() -> bool:
    """Return whether the kernel was built to list the children of a process."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def below(roots: Iterable[Process]) -> list[Process]:
    """Return these processes and all their descendants."""
    found: dict[int, Process] = {each.pid: each for each in roots}
    todo = list(found)
    while todo:
        for child in children(todo.pop()):
            if child.pid not in found:
                found[child.pid] = child
                todo.append(child.pid)
    return list(found.values())


def everything() -> list[Process]:
    """Return all processes that this one may see."""
    if sys.platform != "linux":
        return list(_listed("-A"))
    return [found for name in os.listdir("/proc") if name.isdigit() and (found := find(int(name))) is not None]


def send(process: Process, number: int) -> bool:
    """Send a signal to this process and to no other; return False if it is gone.

    Raises:
        PermissionError: it runs as somebody else.
    """
    fd = -1
    try:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # an old kernel, or no handle left: then by its number
                fd = os.pidfd_open(process.pid)
        found = find(process.pid)
        if found is None or found.started != process.started:
            return False
        if sys.platform == "linux" and fd >= 0:
            signal.pidfd_send_signal(fd, number)
        else:
            os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    finally:
        if fd >= 0:
            os.close(fd)
    return True


def holds(pid: int, path: str, file: tuple[int, int], *, fd: int | None = None) -> bool:
    """Return whether a process has a file open (as its handle `fd`): its path, and its device and inode. (Linux)

    Names are compared first: a stat could wait for a share that is out of reach.
    """
    name = os.path.basename(path)
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for each in os.listdir(folder) if fd is None else (str(fd),):
            with contextlib.suppress(OSError):
                if os.path.basename(os.readlink(f"{folder}/{each}").removesuffix(_DELETED)) != name:
                    continue
                info = os.stat(f"{folder}/{each}")
                if (info.st_dev, info.st_ino) == file:
                    return True
    return False


def holders(path: str, *, fd: int | None = None) -> list[int]:
    """Return the pids of other processes that have a file open (as their handle `fd`), as far as this one may see.

    Empty on Windows.
    """
    if sys.platform == "win32":
        return []
    try:
        info = os.stat(path)
    except OSError:
        return []
    if sys.platform != "linux":
        which = () if fd is None else ("-a", "-d", str(fd))
        found = [int(word) for word in _output("lsof", "-t", *which, "--", path).split() if word.isdigit()]
    else:
        file = info.st_dev, info.st_ino
        found = [int(name) for name in os.listdir("/proc") if name.isdigit() and holds(int(name), path, file, fd=fd)]
    return [pid for pid in found if pid != os.getpid()]


def lock_holders(path: str) -> list[int]:
    """Return those `holders` of a file whose handle has its lock, which they may have inherited. (Linux)

    Somebody may just read the file.
    """
    return [pid for pid in holders(path) if _locks(pid, os.path.basename(path))]


def _locks(pid: int, name: str) -> bool:
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for each in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.path.basename(os.readlink(f"{folder}/{each}").removesuffix(_DELETED)) == name and (
                    b"\nlock:" in _proc_file(pid, f"fdinfo/{each}")
                ):
                    return True
    return False


def command_line(pid: int) -> str:
    """Return how a process was started, or "" if that is unknown. Whoever started it has chosen the text."""
    if sys.platform != "linux":
        return _output("ps", "-o", "command=", "-p", str(pid)).strip()
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(4096).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def environment(pid: int) -> bytes:
    """Return the variables that a process was started with, each ended by a NUL; empty if unreadable. (Linux)

    During execve(2) a process has neither variables nor arguments, for some microseconds, or longer on a busy machine.
    So a process has no variables only if two looks find none and find arguments.
    """
    confirmed = 0
    deadline = time.monotonic() + _EXEC_WITHIN_S
    while not (variables := _proc_file(pid, "environ")):
        confirmed += bool(_proc_file(pid, "cmdline"))
        if confirmed > 1 or time.monotonic() > deadline or (found := find(pid)) is None or found.has_ended:
            break
        time.sleep(0.001)
    return variables


def _proc_file(pid: int, name: str) -> bytes:
    """Return a file of /proc/PID; empty if it cannot be read."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def now() -> int:
    """Return the current time, in the unit of `Process.started`."""
    if sys.platform != "linux":
        return int(time.time())
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _listed(*which: str) -> Iterator[Process]:
    """Yield processes as `ps` lists them."""
    for row in _output("ps", *which, "-o", _PS_FIELDS).splitlines():
        with contextlib.suppress(ValueError):
            pid, parent, group, state, at = row.split(None, 4)
            started = int(time.mktime(time.strptime(" ".join(at.split()), _PS_TIME)))
            yield Process(int(pid), int(parent), int(group), 0, state[0], started)


def _output(*words: str) -> str:
    """Return what a tool of the system prints, "" if it cannot be run."""
    import subprocess  # takes 10 ms, and Linux never gets here

    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={"PATH": "/bin:/usr/bin:/sbin:/usr/sbin", "LC_ALL": "C"},
            timeout=_TOOL_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
