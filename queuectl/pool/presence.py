"""Check that the spool is still the one the pool started with (see `anchor`); if not, wait or end (promises P3, P9)."""

from __future__ import annotations

from queuectl.errors import SpoolUnavailableError
from queuectl.model.notice import WARNING, Notice
from queuectl.pool import notices
from queuectl.pool.core import Core
from queuectl.spool import anchor
from queuectl.spool.anchor import Anchor
from queuectl.system.locks import NamedLock

# How often the folders of the spool are looked for; a pool that has nothing to do spends a third of its time on that
# if it looks at each tick.
_FOLDERS_EVERY_S = 1.0


class Presence:
    """The spool of one pool, as the last check found it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._spool = core.session.spool
        self._anchor: Anchor | None = None
        self._displaced = ""
        """How this pool lost its spool, or ""."""
        self._folders_s = 0.0
        """When the folders are looked for next (monotonic)."""
        self.is_in_place = True
        self.has_restored = False
        """True if the last check created a folder again, so pending/ must be listed at once."""

    def begin(self, lock: NamedLock, *, is_local: bool) -> None:
        """Remember the spool as it is now; the pool holds `lock`."""
        self._anchor = Anchor(self._spool, lock, is_local=is_local)

    def check(self, now_s: float) -> bool:
        """Compare the spool with the one that this pool started with; return `is_in_place`.

        If the spool was replaced or deleted, the pool ends. If it is only unreachable, the pool waits.
        """
        self.has_restored = False
        where = self._anchor.check() if self._anchor is not None else anchor.IN_PLACE
        self.is_in_place = where == anchor.IN_PLACE
        if where == anchor.AWAY:
            self._core.breaker.trip(f"the spool is not at {self._spool.root}")
        elif where != anchor.IN_PLACE:
            self._end(where, now_s)
        elif now_s >= self._folders_s:
            self._folders_s = now_s + _FOLDERS_EVERY_S
            self._restore_folders()
        return self.is_in_place

    def _end(self, where: str, now_s: float) -> None:
        if not self._displaced:
            self._displaced = where
            text = f"{self._spool.root} was {where} while this pool was running; ending the pool and its jobs"
            self._core.notify(Notice(WARNING, "displaced", text))
            self._core.shutdown.abandon(now_s)

    def _restore_folders(self) -> None:
        with self._core.breaker.guard():
            self._spool.restore_folders()
        self.has_restored = bool(self._spool.restored)
        while self._spool.restored:
            self._core.notify(notices.restored(self._spool.restored.pop()))

    @property
    def is_displaced(self) -> bool:
        """True if the spool at this path no longer belongs to this pool."""
        return bool(self._displaced)

    def raise_if_displaced(self) -> None:
        """Raise SpoolUnavailableError if this pool lost its spool."""
        if self._displaced:
            raise SpoolUnavailableError(
                f"{self._spool.root} was {self._displaced} while this pool was running",
                path=self._spool.root,
                cause="this pool holds locks on other files; its running jobs were ended and not recorded",
                hint="restore the spool, then queuectl worker start",
            )

    def close(self) -> None:
        """Close the handles."""
        if self._anchor is not None:
            self._anchor.close()
