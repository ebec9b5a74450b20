"""The file PAUSED: while it exists, workers start no new job.

Any tool can create it. Its first line is the reason, its second may say when the pause ends automatically.
"""

from __future__ import annotations

import errno
import os

from queuectl.model import times
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Layout
from queuectl.system import disk, files

_UNTIL = "until "
_MAX_BYTES = 4096


def is_paused(spool: Layout) -> bool:
    """True while the file PAUSED exists."""
    return os.path.lexists(spool.paused_path)


def pause(spool: SpoolDir, reason: str, *, until_at: float | None) -> None:
    """Create or replace the file PAUSED.

    Raises:
        IsADirectoryError: a folder has that name.
        OSError: the disk refuses the change.
    """
    _refuse_folder(spool)
    text = reason.replace("\n", " ") + "\n"
    if until_at is not None:
        text += f"{_UNTIL}{times.to_text(until_at)}\n"
    data = text.encode("utf-8", "replace")
    spool.replace_file(spool.paused_path, data, hint="paused", sync=False, mode=disk.FILE_MODE)


def resume(spool: Layout) -> bool:
    """Delete PAUSED; return False if there was none. Raises the same errors as `pause`."""
    _refuse_folder(spool)
    return disk.unlink(spool.paused_path)


def reason(spool: Layout) -> str:
    """Return the first line of PAUSED, or ""."""
    try:
        return _read(spool).strip().split("\n")[0]
    except OSError:
        return ""


def until(spool: Layout) -> float | None:
    """Return when the pause ends automatically, from the second line of PAUSED; None if it does not."""
    try:
        lines = _read(spool).split("\n")
        if len(lines) > 1 and lines[1].startswith(_UNTIL):
            return times.from_text(lines[1].removeprefix(_UNTIL))
    except (OSError, ValueError):
        pass
    return None


def _read(spool: Layout) -> str:
    return files.read_tail(spool.paused_path, _MAX_BYTES).decode("utf-8", "replace")


def _refuse_folder(spool: Layout) -> None:
    if files.is_folder(spool.paused_path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), spool.paused_path)
