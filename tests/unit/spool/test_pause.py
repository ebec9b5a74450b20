"""pause: the file PAUSED."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import NoReturn

import pytest

from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files, sharing
from tests.helpers import NOON_AT


def test_paused_is_a_file_with_a_reason(spool: SpoolDir) -> None:
    """Anybody can pause a spool with any tool, and say why."""
    assert not pause.is_paused(spool)
    assert pause.reason(spool) == ""
    Path(spool.paused_path).write_bytes(b"disk is being moved\nby Ann\xff")
    assert pause.is_paused(spool)
    assert pause.reason(spool) == "disk is being moved"


def test_a_pause_says_when_it_ends(spool: SpoolDir, rng: random.Random) -> None:
    """The second line is an instant; what is none, or is missing, means that the pause does not end by itself."""
    assert pause.until(spool) is None
    pause.pause(spool, "two\nlines", until_at=NOON_AT)
    assert (pause.reason(spool), pause.until(spool)) == ("two lines", NOON_AT)
    Path(spool.paused_path).write_text("why\nuntil noon\n")
    assert (pause.is_paused(spool), pause.until(spool)) == (True, None)
    assert pause.resume(spool)
    assert not pause.resume(spool)


@pytest.mark.parametrize("queue", ["", "mail"])
def test_a_program_that_has_the_file_open_delays_nobody(
    spool: SpoolDir, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    """A pool reads the file in its loop, and ends the pause later; it waits for an editor for an instant only (P9)."""
    waits: list[float] = []

    def held(*_: object, patience_s: float = sharing.SHARING_DEADLINE_S) -> NoReturn:
        waits.append(patience_s)
        error = PermissionError(13, "an editor has it open")
        error.winerror = 32
        raise error

    pause.pause(spool, "lunch", until_at=NOON_AT, queue=queue)
    with monkeypatch.context() as patch:
        patch.setattr(files, "patiently", held)
        assert (pause.reason(spool, queue), pause.until(spool, queue)) == ("", None)
        assert not pause.is_over(spool, NOON_AT, queue)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "patiently", held)
        assert not pause.is_over(spool, NOON_AT, queue)
    assert len(waits) >= 4 and max(waits) <= sharing.GLANCE_S
    assert not pause.is_over(spool, NOON_AT - 1, queue)
    assert pause.is_over(spool, NOON_AT, queue) and not pause.is_paused(spool, queue)


def test_a_folder_named_paused_is_left_alone(spool: SpoolDir, rng: random.Random) -> None:
    """A folder pauses the spool, and no program deletes it."""
    os.mkdir(spool.paused_path)
    assert (pause.is_paused(spool), pause.reason(spool), pause.until(spool)) == (True, "", None)
    with pytest.raises(IsADirectoryError):
        pause.resume(spool)
    with pytest.raises(IsADirectoryError):
        pause.pause(spool, "", until_at=None)
    assert os.path.isdir(spool.paused_path)
