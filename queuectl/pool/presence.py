"""Check that the spool is still where the pool began (see `anchor`); if not, wait for it or end (promises P3, P9)."""

from __future__ import annotations

from queuectl.errors import SpoolUnavailableError
from queuectl.model.notice import WARNING, Notice
from queuectl.pool import notices
from queuectl.pool.core import Core
from queuectl.spool import anchor
from queuectl.spool.anchor import Anchor
from queuectl.system.locks import NamedLock


class Presence:
    """The spool of one pool, as the last check found it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._spool = core.session.spool
        self._anchor: Anchor | None = None
        self._displaced = ""
        """How the spool was taken from this pool, or ""."""
        self.is_in_place = True
        self.has_restored = False
        """True if the last check made a folder again: pending/ is to be listed at once."""

    def begin(self, lock: NamedLock, *, is_local: bool) -> None:
        """Hold on to the spool as it is now; the pool has `lock`."""
        self._anchor = Anchor(self._spool, lock, is_local=is_local)

    def check(self, now_s: float) -> bool:
        """Compare the spool with the one that this pool began with; return `is_in_place`.

        If another one is in its place, or none for good, the pool ends. If it is only out of reach, the pool waits.
        """
        self.has_restored = False
        where = self._anchor.check() if self._anchor is not None else anchor.IN_PLACE
        self.is_in_place = where == anchor.IN_PLACE
        if where == anchor.AWAY:
            self._core.breaker.trip(f"the spool is not at {self._spool.root}")
        elif where != anchor.IN_PLACE:
            self._end(where, now_s)
        else:
            self._restore_folders()
        return self.is_in_place

    def _end(self, where: str, now_s: float) -> None:
        if not self._displaced:
            self._displaced = where
            text = f"{self._spool.root} was {where} while this pool worked on it; ending the pool and what it runs"
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
        """True if nothing of the spool is this pool's any more."""
        return bool(self._displaced)

    def raise_if_displaced(self) -> None:
        """Raise SpoolUnavailableError if the spool was taken from this pool."""
        if self._displaced:
            raise SpoolUnavailableError(
                f"{self._spool.root} was {self._displaced} while this pool worked on it",
                path=self._spool.root,
                cause="its files are not those that this pool holds locks on; what ran was ended and is on no record",
                hint="queuectl worker start, once the spool is as it should be",
            )

    def close(self) -> None:
        """Close the handles."""
        if self._anchor is not None:
            self._anchor.close()
