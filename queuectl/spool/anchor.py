"""Check whether the spool at its path is still the one that a pool started with (promises P3, P9).

A pool keeps handles of its own lock and of the folders of the stripes and leases. If their paths lead to other files,
the pool's locks no longer exclude other processes, so no job may run under them. A spool that is only unreachable (a
share is offline, a folder was moved) may come back, so the pool waits for it.

A check costs three stats.
"""

from __future__ import annotations

import contextlib
import os

from queuectl.spool.folder import SpoolDir
from queuectl.system import files, inodes
from queuectl.system.locks import FileLock, is_held

# Windows has no handles of folders, and deletes no folder in which a file is open.
_KEEPS = os.name != "nt"

IN_PLACE, AWAY, REPLACED, DELETED = "in place", "away", "replaced", "deleted"


class Anchor:
    """The files that tell a pool whether its spool is in place. Make it once the pool has its lock.

    `is_local`: the file system is this machine's own, where a folder keeps its inode. On other file systems check only
    the lock, because the system can say who holds it.
    """

    def __init__(self, spool: SpoolDir, lock: FileLock, *, is_local: bool) -> None:
        self._lock = lock
        self._pool_dir = spool.pool_dir
        folders = (spool.stripe_dir, spool.lease_dir) if _KEEPS and is_local else ()
        self._folders = {path: files.open_folder(path) for path in folders}
        # Some file systems report that no file has a name.
        self._has_names = inodes.names_of(lock.fd) > 0

    def check(self) -> str:
        """Return IN_PLACE, AWAY (it may come back), REPLACED or DELETED."""
        try:
            if not inodes.is_at(self._lock.fd, self._lock.path) and not is_held(self._lock.path):
                return self._gone()
            for path, fd in self._folders.items():
                if not inodes.is_at(fd, path):
                    return REPLACED if os.path.lexists(path) else DELETED
        except OSError:  # a share that fails
            return AWAY
        return IN_PLACE

    def _gone(self) -> str:
        """Return the state of a spool where the pool's lock, whose name no other pool has, is not at its path."""
        if self._has_names and not inodes.names_of(self._lock.fd):
            return REPLACED if os.path.isdir(self._pool_dir) else DELETED
        return REPLACED if os.path.lexists(self._lock.path) or os.path.isdir(self._pool_dir) else AWAY

    def close(self) -> None:
        """Close the handles of folders; the lock is the pool's."""
        for fd in self._folders.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._folders = {}
