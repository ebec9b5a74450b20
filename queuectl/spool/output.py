"""Move the output of a command to logs/ID.ATTEMPT.log after the command has ended."""

from __future__ import annotations

import errno

from queuectl.model import names
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import LOGS
from queuectl.system import disk, files


def keep_output(spool: SpoolDir, path: str, job_id: str, attempt: int) -> bool:
    """Move an output file to logs/, under another name if that one is taken; delete it if it is empty.

    Return False if the command printed nothing, or if the file does not exist.

    Raises:
        OSError: try again; a FileNotFoundError means that the spool is unreachable.
    """
    sig = files.sig_of(path)
    if sig is None and files.sig_of(spool.tmp_dir) is None:
        raise FileNotFoundError(errno.ENOENT, "the folder for unfinished writes is missing", spool.tmp_dir)
    if sig is None or sig.size == 0:
        disk.unlink(path)
        return False
    target = spool.log_path(job_id, attempt)
    while True:
        try:
            disk.move(path, target)
        except FileExistsError:
            target = spool.log_path(f"{job_id}-{names.new_token(spool.rng)}", attempt)
            continue
        except FileNotFoundError:
            if files.sig_of(path) is None and files.sig_of(spool.tmp_dir) is not None:
                return False
            if not spool.restore(spool.folder(LOGS)):  # True if somebody had deleted it
                raise
            continue
        return True
