"""The scratch folder of a keeper."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.cluster.protocol import EXIT, RunEnd
from queuectl.cluster.scratch import Scratch, ScratchError, Told
from tests.helpers import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nodes of a cluster run on Linux")

END = RunEnd("abc123.a.1", EXIT, 0, "", 0.5, 3)


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    """An empty scratch folder."""
    made = Scratch(str(tmp_path / "scratch"))
    made.prepare()
    return made


def test_outcomes_survive_until_they_are_acknowledged(scratch: Scratch) -> None:
    """P4: What is written is found by the next keeper; what is torn or too old is not."""
    scratch.write_end("s", END)
    Path(scratch.path("abc123.b.1", "end")).write_text('["s", "{')
    scratch.write_end("s", END._replace(run="abc123.c.1"))
    os.utime(scratch.path("abc123.c.1", "end"), (0, 0))
    assert scratch.untold() == [Told("s", END)]
    assert os.listdir(scratch.runs) == ["abc123.a.1.end"]
    scratch.forget(END.run)
    assert os.listdir(scratch.runs) == []


def test_burial_deletes_lost_runs_and_keeps_outcomes(scratch: Scratch) -> None:
    """P4: The output of a run with an outcome stays; a run without one is lost with its files."""
    scratch.write_end("s", END)
    for name in ("abc123.a.1.out", "abc123.a.1.lock", "abc123.b.1.out", "abc123.b.1.lock"):
        Path(scratch.runs, name).touch()
    Path(scratch.path("abc123.b.1", "d")).mkdir()
    Path(scratch.path("abc123.b.1", "d"), "file").touch()
    assert scratch.bury(0.0)
    wait_until(lambda: sorted(os.listdir(scratch.runs)) == ["abc123.a.1.end", "abc123.a.1.out"])


def test_members_are_remembered(scratch: Scratch) -> None:
    """P5: The newest hundred members are known, in order; a broken line is not one of them."""
    assert scratch.members() == []
    for number in range(120):
        scratch.enter(f"m{number}", "h")
    assert scratch.members() == [(f"m{number}", "h") for number in range(20, 120)]
    Path(scratch.root, "members").write_text("torn\nm h\n")
    assert scratch.members() == [("m", "h")]


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    """P10: Neither a folder that others can enter nor a link will do."""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    for name in ("open", "link"):
        with pytest.raises(ScratchError, match="nobody else can enter"):
            Scratch(str(tmp_path / name)).prepare()


def test_a_node_that_drains_says_so_after_a_restart(scratch: Scratch) -> None:
    """The wish to drain is on disk."""
    for on in (True, True, False, False):
        scratch.drain(on)
        assert Scratch(scratch.root).is_draining is on
