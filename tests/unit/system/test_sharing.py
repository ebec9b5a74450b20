"""sharing: what an error of the disk means."""

from __future__ import annotations

import errno

import pytest

from queuectl.system import sharing


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EROFS", "EIO", "ESTALE"])
def test_trouble_of_the_machine_is_known(name: str) -> None:
    """These are never held against a job (P9)."""
    assert sharing.is_trouble(OSError(getattr(errno, name), "x"))


@pytest.mark.parametrize("name", ["ENOENT", "EACCES", "EEXIST", "EISDIR", "ENAMETOOLONG"])
def test_trouble_of_one_file_is_not_the_machines(name: str) -> None:
    """A pool does not pause because of one name."""
    assert not sharing.is_trouble(OSError(getattr(errno, name), "x"))
