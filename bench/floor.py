"""The floor of B: two bare processes that make the same system calls for a drop as a pool of one worker, and no more.

The first waits for inotify and passes the name on by a pipe; the second examines the file, moves it, reads it, writes a
record, and starts the command. They keep nothing, check nothing and cannot end a command: what they cost is what Python
and the system cost for this way of starting a job. Run as a program: `python bench/floor.py FOLDER`.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import sys

_IN_MOVED_TO = 0x80
_HEAD_BYTES = 16
_RENAME_NOREPLACE = 1
_HERE = -100
_RECORD = b"\n" * 390
FOLDERS = ("pending", "running", "done", "dlq", "tmp")


def watch(folder: str, to_worker: int) -> None:
    """Pass the names of files that arrive in pending/ on, for ever."""
    libc = ctypes.CDLL(None)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    libc.inotify_add_watch(fd, os.fsencode(os.path.join(folder, "pending")), _IN_MOVED_TO)
    waits = select.poll()
    waits.register(fd, select.POLLIN)
    while True:
        waits.poll()
        data = os.read(fd, 81920)
        while data:
            length = int.from_bytes(data[_HEAD_BYTES - 4 : _HEAD_BYTES], sys.byteorder)
            os.write(to_worker, data[_HEAD_BYTES : _HEAD_BYTES + length].rstrip(b"\0") + b"\n")
            data = data[_HEAD_BYTES + length :]


def work(folder: str, from_watch: int) -> None:
    """Start the command of each file that is named, for ever."""
    libc = ctypes.CDLL(None)
    wake, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waits = select.poll()
    waits.register(from_watch, select.POLLIN)
    waits.register(wake, select.POLLIN)
    lock = os.open(os.path.join(folder, "tmp", "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    null, log = os.open(os.devnull, os.O_RDWR), os.open(os.path.join(folder, "tmp", "out"), os.O_RDWR | os.O_CREAT)
    resets = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
    while True:
        for fd, _ in waits.poll():
            if fd == wake:
                os.read(wake, 512)
                while True:
                    try:
                        if not os.waitpid(-1, os.WNOHANG)[0]:
                            break
                    except ChildProcessError:
                        break
                continue
            for name in os.read(from_watch, 4096).decode().split():
                _start(libc, folder, name, lock=lock, handles=(null, log), resets=resets)


def _start(
    libc: ctypes.CDLL, folder: str, name: str, *, lock: int, handles: tuple[int, int], resets: list[signal.Signals]
) -> None:
    there, here = os.path.join(folder, "pending", name), os.path.join(folder, "running", name)
    os.path.lexists(os.path.join(folder, "PAUSED"))
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    info = os.lstat(there)
    fd = os.open(there, os.O_RDONLY | os.O_NOFOLLOW)
    os.fstat(fd)
    os.read(fd, info.st_size + 1)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(fd)
    libc.renameat2(_HERE, os.fsencode(there), _HERE, os.fsencode(here), _RENAME_NOREPLACE)
    fd = os.open(here, os.O_RDWR | os.O_NOFOLLOW)
    os.fstat(fd)
    command = json.loads(os.read(fd, info.st_size + 1))["command"]
    for other in ("done", "dlq"):
        os.path.lexists(os.path.join(folder, other, name))
    copy = os.open(os.path.join(folder, "tmp", name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(copy, _RECORD)
    os.close(copy)
    os.close(fd)
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    actions = [(os.POSIX_SPAWN_DUP2, handles[0], 0), *((os.POSIX_SPAWN_DUP2, handles[1], to) for to in (1, 2))]
    os.posix_spawnp(words[0], words, os.environ, file_actions=actions, setpgroup=0, setsigmask=(), setsigdef=resets)


def main(folder: str) -> None:
    """Make the folders and run both processes."""
    for each in FOLDERS:
        os.makedirs(os.path.join(folder, each), exist_ok=True)
    from_watch, to_worker = os.pipe()
    if os.fork():
        watch(folder, to_worker)
    else:
        os.close(to_worker)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: ends with its parent
        work(folder, from_watch)


if __name__ == "__main__":
    main(sys.argv[1])
