"""Fixtures of the command line's tests: commands in this process, and commands as people run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to type in, away from every spool; nothing of the tester's own settings shines through."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("QUEUECTL_SPOOL", "NO_COLOR", "_QUEUECTL_COMPLETE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("TERM", "xterm")
    return folder


@pytest.fixture
def queuectl(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands on `spool`."""
    monkeypatch.setenv("QUEUECTL_SPOOL", spool.root)
    return Commands(monkeypatch)
