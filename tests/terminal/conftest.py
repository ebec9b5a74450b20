"""These tests need pseudo terminals. Windows has none that a program could read as a person reads a screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock
from tests.helpers import Desk

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def now_desk(spool: SpoolDir) -> Iterator[Desk]:
    """A worker's hands on `spool`, at the time it is."""
    made = Desk(spool, clock=Clock())
    yield made
    made.close()


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the tester's own settings shines through."""
    for name in ("QUEUECTL_SPOOL", "NO_COLOR", "_QUEUECTL_COMPLETE", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
