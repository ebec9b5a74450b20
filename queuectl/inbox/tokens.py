"""The tokens in the names that an inbox process gives to files. They are on disk before they are used (promise P10).

A user who can write to an inbox sees these names and can imitate them. So a name proves nothing: a claimed file belongs
to this spool only if its token is noted in `.queuectl/inboxes/OWNER.tokens`, which only the workers' user can read or
write. Many tokens are noted at once, because each note costs an fsync.
"""

from __future__ import annotations

import contextlib
import os

from queuectl.model import names
from queuectl.spool.session import Session
from queuectl.system import disk, files, sharing

TOKEN_CHARS = 12
_AT_ONCE = 32
# How many tokens of earlier processes are kept, because a share may come back with their files.
_KEPT_MOST = 2000
_MAX_BYTES = 1024 * 1024


class Tokens:
    """The tokens of one inbox, for the one process that polls it."""

    def __init__(self, session: Session, owner: str) -> None:
        self._spool = session.spool
        self._path = session.spool.inbox_path(owner, "tokens")
        self._rng = session.rng
        self._sync = session.syncs_accepted
        self._open: dict[str, None] | None = None
        """Tokens that files in the inbox may have, oldest first; None until the note has been read."""
        self._fresh: list[str] = []
        self._text = ""

    def take(self) -> str:
        """Return a token that is on disk. Raises OSError."""
        in_use = self._in_use()
        if not self._fresh:
            made = [names.new_token(self._rng, TOKEN_CHARS) for _ in range(_AT_ONCE)]
            self._write([*in_use, *made])
            self._fresh = made
        token = self._fresh.pop()
        in_use[token] = None
        return token

    def for_texts(self) -> str:
        """Return the token for unfinished texts. One is enough, as texts are written one by one. Raises OSError."""
        if not self._text:
            self._text = self.take()
        return self._text

    def renew_for_texts(self) -> None:
        """Take another token for texts, because somebody has created a file with that name."""
        self.done(self._text)
        self._text = ""

    def done(self, token: str) -> None:
        """Forget a token that no file of this spool uses any more."""
        self._in_use().pop(token, None)

    def is_ours(self, token: str) -> bool:
        """Return True if this spool has given that token to a file and still uses it."""
        return token in self._in_use()

    def settle(self) -> None:
        """Forget the tokens that were noted but not used, when the process ends. Raises OSError."""
        if self._fresh:
            self._fresh = []
            self._write([*self._in_use()])

    def _in_use(self) -> dict[str, None]:
        if self._open is None:
            found: list[str] = []
            with contextlib.suppress(FileNotFoundError):
                found = files.read(self._path, _MAX_BYTES).data.decode("ascii", "replace").split()
            self._open = dict.fromkeys(found[-_KEPT_MOST:])
        return self._open

    def _write(self, tokens: list[str]) -> None:
        folder = os.path.dirname(self._path)
        disk.make_folder(folder)
        temporary = self._spool.tmp_path(f"tokens.{os.getpid()}-{names.new_token(self._rng, 8)}")
        data = "".join(f"{each}\n" for each in tokens).encode()
        disk.create(temporary, data, sync=self._sync, mode=disk.PRIVATE_MODE)
        try:
            disk.replace(temporary, self._path, patience_s=sharing.GLANCE_S)
        except OSError:
            disk.unlink(temporary)
            raise
        if self._sync:
            disk.sync_folder(folder)
