"""The scratch folder of a keeper."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from queuectl.cluster.scratch import Scratch, ScratchError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nodes of a cluster run on Linux")


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    """An empty scratch folder."""
    made = Scratch(str(tmp_path / "scratch"))
    made.prepare()
    return made


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
