"""What commands print: one file a worker, kept as a log only when something was printed.

A command writes straight to .queuectl/tmp/LEASE.out, so that most jobs, which print nothing, cost no file. What was
printed is renamed to logs/ID.ATTEMPT.log when the command has ended.
"""

from __future__ import annotations

import os
import random

from queuectl import fsops, names
from queuectl.spool import SpoolDir


class OutputSlot:
    """The output file of one worker."""

    def __init__(self, spool: SpoolDir, rng: random.Random) -> None:
        self._spool = spool
        self._rng = rng
        self._lease = ""
        self._path = ""
        self._fd = -1

    def open(self, lease: str) -> int:
        """The handle for the next command to write to, under the lease it runs with."""
        if self._fd >= 0 and lease == self._lease:
            return self._fd
        self.close()
        path = self._spool.output_path(lease)
        self._fd = fsops.open_output(path)
        self._lease, self._path = lease, path
        return self._fd

    @property
    def is_empty(self) -> bool:
        """True where the file is open and nothing was printed to it."""
        return self._fd >= 0 and os.fstat(self._fd).st_size == 0

    def keep(self, job_id: str, attempt: int) -> bool:
        """Make a log of what was printed; False where nothing was, or where it is kept already.

        Raises:
            OSError: the log could not be made; to be tried again.
        """
        if self._fd < 0:
            if fsops.sig_of(self._path) is None:
                return False
        else:
            if os.fstat(self._fd).st_size == 0:
                return False
            os.close(self._fd)
            self._fd = -1
        keep_output(self._spool, self._path, job_id, attempt, self._rng)
        return True

    def leave(self) -> None:
        """Use another file from now on: a process left behind may still write to this one."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._lease = self._path = ""

    def close(self) -> None:
        """Close the file and delete it if it is empty."""
        if self._fd >= 0:
            empty = os.fstat(self._fd).st_size == 0
            os.close(self._fd)
            self._fd = -1
            if empty:
                fsops.unlink(self._path)


def keep_output(spool: SpoolDir, path: str, job_id: str, attempt: int, rng: random.Random) -> None:
    """Move an output file to logs/, under another name if that one is taken; delete it if it is empty."""
    sig = fsops.sig_of(path)
    if sig is None or sig.size == 0:
        fsops.unlink(path)
        return
    target = spool.log_path(job_id, attempt)
    while True:
        try:
            fsops.move(path, target)
        except FileExistsError:
            target = spool.log_path(f"{job_id}-{names.new_token(rng)}", attempt)
            continue
        except FileNotFoundError:
            return
        return
