"""blame: the trouble of one file told from the machine's by a proof (P6, P9)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from queuectl.spool.blame import Blame
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk
from tests.helpers import FakeClock, full_disk, names_in


@pytest.fixture
def blame(spool: SpoolDir, clock: FakeClock) -> Blame:
    """Who judges the errors of a spool."""
    return Blame(spool, clock=clock)


def _error(code: int, path: str | None = None) -> OSError:
    return OSError(code, os.strerror(code), path)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ENAMETOOLONG])
def test_an_error_of_a_machine_that_works_is_the_files(blame: Blame, spool: SpoolDir, code: int) -> None:
    """P6: the folders can be changed and a file can be written: so the file has the trouble alone."""
    path = spool.path("pending", "a.json")
    fault = blame.fault(_error(code, path), "elsewhere")
    assert fault is not None and fault.path == path and fault.text.startswith(os.path.join("pending", "a.json") + ": ")
    assert os.listdir(spool.tmp_dir) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE, errno.ENOMEM, errno.EROFS])
def test_an_error_that_says_so_is_the_machines(blame: Blame, spool: SpoolDir, code: int) -> None:
    """P9: a full disk needs no proof."""
    assert blame.fault(_error(code), spool.path("pending", "a.json")) is None


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_an_error_of_a_disk_that_takes_nothing_is_the_machines(
    blame: Blame, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """P9: no file can be made, so it is not this one's fault."""
    monkeypatch.setattr(disk, "create", full_disk)
    assert blame.fault(_error(code), spool.path("pending", "a.json")) is None


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs mode bits, and a user whom they bind")
@pytest.mark.parametrize("folder", ["pending", "running", "done"])
def test_a_closed_folder_is_the_machines(blame: Blame, spool: SpoolDir, folder: str) -> None:
    """P9: "not permitted" because nothing in the folder can be moved holds for all jobs."""
    path = Path(spool.folder(folder))
    path.chmod(0o555)
    try:
        assert blame.fault(_error(errno.EACCES), spool.path("pending", "a.json")) is None
    finally:
        path.chmod(0o755)


def test_a_proof_is_believed_for_a_second(
    blame: Blame, spool: SpoolDir, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of files in trouble cost one written file a second."""
    assert blame.fault(_error(errno.EPERM), spool.path("pending", "a.json"))
    monkeypatch.setattr(disk, "create", full_disk)
    assert blame.fault(_error(errno.EPERM), spool.path("pending", "b.json"))
    clock.advance(1.1)
    assert blame.fault(_error(errno.EPERM), spool.path("pending", "b.json")) is None
    assert names_in(spool, "pending") == []
