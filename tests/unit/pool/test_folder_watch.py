"""folder_watch: a look is left out only if nothing can have changed (P8)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.pool.folder_watch import FolderWatch
from tests.helpers import FakeClock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there every look is made")


def aged(path: Path, clock: FakeClock, seconds: float) -> None:
    """Let the folder have changed so long ago."""
    at = clock.now() - seconds
    os.utime(path, (at, at))


def test_a_quiet_folder_is_not_looked_at_again(tmp_path: Path) -> None:
    """Until it changes, and once in half a minute."""
    clock = FakeClock()
    aged(tmp_path, clock, 60)
    watch = FolderWatch([str(tmp_path)], clock=clock, is_local=True)
    assert [watch.may_have_changed() for _ in range(3)] == [True, False, False]
    clock.advance(31)
    assert [watch.may_have_changed() for _ in range(2)] == [True, False]
    (tmp_path / "new").touch()
    aged(tmp_path, clock, 5)
    assert [watch.may_have_changed() for _ in range(2)] == [True, False]


def test_a_folder_that_has_just_changed_is_looked_at_again(tmp_path: Path) -> None:
    """A change in the same tick of the file system's clock would not show."""
    clock = FakeClock()
    aged(tmp_path, clock, 1)
    watch = FolderWatch([str(tmp_path)], clock=clock, is_local=True)
    assert [watch.may_have_changed() for _ in range(3)] == [True, True, True]
    clock.advance(5)
    assert [watch.may_have_changed() for _ in range(3)] == [True, False, False]


def test_times_of_the_future_and_of_shares_prove_nothing(tmp_path: Path) -> None:
    """A clock that was set back, a file system of another machine, and a folder that is gone."""
    clock = FakeClock()
    aged(tmp_path, clock, -3600)
    watch = FolderWatch([str(tmp_path)], clock=clock, is_local=True)
    assert [watch.may_have_changed() for _ in range(2)] == [True] * 2
    aged(tmp_path, clock, 60)
    for watch in (
        FolderWatch([str(tmp_path)], clock=clock, is_local=False),
        FolderWatch([str(tmp_path / "gone")], clock=clock, is_local=True),
    ):
        assert [watch.may_have_changed() for _ in range(3)] == [True] * 3
