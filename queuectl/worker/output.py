"""The file that a worker's commands print to, and the limit on its size.

A command writes directly to .queuectl/tmp/LEASE.out, so that most jobs, which print nothing, cost no file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

from queuectl.spool.folder import SpoolDir
from queuectl.spool.output import keep_output
from queuectl.system import disk, outputs

# The longest and the shortest time between two looks at a run that prints. In between, look as soon as the run could
# be near its limit.
_LOOK_LAST_S, _LOOK_FIRST_S = 0.25, 0.02


class OutputSlot:
    """The output file of one worker."""

    def __init__(self, spool: SpoolDir) -> None:
        self._spool = spool
        self._lease = ""
        self._path = ""
        self.fd = -1
        """The handle of the file; -1 if it is closed."""

    def open(self, lease: str) -> int:
        """Return the handle that the next command writes to, under the lease that it runs with."""
        if self.fd >= 0 and lease == self._lease:
            return self.fd
        self.close()
        path = self._spool.output_path(lease)
        self.fd = outputs.open_file(path, mode=self._spool.file_mode)
        self._lease, self._path = lease, path
        return self.fd

    def take_over(self, lease: str) -> int:
        """Return the handle of the output of a run that a dead worker has begun; it keeps what it holds."""
        self.close()
        self._path = self._spool.output_path(lease)
        self.fd = outputs.open_file(self._path, mode=self._spool.file_mode, keep=True)
        self._lease = lease
        return self.fd

    @property
    def size(self) -> int:
        """The number of printed bytes; 0 if the file is not open."""
        return os.fstat(self.fd).st_size if self.fd >= 0 else 0

    def keep(self, job_id: str, attempt: int) -> bool:
        """Turn the file into a log; return False if nothing was printed, or if the log already exists.

        Raises:
            OSError: the log could not be created; try again.
        """
        if self.fd >= 0:
            if os.fstat(self.fd).st_size == 0:
                return False
            os.close(self.fd)
            self.fd = -1
        return keep_output(self._spool, self._path, job_id, attempt)

    def abandon(self) -> None:
        """Use another file from now on, because a remaining process may still write to this one."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self._lease = self._path = ""

    def close(self) -> None:
        """Close the file and delete it if it is empty."""
        if self.fd >= 0:
            empty = os.fstat(self.fd).st_size == 0
            os.close(self.fd)
            self.fd = -1
            if empty:
                disk.unlink(self._path)


class OutputLimit:
    """Watches how much one run prints and gives back, for a few calls per look.

    `next_look_s` is the next time (monotonic), and `given` returns the size of what the run gives back.
    """

    def __init__(
        self, slot: OutputSlot, most: int | None, *, now_s: float, given: Callable[[], int] = lambda: 0
    ) -> None:
        self._slot = slot
        self._given = given
        self._most = most
        self._size = 0
        self._looked_s = now_s
        self.next_look_s = now_s if most is not None else math.inf

    def is_passed(self, now_s: float) -> bool:
        """Return whether the run has printed more than its limit; look only if a look is due."""
        if self._most is None or now_s < self.next_look_s:
            return False
        try:
            size = self._slot.size + self._given()
        except OSError:  # a share that is offline for a while must not end a run (P9)
            self.next_look_s = now_s + _LOOK_LAST_S
            return False
        grown, passed_s = size - self._size, now_s - self._looked_s
        self._size, self._looked_s = size, now_s
        pause_s = _LOOK_LAST_S
        if grown > 0:  # half of the time until the limit at this rate, so that the run prints little beyond it
            pause_s = min(pause_s, max(_LOOK_FIRST_S, passed_s * (self._most - size) / grown / 2))
        self.next_look_s = now_s + pause_s
        return size > self._most
