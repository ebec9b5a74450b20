"""Stamps: until when the runs of one session on a cluster may go on, if nobody prolongs them (promises P3, P5).

A session is a worker whose commands run on other machines, and its name is the worker's. No lock on this machine shows
whether such a command still runs. So the worker writes a stamp before each message that lets its commands go on:

    .queuectl/engine/SESSION    `BOOT UNTIL LENGTH`: nothing of this session runs once the machine is up for UNTIL
                                seconds in the boot BOOT, or for LENGTH seconds in any other boot
    .queuectl/engine/SESSION.lock   held by whoever speaks to the nodes in the name of this session
    .queuectl/engine/length     the longest LENGTH that this spool ever had, fsynced: see `wait_s`

The name of a lease shows whose it is: the session of `hostA-4711-x2k9-c3.17` is `hostA-4711-x2k9-c3`, and the `c`
before the worker's number marks a session. The leases of other workers cost no look at a stamp.
"""

from __future__ import annotations

import contextlib
import os

import msgspec

from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import BOARD_ENDING
from queuectl.system import boot, disk, files
from queuectl.system.locks import NamedLock

MARK = "c"
"""Before the number of a worker whose commands run on other machines."""
_MAX_BYTES = 256
# A stamp that a power cut left torn protects for this long after the boot: more than any lease may last.
_LONGEST_S = 900.0


class Stamp(msgspec.Struct, frozen=True):
    """What a stamp says."""

    boot: str
    until_s: float
    """By `boot.uptime_s`, in the boot that the stamp names."""
    length_s: float

    def left_s(self) -> float:
        """Return how long the runs of this session may still go on; 0 or less: not any more."""
        return (self.until_s if self.boot == boot.boot_id() else self.length_s) - boot.uptime_s()


def session_of(lease: str) -> str:
    """Return the session that a lease belongs to, or "" if its commands run on this machine."""
    worker, _, _ = lease.rpartition(".")
    return worker if worker.rpartition("-")[2].startswith(MARK) else ""


def protects(spool: SpoolDir, lease: str) -> bool:
    """Return whether a command under this lease, which nobody holds here, may still run on another machine."""
    session = session_of(lease)
    if not session:
        return False
    stamp = read(spool, session)
    return (stamp.left_s() if stamp is not None else wait_s(spool)) > 0


def read(spool: SpoolDir, session: str) -> Stamp | None:
    """Return the stamp of a session, or None if there is none. Raises OSError."""
    try:
        words = files.read(spool.stamp_path(session), _MAX_BYTES).data.split()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        name, until, length = words
        return Stamp(name.decode(), float(until), float(length))
    except ValueError:
        return Stamp("", 0.0, _LONGEST_S)


def write(spool: SpoolDir, session: str, *, for_s: float, length_s: float = 0.0) -> Stamp:
    """Stamp a session: from now on its runs may go on for `for_s`; after a boot for `length_s`, if that is more.

    Raises OSError.
    """
    stamp = Stamp(boot.boot_id(), boot.uptime_s() + for_s, max(for_s, length_s))
    body = f"{stamp.boot} {stamp.until_s:.3f} {stamp.length_s:.3f}\n".encode()
    spool.replace_file(spool.stamp_path(session), body, hint="stamp", sync=False, mode=disk.FILE_MODE)
    return stamp


def lock(spool: SpoolDir, session: str) -> NamedLock | None:
    """Take the lock of a session: its holder alone speaks to the nodes in its name. None: somebody else has it.

    Raises OSError.
    """
    made = NamedLock(spool.session_lock_path(session))
    return made if made.try_acquire() else None


def remove(spool: SpoolDir, session: str, held: NamedLock) -> None:
    """Delete the stamp of a session and its lock, which the caller holds. Raises OSError."""
    disk.unlink(spool.stamp_path(session))
    held.remove()


def sessions(spool: SpoolDir) -> list[str]:
    """Return the sessions that have a stamp."""
    return [name for name in _names(spool) if _is_session(name)]


def traces(spool: SpoolDir) -> set[str]:
    """Return the sessions that have a stamp or a board of nodes."""
    found = {name.removesuffix(BOARD_ENDING) for name in _names(spool)}
    return {name for name in found if _is_session(name)}


def _is_session(name: str) -> bool:
    return "." not in name and session_of(f"{name}.") == name


def _names(spool: SpoolDir) -> list[str]:
    try:
        return files.names(spool.engine_dir)
    except FileNotFoundError:
        return []


# ------------------------------------------------------------------------------------------------------ after a boot


def wait_s(spool: SpoolDir) -> float:
    """Return for how long nothing may be claimed here, because the last boot may have taken stamps and starts with it.

    A power cut may lose a stamp, and with `durability = "queue"` the `started` of the last seconds, while commands
    live on elsewhere. So a spool that ever used a cluster waits until the machine is up for the longest lease.
    """
    length_s = _longest_s(spool)
    return max(0.0, length_s - boot.uptime_s()) if length_s else 0.0


def note_length(spool: SpoolDir, length_s: float) -> None:
    """Record, fsynced, that the stamps of this spool last up to this long. Raises OSError."""
    if not os.path.isdir(spool.engine_dir):
        with contextlib.suppress(FileExistsError):
            disk.make_folder(spool.engine_dir)
        disk.sync_folder(spool.machinery)
    if length_s > _longest_s(spool):
        body = b"%.3f\n" % length_s
        spool.replace_file(spool.engine_length_path, body, hint="length", sync=True, mode=disk.FILE_MODE)
        disk.sync_folder(spool.engine_dir)


def _longest_s(spool: SpoolDir) -> float:
    try:
        return float(files.read(spool.engine_length_path, _MAX_BYTES).data)
    except (FileNotFoundError, NotADirectoryError):
        return 0.0
    except ValueError:
        return _LONGEST_S
