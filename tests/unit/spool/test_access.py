"""access: what an OSError of the spool means to a person."""

from __future__ import annotations

import errno
import os

import pytest

from queuectl.errors import DamagedRecordError, SpoolUnavailableError
from queuectl.spool.access import unavailable
from queuectl.spool.folder import SpoolDir
from queuectl.system.files import NotRegularError


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permissions"),
        (errno.EIO, ""),
    ],
)
def test_an_error_of_the_disk_says_what_to_do(spool: SpoolDir, code: int, hint: str) -> None:
    """The cause names the file, the hint what a person can do about it."""
    error = unavailable(spool, OSError(code, os.strerror(code), "/x/y"))
    assert isinstance(error, SpoolUnavailableError)
    assert error.path == spool.root
    assert error.cause == f"/x/y: {os.strerror(code)}"
    assert hint in error.hint and bool(hint) == bool(error.hint)


def test_what_is_no_regular_file_is_not_the_disk_s_fault(spool: SpoolDir) -> None:
    """A FIFO in the place of a job is left alone and named."""
    error = unavailable(spool, NotRegularError(errno.EINVAL, "is no regular file", "/x/fifo"))
    assert isinstance(error, DamagedRecordError)
    assert error.path == "/x/fifo"
