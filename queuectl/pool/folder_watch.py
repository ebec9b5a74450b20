"""Say whether anything may have changed in some folders since they were looked at, by their change times.

A pool with a hundred thousand waiting jobs would spend its idle time on listings that show the same. A listing is left
out only if that is certain: the file system is local and keeps times (not on Windows), and the folder had been quiet
for a second when it was listed last, so that a later change shows in its time. And never for longer than half a minute.
"""

from __future__ import annotations

import math
import os

from queuectl.system import files
from queuectl.system.clock import Clock

# File systems stamp changes in steps of some milliseconds, some of two seconds.
_QUIET_S = 2.5
_AT_LEAST_EVERY_S = 30.0


class FolderWatch:
    """Remembers the change times of some folders. `is_local`: the file system is one of this machine."""

    def __init__(self, paths: list[str], *, clock: Clock, is_local: bool) -> None:
        self._paths = paths
        self._clock = clock
        self._is_trusted = is_local and os.name != "nt"
        self._seen: list[files.FileSig | None] = []
        self._until_s = -math.inf

    def may_have_changed(self) -> bool:
        """Return whether the folders must be looked at; the caller does that at once then. Raises OSError."""
        if not self._is_trusted:
            return True
        now_s = self._clock.monotonic()
        seen = [files.sig_of(path) for path in self._paths]
        if seen == self._seen and now_s < self._until_s:
            return False
        now_at = self._clock.now()
        is_quiet = all(sig is not None and now_at - sig.mtime_ns / 1e9 > _QUIET_S for sig in seen)
        self._seen = seen
        self._until_s = now_s + _AT_LEAST_EVERY_S if is_quiet else -math.inf
        return True
