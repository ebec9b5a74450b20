"""Delete the logs of starts that are older than every window that counts, now and then (FORMAT.md, "Rates").

Each key of a queue with `rate_per_key` has a log, and keys come and go. A log is deleted under the lock of its gate, so
no start is lost: whoever has it open finds that it has no name any more.
"""

from __future__ import annotations

import os

from queuectl.model import names, rate
from queuectl.model.queues import Queue
from queuectl.spool.layout import KEYS_ENDING, STARTS_ENDING
from queuectl.spool.session import Session
from queuectl.system.locks import KeptLock

_EVERY_S = 600.0
# Claims wait for the gate meanwhile.
_AT_MOST = 200
# A rate that was taken out of the settings may come back.
_UNSET_WINDOW_S = 86400.0


class OldStarts:
    """Deletes the old logs of one spool."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._spool, self._clock = session.spool, session.clock
        self._next_s = 0.0

    def sweep(self) -> int:
        """Make a pass if it is time; return how many logs were deleted. Raises OSError."""
        if self._clock.monotonic() < self._next_s:
            return 0
        self._next_s = self._clock.monotonic() + _EVERY_S
        deleted = 0
        for name in self._listed(self._spool.gate_dir):
            queue, dot, ending = name.partition(".")
            if names.why_bad_queue(queue):
                continue
            limits = self._session.settings.queues.get(queue, Queue())
            if dot + ending == STARTS_ENDING:
                deleted += self._delete(queue, [self._spool.starts_path(queue)], limits.rate)
            elif dot + ending == KEYS_ENDING:
                folder = self._spool.key_starts_dir(queue)
                logs = [os.path.join(folder, each) for each in self._listed(folder) if each.endswith(STARTS_ENDING)]
                for at in range(0, len(logs), _AT_MOST):
                    deleted += self._delete(queue, logs[at : at + _AT_MOST], limits.rate_per_key)
        return deleted

    def _listed(self, folder: str) -> list[str]:
        try:
            return self._spool.names(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _delete(self, queue: str, logs: list[str], text: str) -> int:
        from queuectl.flows import rates  # most spools have no such logs

        allowed = rate.of(text)
        window_s = _UNSET_WINDOW_S if allowed is None else allowed.window_s
        old = [path for path in logs if rates.is_old(path, window_s, self._clock.now())]
        lock = KeptLock(self._spool.gate_lock_path(queue))
        try:
            if not old or not lock.try_acquire():
                return 0
            return sum(rates.delete_if_old(path, window_s, self._clock.now()) for path in old)
        finally:
            lock.close()
