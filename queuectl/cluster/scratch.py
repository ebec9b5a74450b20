"""The folder of a node's keeper (FORMAT.md, section 11): who lives here, and who lived here before.

One keeper at a time has the folder (`keeper.lock`). The next one knows that its predecessors are dead, ends what is
left of their commands (`places`), and finds their outcomes (`ends`).
"""

from __future__ import annotations

import os
import stat

from queuectl.system import disk, files, locks

SOCKET = "keeper.socket"
LOG = "keeper.log"
_MEMBERS_KEPT = 100
_MOST_BYTES = 1024 * 1024


class ScratchError(Exception):
    """The scratch folder cannot be used; the text says why, and what to do."""


class Scratch:
    """The scratch folder. It belongs to this process's user, and nobody else can enter it."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.runs = os.path.join(self.root, "runs")
        self.ends = os.path.join(self.root, "ends")

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

    def free_bytes(self) -> int:
        """Return how many bytes this user can still write in the folder. Raises OSError."""
        info = os.statvfs(self.root)
        return info.f_bavail * info.f_frsize

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
