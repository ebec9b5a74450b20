"""Decide whether an error is one file's fault, which then waits alone, or the machine's (promises P6, P9).

A full disk or a lack of handles has an error of its own. "Not permitted" and "I/O error" are ambiguous: an immutable
file, another user's lock file or a bad sector give the same errors as a closed folder or a dying disk. Then a proof
decides: if the folders that every job needs are writable, and a new file can be written, read and deleted, the machine
works and the error is the file's.
"""

from __future__ import annotations

import errno
import os

import msgspec

from queuectl.model.lifecycle import STATES
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import LOGS
from queuectl.spool.trust import quoted, user_name
from queuectl.system import disk, files, rights, sharing
from queuectl.system.clock import Clock

# How long a proof that the machine works is valid, because thousands of files may fail at once.
_PROOF_S = 1.0
_PROOF = b"a proof that files can be written here\n"


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one file (or lock): its path, the error in words, and how to fix it ("" if unknown)."""

    path: str
    text: str
    cure: str


class Blame:
    """Distinguishes a fault of one file from one of the machine, for one spool."""

    def __init__(self, spool: SpoolDir, *, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._proved_s: float | None = None

    def fault(self, error: OSError, path: str) -> Fault | None:
        """Return what is wrong with one file, or None if the machine is at fault.

        `path` is the file in use, for an error that names none.
        """
        if sharing.is_trouble(error) and not sharing.may_be_of_one_file(error):
            return None
        if not self._machine_works():
            return None
        if isinstance(error.filename, str):
            path = os.path.abspath(error.filename)
        why = error.strerror or str(error) or type(error).__name__
        return Fault(path, f"{os.path.relpath(path, self._spool.root)}: {why}", cure(error, path))

    def _machine_works(self) -> bool:
        now_s = self._clock.monotonic()
        if self._proved_s is not None and 0 <= now_s - self._proved_s < _PROOF_S:
            return True
        spool = self._spool
        folders = [spool.folder(name) for name in (*STATES, LOGS)] + [spool.tmp_dir, spool.lease_dir]
        if not all(map(rights.may_change, folders)):
            return False
        try:
            path = spool.write_temporary("proof", _PROOF, sync=True)
            try:
                works = files.read(path, len(_PROOF)).data == _PROOF
            finally:
                disk.unlink(path)
        except OSError:
            return False
        if works:
            self._proved_s = now_s
        return works


def cure(error: OSError, path: str) -> str:
    """Return what a person can do about a file that cannot be used, or "" if unknown."""
    if isinstance(error, IsADirectoryError) or error.errno == errno.ELOOP or _is_folder(path):
        return f"move away the folder or link at {path}"
    if not isinstance(error, PermissionError):
        return ""
    owner = rights.owner_of(path)
    if owner is None:  # Windows
        return "check its permissions, and which program has it open"
    user = rights.user_at(path)
    if owner != user:
        return f"chown {user_name(user)} {quoted(path)}, as root"
    if rights.is_immutable(path):
        return f"chattr -i {quoted(path)}, as root"
    return f"check its permissions: ls -l {quoted(path)}"


def _is_folder(path: str) -> bool:
    try:
        return files.is_folder(path)
    except OSError:
        return False
