"""Retention: finished and dead jobs older than the settings say are deleted, with their logs (promise P6).

A pass goes through a folder in small steps between other work. A file's mtime only sorts out what cannot be old
enough; the record's last event decides. Each deletion happens under the id's stripe, so that a job that is being
requeued is left.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from queuectl import errortext, fsops, record, times
from queuectl.batch import DONE_ENDING
from queuectl.clock import Clock
from queuectl.config import Settings
from queuectl.errors import DamagedRecordError
from queuectl.lifecycle import DLQ, DONE
from queuectl.settle import Stripes
from queuectl.spool import SpoolDir

_STEP = 200
_EVERY_S = 3600.0


class Retention:
    """Applies keep_done and keep_dlq."""

    def __init__(self, spool: SpoolDir, settings: Settings, stripes: Stripes, *, clock: Clock) -> None:
        self._spool = spool
        self._keep_s = {DONE: settings.keep_done, DLQ: settings.keep_dlq}
        self._stripes = stripes
        self._clock = clock
        self._next_pass_s = 0.0
        self._walk: Iterator[tuple[str, str]] | None = None

    def step(self) -> int:
        """Look at a few hundred files at most; how many jobs were deleted. A pass starts once an hour."""
        if self._walk is None:
            now_s = self._clock.monotonic()
            if now_s < self._next_pass_s:
                return 0
            self._next_pass_s = now_s + _EVERY_S
            self._walk = self._candidates()
        deleted = 0
        for _ in range(_STEP):
            found = next(self._walk, None)
            if found is None:
                self._walk = None
                break
            # ValueError: an instant that somebody wrote, and that is none.
            with contextlib.suppress(OSError, DamagedRecordError, ValueError):
                deleted += self._delete_if_old(*found)
        return deleted

    def _candidates(self) -> Iterator[tuple[str, str]]:
        for state, keep_s in self._keep_s.items():
            if keep_s is None:
                continue
            with os.scandir(self._spool.folder(state)) as entries:
                for entry in entries:
                    if not entry.name.endswith(".json"):
                        continue
                    # Half the time kept, by a clock that clients may have set: only to leave the young ones alone.
                    age_s = self._clock.now() - entry.stat(follow_symlinks=False).st_mtime
                    if age_s >= keep_s / 2 or age_s < 0:
                        yield state, entry.name
        if self._keep_s[DONE] is not None:
            for name in fsops.names(self._spool.taken_dir):
                if name.endswith(DONE_ENDING):
                    self._delete_batch_if_old(os.path.join(self._spool.taken_dir, name))

    def _delete_if_old(self, state: str, name: str) -> int:
        keep_s = self._keep_s[state]
        stored = self._spool.read(state, name)
        last = record.standing(stored.record).last
        if keep_s is None or last is None or self._clock.now() - times.from_text(last.at) < keep_s:
            return 0
        stripe = self._stripes.of(stored.record.id)
        if not stripe.try_acquire():
            return 0
        path = self._spool.path(state, name)
        try:
            if fsops.sig_of(path) != stored.sig:
                return 0
            # The logs first: what a crash leaves is a job without them, which the next pass deletes.
            for attempt in range(1, record.standing(stored.record).starts + 1):
                fsops.unlink(self._spool.log_path(stored.record.id, attempt))
            deleted = fsops.unlink(path)
            if state == DLQ:
                errortext.forget(self._spool, name)
            return int(deleted)
        finally:
            stripe.release()

    def _delete_batch_if_old(self, path: str) -> None:
        keep_s = self._keep_s[DONE]
        sig = fsops.sig_of(path)
        if keep_s is not None and sig is not None and self._clock.now() - sig.mtime_ns / 1e9 >= keep_s:
            with contextlib.suppress(IsADirectoryError, PermissionError):
                fsops.unlink(path)
