"""The standard input of a command: a text of its job, which is put on its desk, or a file that its job names."""

from __future__ import annotations

import errno
import os

from queuectl.model.record import Record
from queuectl.system import files
from queuectl.worker.desk import DeskSlot
from queuectl.worker.executors.base import EXIT_NOT_RUNNABLE, CannotEnterError, CannotStartError

# Not the job's fault (P9).
_TROUBLE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)


def open_for(item: Record, cwd: str, desk: DeskSlot) -> int:
    """Return a handle for the standard input of a job's command, -1 for none. The caller closes it.

    Raises:
        CannotEnterError: the folder of the command is missing.
        CannotStartError: the file that the job names is missing, or is no regular file.
        OSError: the machine is at fault.
    """
    if item.extras.stdin is not None:
        return desk.open_text(item.extras.stdin.encode("utf-8", "replace"))
    return open_file(item.extras.stdin_file, cwd) if item.extras.stdin_file else -1


def open_file(name: str, cwd: str) -> int:
    """Return a handle of a file that a job names as its standard input, from the folder of the command.

    Raises:
        CannotEnterError, CannotStartError, OSError: as `open_for`.
    """
    path = os.path.join(cwd, name)
    try:
        # A link that the job names is followed; a pipe or a device would stop the worker.
        return files.open_to_read(os.path.realpath(path))
    except files.NotRegularError as error:
        raise CannotStartError(EXIT_NOT_RUNNABLE, f"stdin_file {path} is not a regular file") from error
    except OSError as error:
        if error.errno in _TROUBLE:
            raise
        if not os.path.isdir(cwd):
            raise CannotEnterError(cwd) from error
        raise CannotStartError(EXIT_NOT_RUNNABLE, f"cannot read stdin_file {path}: {error.strerror}") from error
    except ValueError as error:
        raise CannotStartError(EXIT_NOT_RUNNABLE, f"stdin_file {path!r} is not a path here") from error
