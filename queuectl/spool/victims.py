"""Who is dead because of whom: an empty file .queuectl/victims/PARENT/CHILD for each unmet job (promise P13).

The records say the same. These files spare a search through all of dlq/ when a parent is revived. So a file too many is
harmless, and is deleted when it is found.
"""

from __future__ import annotations

import contextlib
import itertools
import os

from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files


def note(spool: SpoolDir, parent: str, child: str) -> None:
    """Note that a job is dead because of a parent. Raises OSError."""
    path = spool.victim_path(parent, child)
    for _ in range(2):
        try:
            disk.create(path, b"", sync=False, mode=disk.FILE_MODE)
            return
        except FileExistsError:
            return
        except FileNotFoundError:  # the folder is made when it is first needed, and deleted when it is empty
            disk.make_folder(spool.victims_of(parent))
    disk.create(path, b"", sync=False, mode=disk.FILE_MODE)


def parents(spool: SpoolDir) -> list[str]:
    """Return the parents that jobs are dead because of: one listing."""
    return _names(spool.victims_dir)


def children(spool: SpoolDir, parent: str) -> list[str]:
    """Return the jobs that are noted as dead because of a parent: one listing."""
    return _names(spool.victims_of(parent))


def some_children(spool: SpoolDir, parent: str, at_most: int) -> list[str]:
    """Return some of them, without listing all."""
    try:
        with os.scandir(spool.victims_of(parent)) as entries:
            return [entry.name for entry in itertools.islice(entries, at_most)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def forget(spool: SpoolDir, parent: str, child: str) -> None:
    """Delete a note. A folder or another file that cannot be deleted is left alone (P11). Raises OSError."""
    with contextlib.suppress(IsADirectoryError, PermissionError):
        disk.unlink(spool.victim_path(parent, child))


def tidy(spool: SpoolDir, parent: str) -> None:
    """Delete the folder of a parent if it is empty."""
    with contextlib.suppress(OSError):
        disk.remove_folder(spool.victims_of(parent))


def forget_all(spool: SpoolDir, parent: str) -> None:
    """Delete all notes of a parent, which is gone: its children stay dead. Raises OSError."""
    for child in children(spool, parent):
        forget(spool, parent, child)
    tidy(spool, parent)


def _names(folder: str) -> list[str]:
    try:
        return sorted(files.names(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def has_any(spool: SpoolDir) -> bool:
    """Return whether there may be notes: one stat."""
    return os.path.isdir(spool.victims_dir)
