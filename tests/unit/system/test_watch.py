"""Being woken by files that land in a folder."""

from __future__ import annotations

import os
import shutil
import sys
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from queuectl.system.watch import Watch
from tests.helpers import wait_until

if sys.platform != "win32":
    import resource


def _woken_by(watch: Watch, name: str) -> bool:
    """True once the watch has told of a file."""
    return bool(wait([watch.source], 0.5)) and name in watch.names()


def test_a_file_that_is_moved_in_is_told_of(tmp_path: Path) -> None:
    """A rename into the folder wakes whoever waits for the source, and the name is told once."""
    folder = tmp_path / "folder"
    folder.mkdir()
    watch = Watch(str(folder))
    assert watch.source is None
    assert watch.arm()
    number = 0

    def noticed() -> bool:  # on Windows the first rename may come before the watch is in place
        nonlocal number
        number += 1
        (tmp_path / "made").write_text("")
        (tmp_path / "made").rename(folder / f"file-{number}")
        return _woken_by(watch, f"file-{number}")

    wait_until(noticed)
    watch.close()


def test_a_disarmed_watch_tells_nothing(tmp_path: Path) -> None:
    """Under load events are not asked for; armed again, they are."""
    watch = Watch(str(tmp_path))
    assert watch.arm()
    watch.disarm()
    watch.names()
    (tmp_path / "unseen").write_text("")
    assert "unseen" not in watch.names()
    assert not watch.armed
    assert watch.arm()
    wait_until(lambda: (tmp_path / "seen").write_text("") == 0 and _woken_by(watch, "seen"))
    watch.close()


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere watchdog's thread has the folder")


@linux_only
def test_a_folder_that_is_gone_ends_the_watch(tmp_path: Path) -> None:
    """It cannot be armed on no folder; where the folder goes while it is watched, it can be armed on the next one."""
    folder = tmp_path / "folder"
    watch = Watch(str(folder))
    assert not watch.arm()
    folder.mkdir()
    assert watch.arm()
    shutil.rmtree(folder)
    wait_until(lambda: not watch.names() and not watch.armed)
    folder.mkdir()
    assert watch.arm()
    watch.close()


@linux_only
def test_no_handle_is_left(tmp_path: Path) -> None:
    """Arming and closing again and again uses no more handles than once."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        watch = Watch(str(tmp_path))
        assert watch.arm()
        watch.disarm()
        assert watch.arm()
        watch.close()
    assert len(os.listdir("/proc/self/fd")) == before


@linux_only
def test_a_folder_that_was_renamed_away_is_not_watched_any_more(tmp_path: Path) -> None:
    """The next one of that name is."""
    folder = tmp_path / "folder"
    folder.mkdir()
    watch = Watch(str(folder))
    assert watch.arm()
    folder.rename(tmp_path / "away")
    folder.mkdir()
    wait_until(lambda: not watch.names() and not watch.armed)
    assert watch.arm()
    wait_until(lambda: (folder / "seen").write_text("") == 0 and _woken_by(watch, "seen"))
    watch.close()


@linux_only
def test_no_handle_is_lost_where_there_are_too_few(tmp_path: Path) -> None:
    """A watch that cannot be made, for want of one more handle, gives back those that it got."""
    watch = Watch(str(tmp_path))
    assert watch.arm()  # loads watchdog
    watch.close()
    before = len(os.listdir("/proc/self/fd"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(highest - before + 2)]  # no gaps below the limit
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 2, limits[1]))
        assert not any(watch.arm() for _ in range(5))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in held:
            os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before
