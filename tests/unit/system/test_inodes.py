"""inodes: whether a name still belongs to an open file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.system import disk, inodes


def test_same_file_by_handle_and_name(tmp_path: Path) -> None:
    """A lock on a file that was deleted and made again is noticed (P3)."""
    path = tmp_path / "lock"
    fd = disk.open_lock_file(str(path))
    try:
        assert inodes.id_of_named(fd, str(path)) is not None
        if sys.platform == "win32":  # nobody can take an open lock file away
            with pytest.raises(PermissionError):
                path.rename(tmp_path / "old")
            (tmp_path / "other").write_bytes(b"")
            assert None is inodes.id_of_named(fd, str(tmp_path / "other"))
            return
        path.rename(tmp_path / "old")
        assert None is inodes.id_of_named(fd, str(path))
        path.write_bytes(b"")
        assert None is inodes.id_of_named(fd, str(path))
    finally:
        os.close(fd)
