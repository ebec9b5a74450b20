"""The files that stay in an inbox although their jobs have succeeded (`on_success = "keep"`), by name and version.

A note of each is on disk before the file is back in the inbox, so no crash makes its job run again and again
(FORMAT.md, "Kept files"). The notes are in the spool, where no other user can write: .queuectl/inboxes/OWNER.kept.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Collection

from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import disk, files

FAR = 0
"""The folder of an inbox that is not on a disk of this machine, where inodes may change."""
_MAX_BYTES = 1024**3
# So many outdated lines are left in the file before it is rewritten, beside as many as there are files.
_SPARE_LINES = 200


class Kept:
    """The notes of one inbox, for the one process that polls it. Call `use` before anything else."""

    def __init__(self, session: Session, owner: str) -> None:
        self._spool = session.spool
        self._path = session.spool.inbox_path(owner, "kept")
        self._sync = session.syncs_accepted
        self._here = FAR
        self._folder: int | None = None
        """The folder that the notes are of."""
        self._versions: dict[str, files.FileSig] = {}
        self._lines = -1
        """How many lines the file has; -1: it is not read yet, or must be rewritten."""
        self._is_read = False

    def use(self, folder: int) -> None:
        """Set the folder that the inbox is now: its inode, or FAR. Read the notes if this is the first call.

        Raises:
            OSError: the notes cannot be read. Without them files would be worked on again.
        """
        self._here = folder
        if self._is_read:
            return
        with contextlib.suppress(FileNotFoundError):
            self._folder, self._versions, self._lines = _read(self._path)
        self._is_read = True

    def holds(self, name: str, sig: files.FileSig) -> bool:
        """Return whether this version of a file has been worked on."""
        noted = self._versions.get(name)
        return noted is not None and is_same(noted, sig, folder=self._here)

    def had(self, name: str) -> bool:
        """Return whether any version of a file has been worked on and kept."""
        return name in self._versions

    def keep(self, name: str, sig: files.FileSig) -> None:
        """Note a file that is about to be put back. The note is on disk then. Raises OSError."""
        if self._folder != self._here:
            self._folder, self._versions, self._lines = self._here, {}, -1
        self._versions[name] = sig
        if self._is_worn():
            self._rewrite()
        else:
            self._append([_line(self._here, name, sig)], sync=self._sync)

    def forget_all_but(self, there: set[str], *, unseen: Collection[str] = ()) -> None:
        """Forget files that the inbox no longer holds. In another folder than that of the notes do nothing.

        `unseen` are subfolders that could not be listed ("": none could): nothing is forgotten of files in them, and
        nothing of files in a subfolder in whose place something else is now.
        """
        if self._folder != self._here or not (gone := self._versions.keys() - there):
            return
        hidden = there.union(unseen)
        gone = {name for name in gone if hidden.isdisjoint(_above(name))}
        for name in gone:
            del self._versions[name]
        with contextlib.suppress(OSError):  # a note too many keeps a file back only if it returns unchanged
            if self._is_worn():
                self._rewrite()
            else:
                self._append([_line(self._here, name) for name in sorted(gone)], sync=False)

    def _is_worn(self) -> bool:
        return self._lines < 0 or self._lines > 2 * len(self._versions) + _SPARE_LINES

    def _append(self, lines: list[bytes], *, sync: bool) -> None:
        count, self._lines = self._lines, -1  # whatever goes wrong, the next note rewrites the file
        disk.extend(self._path, b"".join(b"\n" + line for line in lines))  # the end may be torn, so begin a line
        if sync:
            disk.sync_file(self._path)
        self._lines = count + len(lines)

    def _rewrite(self) -> None:
        folder = self._here if self._folder is None else self._folder
        data = b"\n".join(_line(folder, name, sig) for name, sig in self._versions.items())
        disk.make_folder(os.path.dirname(self._path))
        self._spool.replace_file(self._path, data, hint="kept", sync=self._sync, mode=disk.PRIVATE_MODE)
        if self._sync:
            disk.sync_folder(os.path.dirname(self._path))
        self._lines = len(self._versions)


def _above(name: str) -> list[str]:
    """Return the subfolders that a path is in, and ""."""
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(len(parts))]


def versions(spool: SpoolDir, owner: str) -> tuple[int, dict[str, files.FileSig]]:
    """Return the folder and the versions that are noted, for display. Raises OSError."""
    try:
        folder, found, _ = _read(spool.inbox_path(owner, "kept"))
    except FileNotFoundError:
        return FAR, {}
    return folder or FAR, found


def is_same(noted: files.FileSig, sig: files.FileSig, *, folder: int) -> bool:
    """Return whether a file has the version that was noted in a folder."""
    return (noted.size, noted.mtime_ns) == (sig.size, sig.mtime_ns) and (folder == FAR or noted.inode == sig.inode)


def _line(folder: int, name: str, sig: files.FileSig | None = None) -> bytes:
    facts = [] if sig is None else [sig.inode, sig.size, sig.mtime_ns]
    return json.dumps([folder, name, *facts]).encode()


def _read(path: str) -> tuple[int | None, dict[str, files.FileSig], int]:
    """Return the folder that the notes are of, the version of each file, and the number of lines. Raises OSError."""
    content = files.read(path, _MAX_BYTES)
    if content.oversize:
        raise OSError(errno.EFBIG, "is larger than 1 GiB", path)
    folder: int | None = None
    found: dict[str, files.FileSig] = {}
    lines = content.data.split(b"\n")
    for line in lines:
        try:
            there, name, *facts = json.loads(line)
            sig = files.FileSig(*map(int, facts)) if facts else None
            name, there = str(name), int(there)
        except (ValueError, TypeError):
            continue  # torn
        if there != folder:
            folder, found = there, {}
        if sig is None:
            found.pop(name, None)
        else:
            found[name] = sig
    return folder, found, len(lines)
