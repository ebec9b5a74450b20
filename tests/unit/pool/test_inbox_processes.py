"""The receivers of a pool: one that hangs is killed, reported and followed by another."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.inbox import process
from queuectl.model import settings as config
from queuectl.model.inbox import Inbox
from queuectl.pool import inbox_processes
from queuectl.pool.inbox_processes import InboxProcesses
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from tests.helpers import names_in, wait_until

if sys.platform == "win32":
    pytest.skip("no process can be stopped and continued by a signal there", allow_module_level=True)


class Line:
    """The inbox process of anna's inbox, and what a pool reports of it."""

    def __init__(self, spool: SpoolDir, folder: Path) -> None:
        settings = config.defaults()._replace(
            inboxes=(Inbox(path=str(folder), mode="trusted", owner="anna"),), durability="off", scan_s=0.05
        )
        self.told: list[str] = []
        self.inboxes = InboxProcesses(
            Session(spool, settings, Clock(), random.Random()), notify=lambda notice: self.told.append(notice.text)
        )

    def step(self) -> int:
        """One round of a supervisor; the process id, 0 if there is none."""
        self.inboxes.step(fork=sys.platform == "linux", close_inherited=lambda: None)
        (child,) = self.inboxes._children
        while child.conn is not None and child.conn.poll(0.01):
            self.inboxes.receive(child)
        return child.process.pid if child.conn is not None and child.is_drained is not None else 0


@pytest.fixture
def line(spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """See `Line`; a pause is short."""
    monkeypatch.setattr(inbox_processes, "_AGAIN_S", 0.1)
    (tmp_path / "anna").mkdir()
    made = Line(spool, tmp_path / "anna")
    yield made
    made.inboxes.close()


def test_an_inbox_process_that_hangs_is_killed_and_followed_by_another(
    spool: SpoolDir, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: whatever it hangs on: it is killed and reported, and the next one takes in what lies there."""
    old = wait_until(line.step)
    os.kill(old, signal.SIGSTOP)
    (tmp_path / "anna" / "job.json").write_text('{"command": "true"}')
    monkeypatch.setattr(inbox_processes, "_SILENT_S", 0.5)
    wait_until(lambda: line.step() != old)
    monkeypatch.setattr(inbox_processes, "_SILENT_S", 60.0)
    wait_until(lambda: line.step() not in (0, old))
    wait_until(lambda: line.step() and names_in(spool, "pending"))
    assert [text for text in line.told if "killed" in text] == [
        "anna: the receiver has not answered for 0 s and was killed; a new one starts in 0 s"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only a forked process has the shorter interval of this test")
def test_an_inbox_process_that_goes_on_gives_signs_of_life(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come while nothing happens, and far more often than one would be taken for hanging."""
    assert process.BEAT_S * 4 < inbox_processes._SILENT_S
    monkeypatch.setattr(process, "BEAT_S", 0.1)
    pid = wait_until(line.step)
    (child,) = line.inboxes._children
    for _ in range(3):
        child.silent_s = 50.0
        wait_until(lambda: line.step() == pid and child.silent_s < 10)
    assert line.told == []


def test_each_hang_in_a_row_doubles_patience_and_pause(line: Line) -> None:
    """A folder that takes minutes to list is listed in the end, and one that never answers costs little."""
    (child,) = line.inboxes._children
    patience = []
    for child.hung in (0, 1, 2, 30):
        patience.append(child.patience_s)
    assert patience == [60.0, 120.0, 240.0, inbox_processes._SILENT_MOST_S]
