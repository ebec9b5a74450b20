"""What ends commands with the process that runs them."""

from __future__ import annotations

import os
import sys

import pytest

from queuectl.system import containment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the containments are Linux's")


def test_the_best_containment_works_here() -> None:
    """The choice is made by trying, so it names a way that works."""
    assert containment.works(containment.best())


def test_without_the_programs_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without util-linux commands are only buried."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("SYSTEMD_EXEC_PID", raising=False)
    assert containment.best() == containment.GROUP
    assert containment.prefix(containment.SIGNAL) == []


def test_systemd_contains_only_what_its_main_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that another one of the unit has started is not the unit's life."""
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    assert containment.works(containment.SYSTEMD)
    monkeypatch.setenv("SYSTEMD_EXEC_PID", "1")
    assert not containment.works(containment.SYSTEMD)
