"""`queuectl edit` on a real terminal with a real editor: a script that changes the file as a person would."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.terminal.terminal import ENTER, queuectl


@pytest.fixture
def editor(tmp_path: Path) -> str:
    """An editor that asks on its terminal for a sed command, and saves what that makes of the file."""
    path = tmp_path / "my editor.sh"
    path.write_text('#!/bin/sh\nprintf "edit: "; read -r change\nsed -i "$change" "$1"\n')
    path.chmod(0o755)
    return f"'{path}'"


def test_edit_takes_what_is_valid_and_asks_again(spool: SpoolDir, editor: str) -> None:
    """A mistake is told and asked about; the second try starts from what was typed, and is put in the job's place."""
    Spool(spool.root).enqueue("echo one", id="job", priority=1)
    with queuectl("--spool", spool.root, "edit", "job", env={"EDITOR": editor}) as terminal:
        terminal.wait_for("edit:")
        terminal.type('s/"priority": 1/"priority": "high"/' + ENTER)
        terminal.wait_for("error:", "priority", "edit it again? [Y/n]")
        assert Spool(spool.root).get("job").priority == 1
        terminal.type(ENTER)
        terminal.wait_for("again? [Y/n]:\nedit:")
        terminal.type('s/"high"/7/' + ENTER)
        terminal.wait_for("changed job")
        assert terminal.end() == 0
    assert Spool(spool.root).get("job").priority == 7


def test_edit_can_be_given_up(spool: SpoolDir, editor: str) -> None:
    """Who says no after a mistake changes nothing, and the exit code says so."""
    Spool(spool.root).enqueue("echo one", id="job")
    with queuectl("--spool", spool.root, "edit", "job", env={"EDITOR": editor}) as terminal:
        terminal.wait_for("edit:")
        terminal.type("s/{/[/" + ENTER)
        terminal.wait_for("error:", "edit it again? [Y/n]")
        terminal.type("n" + ENTER)
        assert terminal.end() == 5
    assert Spool(spool.root).get("job").command == "echo one"


@pytest.mark.slow
def test_edit_that_changes_nothing_says_so(spool: SpoolDir, editor: str) -> None:
    """What was not changed is not put back."""
    Spool(spool.root).enqueue("echo one", id="job")
    with queuectl("--spool", spool.root, "edit", "job", env={"EDITOR": editor}) as terminal:
        terminal.wait_for("edit:")
        terminal.type("s/x/x/" + ENTER)
        terminal.wait_for("nothing changed")
        assert terminal.end() == 0
