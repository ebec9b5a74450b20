"""The identity of a spool: a short random name that marks its files in an inbox.

A signed job can name it as its audience. A pool makes it once; it is one file in .queuectl/.
"""

from __future__ import annotations

import contextlib
import errno
import re

from queuectl.model import names
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Layout
from queuectl.system import disk, files

_CHARS = 6
_IDENTITY = re.compile(f"[0-9a-z]{{{_CHARS}}}")


def identity_of(spool: SpoolDir) -> str:
    """Return the identity of a spool, and make it if there is none yet.

    Raises:
        OSError: the identity cannot be read or made.
    """
    if files.sig_of(spool.identity_path) is None:
        made = names.new_token(spool.rng, _CHARS).encode()
        with contextlib.suppress(FileExistsError):
            spool.publish_file(spool.identity_path, made, hint="identity", sync=True)
        disk.sync_folder(spool.machinery)
    found = _read(spool)
    if not _IDENTITY.fullmatch(found):
        raise OSError(errno.EINVAL, "is damaged; delete it", spool.identity_path)
    return found


def known_identity(spool: Layout) -> str:
    """Return the identity of a spool, or "" if it cannot be read or is not made yet."""
    try:
        found = _read(spool)
    except OSError:
        return ""
    return found if _IDENTITY.fullmatch(found) else ""


def _read(spool: Layout) -> str:
    return files.read_head(spool.identity_path, _CHARS).decode("ascii", "replace")
