"""Lock files and records that the spool's owner cannot use, because root created them (an older queuectl, a copy).

The lock files are the delicate part: two processes that hold one stripe through two different files would run a job
twice (P3). Root gives back the same file, by its handle, and nothing changes for a process that has it open. The owner
may not open the file and can only replace it. That happens only if no pool and no process of a pool is alive, and if
the file has been closed for so long that no command can still have it open.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from queuectl.errors import QueuectlError
from queuectl.maintenance.findings import Act
from queuectl.model import names, record
from queuectl.model.lifecycle import PENDING, STATES
from queuectl.spool import lease, pools
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import MACHINERY
from queuectl.system import disk, files, rights
from queuectl.system.acting import owner_of
from queuectl.system.locks import FileLock

# Only pools and the processes they started hold a lock file open for this long.
CLOSED_FOR_S = 60.0


def closed_stripes(spool: SpoolDir, *, lock: bool) -> Iterator[tuple[int, OSError]]:
    """Yield the stripes whose lock files exist but cannot be opened (with `lock`: locked), and the error."""
    for number in range(names.STRIPE_COUNT):
        path = spool.stripe_path(number)
        stripe = FileLock(path)
        try:
            if files.sig_of(path) is None:
                continue
            if not lock:
                os.close(disk.open_lock_file(path))
            elif stripe.try_acquire():
                stripe.release()
        except OSError as error:
            yield number, error
        finally:
            stripe.close()


def act_open(spool: SpoolDir, number: int) -> Act | None:
    """Return the repair of such a lock file, or None if only a person can repair it."""
    path = spool.stripe_path(number)
    try:
        if not files.is_regular(path) or rights.owner_of(path) in (None, _home(spool)):
            return None
    except OSError:
        return None
    if owner_of(path) is None:
        return lambda: _put_new(spool, path)
    parts = (MACHINERY, os.path.basename(spool.stripe_dir), os.path.basename(path))
    return lambda: rights.give_back(spool.root, parts, may_be=lambda content: not content.data and not content.sig.size)


def _put_new(spool: SpoolDir, path: str) -> None:
    """Replace a lock file that no process can have open. Raises QueuectlError if a process may have it open."""
    if pools.live(spool) or any(lease.is_alive(spool, name) for name in _leases(spool)):
        raise QueuectlError("a pool is alive; stop it first: queuectl worker stop --wait")
    with spool.temporary("lock", b"", sync=False) as temporary:
        age_s = files.last_change(temporary)[1] - files.last_change(path)[1]
        if age_s < CLOSED_FOR_S:
            raise QueuectlError(f"a command may still have it open; try again in {CLOSED_FOR_S - age_s:.0f} s")
        disk.replace(temporary, path)


def _leases(spool: SpoolDir) -> list[str]:
    return [name.removesuffix(".lock") for name in spool.names(spool.lease_dir) if name.endswith(".lock")]


def strange_records(spool: SpoolDir) -> Iterator[tuple[str, str]]:
    """Yield state and name of records of other users that the spool's owner cannot use. Costs one stat per file."""
    home = _home(spool)
    if home is None:
        return
    for state in STATES:
        # A drop in pending/ is only read and moved.
        needed = stat.S_IROTH if state == PENDING else stat.S_IROTH | stat.S_IWOTH
        try:
            found = rights.strange_files(spool.folder(state), owner=home, needed=needed)
        except FileNotFoundError:
            if not spool.lacks_folders:
                raise
            continue
        for name in found:
            if name.endswith(".json") and not names.is_temporary(name):
                yield state, name


def act_give_back(spool: SpoolDir, state: str, name: str) -> Act | None:
    """Return the repair of such a record, which needs root. Only a whole record is given to the owner."""
    if owner_of(spool.path(state, name)) is None:
        return None
    return lambda: rights.give_back(spool.root, (state, name), may_be=lambda content: record.is_record(content.data))


def _home(spool: SpoolDir) -> int | None:
    return rights.owner_of(spool.root)
