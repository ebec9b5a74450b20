"""What a file system can do, found out with scratch files, for `doctor`: the moves that `disk` makes, and no other."""

from __future__ import annotations

import errno
import os

from queuectl.system import libc
from queuectl.system.acting import as_owner
from queuectl.system.sharing import patiently


@as_owner
def refuses_to_replace(source: str, target: str) -> bool:
    """Return whether the system itself refuses to move `source` onto the existing `target`; else `move` checks first.

    Use this with scratch files, because a system that ignores the flag would replace `target`.
    """
    if libc.rename_no_replace is None:  # Windows, where a plain rename refuses
        return True
    refused = libc.rename_no_replace(os.fsencode(source), os.fsencode(target)) != 0
    return refused and libc.last_errno() == errno.EEXIST


@as_owner
def can_link(source: str, target: str) -> bool:
    """Return whether a file can get a second name, `target`, which is deleted again.

    Raises:
        FileExistsError: `target` is there already.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        return False
    patiently(os.unlink, target)
    return True
