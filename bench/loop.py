"""The floor of A: worker processes that make the same system calls for a job as a pool's worker, and no more.

Each process has its share of the names from the start. For a job it looks for PAUSED, locks the stripe, moves the file
to running/, reads it, writes `started`, starts the command, which inherits the slot's lease, waits for it with the
other slots, writes the outcome and moves the file to done/. Nothing is checked, reported, retried, timed or shown: what
this costs is what Python and the system cost. Run as a program: `python bench/loop.py SPOOL SLOTS PROCESSES`.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import sys
import time
import zlib

_RENAME_NOREPLACE = 1
_HERE = -100
_CLOSING = b"\n ]\n}\n"
_STRIPES = 64
_PAUSED_WITHIN_S = 0.005


class _Slot:
    """A lease, an output file and a desk."""

    def __init__(self, spool: str, name: str) -> None:
        self.lease = os.open(f"{spool}/.queuectl/leases/{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lease, fcntl.LOCK_EX)
        self.output = os.open(f"{spool}/.queuectl/tmp/{name}", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self.desk = os.open(f"{spool}/.queuectl/desk", os.O_RDONLY | os.O_CLOEXEC)
        self.name = ""
        self.size = 0
        self.started_s = 0.0


class _Worker:
    """One process of the loop."""

    def __init__(self, spool: str, slots: int, number: int) -> None:
        self._spool = spool
        self._libc = ctypes.CDLL(None)
        self._name = f"floor-{number}"
        self._free = [_Slot(spool, f"{self._name}.{each}") for each in range(slots)]
        self._stripes = [
            os.open(f"{spool}/.queuectl/locks/{each:02d}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            for each in range(_STRIPES)
        ]
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._home = os.open(".", os.O_PATH | os.O_CLOEXEC)
        self._cwd = os.getcwd()
        self._resets = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
        self._wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._running: dict[int, _Slot] = {}
        self._looked_s = 0.0

    def work(self, names: list[str]) -> None:
        """Run the jobs with these names."""
        waits = select.poll()
        waits.register(self._wake, select.POLLIN)
        names.reverse()
        while names or self._running:
            while names and self._free:
                self._start(names.pop())
            waits.poll()
            os.read(self._wake, 512)
            while self._running:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                self._settle(self._running.pop(pid))

    def _start(self, name: str) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s > _PAUSED_WITHIN_S:
            os.path.lexists(f"{self._spool}/PAUSED")
            self._looked_s = now_s
        slot = self._free.pop()
        stripe = self._stripes[zlib.crc32(name.encode()) % _STRIPES]
        fcntl.flock(stripe, fcntl.LOCK_EX)
        path = f"{self._spool}/running/{name}"
        self._move(f"{self._spool}/pending/{name}", path)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        size = os.fstat(fd).st_size
        data = os.read(fd, size + 1)
        command = json.loads(data)["command"]
        os.fstat(fd)
        slot.size = self._write(fd, size, "started", f'"worker": "{self._name}"')
        os.close(fd)
        fcntl.flock(stripe, fcntl.LOCK_UN)
        os.chdir(self._cwd)
        words = ["sh", "-c", command] if isinstance(command, str) else command
        actions = [
            (os.POSIX_SPAWN_DUP2, self._null, 0),
            (os.POSIX_SPAWN_DUP2, slot.output, 1),
            (os.POSIX_SPAWN_DUP2, slot.output, 2),
            (os.POSIX_SPAWN_DUP2, slot.lease, slot.lease),
        ]
        pid = os.posix_spawnp(
            words[0], words, os.environ, file_actions=actions, setpgroup=0, setsigmask=(), setsigdef=self._resets
        )
        os.fchdir(self._home)
        slot.name, slot.started_s = name, now_s
        self._running[pid] = slot

    def _settle(self, slot: _Slot) -> None:
        os.fstat(slot.output)
        os.fstat(slot.desk)
        path = f"{self._spool}/running/{slot.name}"
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        os.fstat(fd)
        self._write(fd, slot.size, "succeeded", f'"duration_s": {time.monotonic() - slot.started_s:.3f}')
        os.close(fd)
        self._move(path, f"{self._spool}/done/{slot.name}")
        self._free.append(slot)

    def _write(self, fd: int, size: int, event: str, facts: str) -> int:
        now_at = time.time()
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now_at))}.{int(now_at % 1 * 1000):03d}Z"
        data = f',\n  {{"at": "{at}", "event": "{event}", "attempt": 1, {facts}}}'.encode() + _CLOSING
        os.pwrite(fd, data, size - len(_CLOSING))
        return size - len(_CLOSING) + len(data)

    def _move(self, source: str, target: str) -> None:
        self._libc.renameat2(_HERE, os.fsencode(source), _HERE, os.fsencode(target), _RENAME_NOREPLACE)


def main(spool: str, slots: int, processes: int) -> None:
    """Share the waiting jobs out to processes and wait for them."""
    names = sorted(name for name in os.listdir(f"{spool}/pending") if name.endswith(".json"))
    each, more = divmod(slots, processes)
    pids = []
    for number in range(processes):
        if pid := os.fork():
            pids.append(pid)
        else:
            _Worker(spool, each + (number < more), number).work(names[number::processes])
            os._exit(0)
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
