"""The places in which the commands of a node run: a file for the output, and a folder. Used again, run after run.

To make and delete files is the dearest part of a short run, so `N.out` and `N.d` outlive it. Everything that a run has
started inherits the lock of its `N.out`, so a free lock proves that nothing of the run lives (promise P3). A place is
used again only after that proof, and once the outcome of its run is acknowledged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import stat
import threading
import time

from queuectl.system import disk, files, locks, outputs, processes

_KILL_AGAIN_S = 0.02
# What cannot be deleted is tried again after these pauses, in the thread that deletes.
_DELETE_AGAIN_S = (0.0, 0.1, 1.0, 5.0)
# More places than these are not kept for later runs, and no more outputs that wait for the pool are kept open.
_KEPT = 256


class Place:
    """One place."""

    def __init__(self, runs: str, number: int) -> None:
        self.number = number
        self.path = os.path.join(runs, f"{number}.out")
        self.folder = os.path.join(runs, f"{number}.d")
        self.fd = -1
        """The output; -1: not open."""
        self.is_locked = False
        """True if `fd` has the lock, which a run then inherits."""
        self.mode = 0
        """The mode of the folder; 0: there is none."""
        self.is_spoiled = False
        """True if no other run can have it."""
        self.given = ""
        """The path of a file that its run was given; "": none."""

    def read(self, offset: int, most: int) -> tuple[bytes, int]:
        """Return output from an offset, and the size of all of it. Raises OSError."""
        if self.fd < 0:
            self.fd = outputs.open_file(self.path, keep=True)
        size = os.fstat(self.fd).st_size
        data = os.pread(self.fd, most, offset)
        return data, max(size, offset + len(data) if data else 0)

    @property
    def size(self) -> int:
        """How much was printed (bytes)."""
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        """Close the output, which gives its lock to whatever of the run lives."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd, self.is_locked = -1, False


class Places:
    """The places of a node: `runs` is their folder."""

    def __init__(self, runs: str) -> None:
        self._runs = runs
        self._earlier = os.listdir(runs)
        """What predecessors have left. No number of theirs is used a second time."""
        numbers = [int(number) for name in self._earlier if (number := name.partition(".")[0]).isdecimal()]
        self._next = max(numbers, default=-1) + 1
        self._free: list[Place] = []
        self._resting = 0
        self._to_delete: queue.SimpleQueue[str] | None = None

    def bury(self, within_s: float, kept: set[int]) -> bool:
        """End what predecessors left: kill who holds the lock of an output, until all are free.

        Returns whether all locks are free, which proves that no command of a predecessor lives. Then their files are
        deleted, but the outputs of the places in `kept`.
        """
        deadline = time.monotonic() + within_s
        paths = [os.path.join(self._runs, name) for name in self._earlier if name.endswith(".out")]
        while paths := [path for path in paths if kill_holders(path)]:
            if time.monotonic() > deadline:
                return False
            time.sleep(_KILL_AGAIN_S)
        for name in self._earlier:
            number, _, ending = name.partition(".")
            path = os.path.join(self._runs, name)
            if ending == "d":
                self._delete(path)
            elif ending != "out" or not number.isdecimal() or int(number) not in kept:
                disk.unlink(path)
        self._earlier = []
        return True

    def at(self, number: int) -> Place:
        """Return the place of a predecessor's outcome."""
        return Place(self._runs, number)

    def take(self) -> Place:
        """Return an empty place whose lock is held. Raises OSError."""
        if self._free:
            return self._free.pop()
        place = Place(self._runs, self._next)
        self._next += 1
        place.fd = outputs.open_file(place.path)
        place.is_locked = locks.lock_handle(place.fd)
        if not place.is_locked:
            place.close()
            raise BlockingIOError(errno.EAGAIN, "somebody has locked a new file", place.path)
        return place

    def enter(self, place: Place) -> str:
        """Return the folder of a place, which is empty. Raises OSError."""
        if not place.mode:
            disk.make_folder(place.folder)
            place.mode = os.lstat(place.folder).st_mode
        return place.folder

    def put_parents(self, place: Place, text: str) -> str:
        """Write a file for the run of a place about the parents of its job; return the path. Raises OSError."""
        path = f"{place.path.removesuffix('out')}parents"
        disk.create(path, text.encode(), sync=False)
        place.given = path
        return path

    def open_text(self, place: Place, data: bytes) -> int:
        """Return a handle to read a text, which has no name any more. Raises OSError."""
        path = f"{place.path.removesuffix('out')}stdin"
        disk.create(path, data, sync=False)
        try:
            return files.open_to_read(path)
        finally:
            disk.unlink(path)

    def prove(self, place: Place) -> list[int]:
        """Kill what has the lock of a place besides this process; return their pids, [0] if none is seen.

        Empty proves that nothing lives that has inherited the lock; then this process has it anew.
        """
        # By the handle, not by the name, which the command may have given to another file.
        fresh = outputs.open_again(place.fd)
        os.close(place.fd)
        place.fd = fresh
        place.is_locked = locks.lock_handle(fresh)
        return [] if place.is_locked else _kill(place.path)

    def leave(self, place: Place) -> None:
        """Delete what the run of a place was given, when it has ended, and empty its folder; that in the background,
        because it may hold very much.
        """
        if place.given:
            with contextlib.suppress(OSError):
                disk.unlink(place.given)
            place.given = ""
        if not place.mode:
            return
        try:
            if os.lstat(place.folder).st_mode == place.mode and not os.listdir(place.folder):
                return
        except OSError:
            pass
        place.mode = 0
        gone = os.path.join(self._runs, f"{place.number}-{time.monotonic_ns()}.d")
        try:
            disk.move(place.folder, gone)
        except FileNotFoundError:
            return
        except OSError:
            place.is_spoiled = True
        else:
            self._delete(gone)

    def rest(self, place: Place) -> None:
        """Keep a place until the outcome of its run is acknowledged."""
        self._resting += 1
        if self._resting > _KEPT:
            place.close()

    def give_back(self, place: Place, *, is_proven: bool = True) -> None:
        """Let later runs have a place that was resting, or delete its output."""
        self._resting = max(0, self._resting - 1)
        self.give_up(place, is_proven=is_proven)

    def give_up(self, place: Place, *, is_proven: bool = True) -> None:
        """Do the same for a place that was not resting."""
        if is_proven and place.is_locked and not place.is_spoiled and len(self._free) < _KEPT:
            with contextlib.suppress(OSError):
                info = os.fstat(place.fd)
                if info.st_nlink == 1 and stat.S_IMODE(info.st_mode) == disk.PRIVATE_MODE:
                    if info.st_size:
                        outputs.shorten(place.fd, 0)
                    self._free.append(place)
                    return
        place.close()
        disk.unlink(place.path)
        if place.mode:
            self._delete(place.folder)

    def sync(self) -> None:
        """Put all outputs on disk for certain. Raises OSError."""
        names = [os.path.join(self._runs, name) for name in os.listdir(self._runs) if name.endswith(".out")]
        disk.sync_files(self._runs, names)

    def _delete(self, path: str) -> None:
        if self._to_delete is None:
            self._to_delete = queue.SimpleQueue()
            threading.Thread(target=_delete_all, args=(self._to_delete,), daemon=True).start()
        self._to_delete.put(path)


def kill_holders(path: str) -> list[int]:
    """Kill the processes that have the lock of an output; return their pids, [0] if none is seen but it is held.

    Empty proves that nothing of the run lives which has inherited the lock.
    """
    return _kill(path) if locks.is_held(path) else []


def _kill(path: str) -> list[int]:
    holders = processes.lock_holders(path)
    for pid in holders:
        found = processes.find(pid)
        if found is not None:
            with contextlib.suppress(PermissionError):
                processes.send(found, 9)
    return holders or [0]


def _delete_all(paths: queue.SimpleQueue[str]) -> None:
    while True:
        path = paths.get()
        for pause_s in _DELETE_AGAIN_S:
            time.sleep(pause_s)
            # A process that is just ending may still create files there. What stays goes at the next start.
            try:
                (disk.remove_tree if files.is_folder(path) else disk.unlink)(path)
            except FileNotFoundError:
                pass
            except OSError:
                continue
            except RecursionError:  # folders nested without end: they stay, and the others go on being deleted
                pass
            break
