"""The file PAUSED: while it exists, workers start no new job. PAUSED-QUEUE does the same for one queue.

Any tool can create it. Its first line is the reason, its second may say when the pause ends automatically. In all
functions, `queue` "" means the whole spool.
"""

from __future__ import annotations

import contextlib
import errno
import os

from queuectl.model import names, times
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import PAUSED, Layout
from queuectl.system import disk, files
from queuectl.system.sharing import GLANCE_S, SHARING_DEADLINE_S, is_held

_UNTIL, _BY = "until ", "by "
_MAX_BYTES = 4096


def is_paused(spool: Layout, queue: str = "") -> bool:
    """True while the file PAUSED exists, or PAUSED-QUEUE."""
    return os.path.lexists(spool.queue_paused_path(queue) if queue else spool.paused_path)


def paused_queues(spool: Layout) -> list[str]:
    """Return the queues that are paused, by one listing of the spool's root; none if it cannot be listed."""
    beginning = f"{PAUSED}-"
    try:
        found = [name.removeprefix(beginning) for name in files.names(spool.root) if name.startswith(beginning)]
    except OSError:
        return []
    return sorted(queue for queue in found if not names.why_bad_queue(queue))


def pause(spool: SpoolDir, reason: str, *, until_at: float | None, queue: str = "") -> None:
    """Create or replace the file PAUSED.

    Raises:
        IsADirectoryError: a folder has that name.
        OSError: the disk refuses the change.
    """
    path = _path(spool, queue)
    _refuse_folder(path)
    spool.replace_file(path, _text(reason, until_at), hint="paused", sync=False, mode=disk.FILE_MODE)


def halt(spool: SpoolDir, queue: str, reason: str, *, until_at: float | None, by: str) -> bool:
    """Create PAUSED-QUEUE for the circuit breaker; return False if a file is there already, which stays as it is.

    `by` is the setting whose limit was reached. Raises OSError.
    """
    data = _text(reason, until_at, by)
    try:
        spool.publish_file(_path(spool, queue), data, hint="paused", sync=False, mode=disk.FILE_MODE)
    except FileExistsError:
        return False
    return True


def _text(reason: str, until_at: float | None, by: str = "") -> bytes:
    lines = [
        " ".join(reason.split()),
        *([f"{_UNTIL}{times.to_text(until_at)}"] if until_at is not None else [""] if by else []),
        *([f"{_BY}{by}"] if by else []),
    ]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def resume(spool: Layout, queue: str = "", *, patience_s: float = SHARING_DEADLINE_S) -> bool:
    """Delete PAUSED; return False if there was none. Raises the same errors as `pause`."""
    path = _path(spool, queue)
    _refuse_folder(path)
    return disk.unlink(path, patience_s=patience_s)


def is_over(spool: Layout, now_at: float, queue: str = "") -> bool:
    """End a pause whose time is over, and return True if it has ended; a program that has the file open delays it.

    Raises the same errors as `pause`.
    """
    until_at = until(spool, queue)
    if until_at is None or until_at > now_at:
        return False
    try:
        return resume(spool, queue, patience_s=GLANCE_S) or not is_paused(spool, queue)
    except OSError as error:
        if is_held(error):
            return False
        raise


def reason(spool: Layout, queue: str = "") -> str:
    """Return the first line of PAUSED, or ""."""
    return _read(spool, queue).strip().split("\n")[0]


def until(spool: Layout, queue: str = "") -> float | None:
    """Return when the pause ends automatically, from the second line of PAUSED; None if it does not."""
    lines = _read(spool, queue).split("\n")
    if len(lines) > 1 and lines[1].startswith(_UNTIL):
        with contextlib.suppress(ValueError):
            return times.from_text(lines[1].removeprefix(_UNTIL))
    return None


def halted_by(spool: Layout, queue: str) -> str:
    """Return the setting by which the circuit breaker has paused a queue, from the third line; "" if it has not."""
    lines = _read(spool, queue).split("\n")
    return lines[2].removeprefix(_BY) if len(lines) > 2 and lines[2].startswith(_BY) else ""


def _path(spool: Layout, queue: str) -> str:
    return spool.queue_paused_path(queue) if queue else spool.paused_path


def _read(spool: Layout, queue: str) -> str:
    """Return the text of PAUSED, "" if it cannot be read now."""
    try:
        return files.read_tail(_path(spool, queue), _MAX_BYTES, patience_s=GLANCE_S).decode("utf-8", "replace")
    except OSError:
        return ""


def _refuse_folder(path: str) -> None:
    if files.is_folder(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
