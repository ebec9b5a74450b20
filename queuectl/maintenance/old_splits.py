"""Delete the note and the plan of a split whose file is gone, now and then.

A kill leaves them after the file was moved to rejected/, or before it reached taken/ (FORMAT.md, section 4, "A file
with many jobs"). A person who deletes a file in taken/ leaves them too.
"""

from __future__ import annotations

from queuectl.maintenance import debris
from queuectl.spool.session import Session
from queuectl.system import disk, files

_EVERY_S = 600.0
_ENDINGS = (".json", ".plan")


class OldSplits:
    """Deletes what is left of the splits of one spool."""

    def __init__(self, session: Session) -> None:
        self._spool, self._clock = session.spool, session.clock
        self._next_s = 0.0

    def sweep(self) -> int:
        """Make a pass if it is time; return how many files were deleted. Raises OSError."""
        if self._clock.monotonic() < self._next_s:
            return 0
        self._next_s = self._clock.monotonic() + _EVERY_S
        age = debris.FileAge(self._spool)
        deleted = 0
        for path in debris.split_notes(self._spool):
            sig = files.sig_of(path) if path.endswith(_ENDINGS) and files.is_regular(path) else None
            if sig is not None and age.is_over(sig, debris.UNFINISHED_S):
                deleted += disk.unlink(path)
        return deleted
