"""The folder of a node's keeper (FORMAT.md, section 11): what a run leaves on the node, and who lived here before.

One keeper at a time has the folder (`keeper.lock`). The next one knows that its predecessors are dead, ends what is
left of their commands, and finds their outcomes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import stat
import threading
import time
from typing import NamedTuple

from queuectl.cluster import protocol, wire
from queuectl.cluster.protocol import RunEnd
from queuectl.system import disk, files, locks, processes

SOCKET = "keeper.socket"
LOG = "keeper.log"
_MEMBERS_KEPT = 100
_MOST_BYTES = 1024 * 1024
# An outcome that no pool has fetched for so long is deleted.
_KEPT_S = 30 * 86400.0
_KILL_AGAIN_S = 0.02


class Told(NamedTuple):
    """An outcome on disk, and whose it is."""

    session: str
    end: RunEnd


class ScratchError(Exception):
    """The scratch folder cannot be used; the text says why, and what to do."""


class Scratch:
    """The scratch folder. It belongs to this process's user, and nobody else can enter it."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.runs = os.path.join(self.root, "runs")
        self._to_delete: queue.SimpleQueue[str] | None = None

    def prepare(self) -> None:
        """Make the folder, or check the one that is there.

        Raises:
            ScratchError: it belongs to somebody else, or others can enter it.
            OSError: the system call failed.
        """
        before = os.umask(0o077)
        try:
            disk.make_folder(self.runs)
        finally:
            os.umask(before)
        for path in (self.root, self.runs):
            info = os.lstat(path)
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
                raise ScratchError(
                    f"the scratch folder {path} must be a folder of this user that nobody else can enter: "
                    "delete it, chmod 700 it, or give another one with --scratch"
                )

    def lock(self) -> locks.NamedLock | None:
        """Return the lock of this folder, held, or None if a keeper lives."""
        lock = locks.NamedLock(os.path.join(self.root, "keeper.lock"))
        return lock if lock.try_acquire() else None

    # ------------------------------------------------------------------------------------------------- members

    def members(self) -> list[tuple[str, str]]:
        """Return who lived here, oldest first: member and host."""
        rows = (row.split() for row in self._text("members").splitlines())
        return [(row[0], row[1]) for row in rows if len(row) == 2]

    def enter(self, member: str, host: str) -> None:
        """Write down, for certain, that this member lives here."""
        rows = [*self.members()[1 - _MEMBERS_KEPT :], (member, host)]
        self._replace("members", "".join(f"{each} {where}\n" for each, where in rows))
        disk.sync_folder(self.root)

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is to start on this node."""
        return os.path.exists(os.path.join(self.root, "draining"))

    def drain(self, on: bool) -> None:
        """Write down whether something new may start."""
        if on:
            self._replace("draining", "")
        else:
            disk.unlink(os.path.join(self.root, "draining"))

    def _text(self, name: str) -> str:
        try:
            return files.read(os.path.join(self.root, name), _MOST_BYTES).data.decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _replace(self, name: str, text: str) -> None:
        path = os.path.join(self.root, name)
        disk.unlink(f"{path}.new")
        disk.create(f"{path}.new", text.encode(), sync=True)
        disk.replace(f"{path}.new", path)

    # ---------------------------------------------------------------------------------------------------- runs

    def path(self, run: str, ending: str) -> str:
        """Return the path of a run's file: `lock`, `out`, `d` or `end`."""
        return os.path.join(self.runs, f"{run}.{ending}")

    def write_end(self, session: str, end: RunEnd) -> None:
        """Put an outcome on disk. It survives the keeper; a power cut may take it, and ends the commands too."""
        text = wire.encode(end)
        disk.create(self.path(end.run, "end"), json.dumps([session, text]).encode(), sync=False)

    def has_end(self, run: str) -> bool:
        """Return whether an outcome of this run is on disk."""
        return os.path.exists(self.path(run, "end"))

    def forget(self, run: str) -> None:
        """Delete what is left of a run whose outcome is acknowledged, the outcome last."""
        for ending in ("out", "lock", "end"):
            with contextlib.suppress(OSError):
                disk.unlink(self.path(run, ending))

    def untold(self) -> list[Told]:
        """Return the outcomes on disk. One that is not whole is deleted: its run counts as lost."""
        found = []
        for name in os.listdir(self.runs):
            if not name.endswith(".end"):
                continue
            path = os.path.join(self.runs, name)
            try:
                session, text = json.loads(files.read(path, _MOST_BYTES).data)
                end = wire.decode(RunEnd, text)
                protocol.run_parts(end.run)
                if time.time() - os.stat(path).st_mtime > _KEPT_S:
                    raise ValueError("too old")
            except (OSError, ValueError, TypeError):
                self.forget(name.removesuffix(".end"))
                continue
            found.append(Told(str(session), end))
        return found

    def clear(self, run: str) -> None:
        """Delete a run's own folder; in the background if anything is in it, because it may hold very much."""
        path = self.path(run, "d")
        try:
            disk.remove_folder(path)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                return
            if self._to_delete is None:
                self._to_delete = queue.SimpleQueue()
                threading.Thread(target=_delete, args=(self._to_delete,), daemon=True).start()
            self._to_delete.put(path)

    # -------------------------------------------------------------------------------------------------- burial

    def bury(self, within_s: float) -> bool:
        """End what predecessors left: kill who holds the lock of a run, until all are free. Delete lost runs.

        Returns whether all locks are free, which proves that no command of a predecessor lives.
        """
        deadline = time.monotonic() + within_s
        runs = [name.removesuffix(".lock") for name in os.listdir(self.runs) if name.endswith(".lock")]
        while runs := [run for run in runs if kill_holders(self.path(run, "lock"))]:
            if time.monotonic() > deadline:
                return False
            time.sleep(_KILL_AGAIN_S)
        for name in os.listdir(self.runs):
            run, _, ending = name.rpartition(".")
            if ending == "d":
                self.clear(run)
            elif ending == "lock" or (ending == "out" and not os.path.exists(self.path(run, "end"))):
                disk.unlink(os.path.join(self.runs, name))
        return True


def kill_holders(path: str) -> list[int]:
    """Kill the processes that have the lock of a run open; return their pids, [0] if none is seen but it is held.

    Empty proves that nothing of the run lives which has inherited the lock.
    """
    if not locks.is_held(path):
        return []
    holders = processes.holders(path)
    for pid in holders:
        found = processes.find(pid)
        if found is not None:
            with contextlib.suppress(PermissionError):
                processes.send(found, 9)
    return holders or [0]


def _delete(paths: queue.SimpleQueue[str]) -> None:
    while True:
        with contextlib.suppress(OSError):
            disk.remove_tree(paths.get())
