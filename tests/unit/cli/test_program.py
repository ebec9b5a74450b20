"""How a command to copy calls queuectl again."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from queuectl.cli import program

NAME = "queuectl.exe" if os.name == "nt" else "queuectl"


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """A program of that name in a folder whose name has a space."""
    folder = tmp_path / "my tools"
    folder.mkdir()
    path = folder / NAME
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_on_path_is_called_by_its_name(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short name calls the same file."""
    monkeypatch.setenv("PATH", os.path.dirname(installed))
    monkeypatch.setattr(sys, "argv", [installed, "demo"])
    assert program.typed() == "queuectl"


@pytest.mark.parametrize("other", [False, True])
def test_another_program_is_called_as_it_was_typed(
    installed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    """No such name on PATH, or another file of that name: the typed path, quoted."""
    elsewhere = tmp_path / "bin"
    elsewhere.mkdir()
    if other:
        shutil.copy(installed, elsewhere / NAME)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(elsewhere))
    typed = os.path.join("my tools", NAME)
    monkeypatch.setattr(sys, "argv", [typed, "demo"])
    assert program.typed() == program.quoted(typed)
    assert program.typed()[0] == program.typed()[-1] and program.typed()[0] in "'\""


def test_a_module_is_called_by_its_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m queuectl` has no program of its own."""
    monkeypatch.setattr(sys, "argv", [os.path.join("site", "queuectl", "__main__.py")])
    assert program.typed() == f"{program.quoted(sys.executable)} -m queuectl"


def test_a_program_that_calls_main_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's own path would not run queuectl."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    assert program.typed() == "queuectl"
