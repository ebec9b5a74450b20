"""demo: what a newcomer sees first has to work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from queuectl.cli import program
from queuectl.cli.commands import demo
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands, run
from tests.helpers import listing, names_in


def test_demo_shows_the_whole_life(tmp_path: Path, queuectl: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A success, a failure into the DLQ, a retry from there and the listing, with real workers, twice in one spool."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    root = str(tmp_path / "demo")
    result = run("--spool", root, "demo")
    for part in (
        "Hello World",
        "to dlq/: queuectl retry needy",
        "needy\tdone\t1/3",
        "hello\tdone\t1/3",
        root,
        "Next:",
    ):
        assert part in result.out
    assert f"   {program.quoted(sys.executable)} -m queuectl --spool {program.quoted(root)} show needy\n" in result.out
    assert listing(SpoolDir(root)) == {"done": ["hello.json", "needy.json"]}
    assert run("--spool", root, "logs", "needy").out.strip() == "Here I am."
    monkeypatch.setattr(demo, "_BASE", 0)  # the delays have been seen
    queuectl("--spool", root, "demo")
    assert len(names_in(SpoolDir(root), "done")) == 4
