"""old_splits: what is left of a split whose file is gone goes after a while, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from queuectl.jobs.split import Splits
from queuectl.maintenance.debris import UNFINISHED_S
from queuectl.maintenance.sweeper import Sweeper
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, write_drop


def _make_old(folder: str) -> None:
    old_s = time.time() - UNFINISHED_S - 60
    for name in os.listdir(folder):
        os.utime(os.path.join(folder, name), (old_s, old_s))


def test_a_kill_at_the_refusal_of_a_flow_leaves_nothing_for_long(
    desk: Desk, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is in rejected/, so nothing names its plan any more; the note and the plan go after an hour."""
    flow = '{"ref": "a", "command": "true", "after": "b"}\n{"ref": "b", "command": "true", "after": "a"}\n'
    write_drop(spool, "flow.jsonl", flow)

    def killed(self: object, *_: object) -> None:
        raise KeyboardInterrupt

    splits: Splits = desk.claims.splits
    with monkeypatch.context() as patch:
        patch.setattr("queuectl.jobs.flow_split.FlowSplit.delete_plan", killed)
        with pytest.raises(KeyboardInterrupt):
            splits.split("flow.jsonl")
            for _ in range(5):
                splits.go_on(next(iter(f"taken/{name}" for name in os.listdir(spool.taken_dir))))
    assert os.listdir(spool.taken_dir) == []
    left = sorted(Path(name).suffix for name in os.listdir(spool.split_dir))
    assert left == [".json", ".plan"]
    sweeper = Sweeper(desk.session, desk.stripes)
    sweeper.sweep()
    assert len(os.listdir(spool.split_dir)) == 2
    _make_old(spool.split_dir)
    desk.clock.advance(3600)
    sweeper.sweep()
    assert os.listdir(spool.split_dir) == []


def test_the_note_of_a_file_that_is_there_stays(desk: Desk, spool: SpoolDir) -> None:
    """A file that waits for its next step, or was split, keeps its note however old it is; so does a foreign file."""
    write_drop(spool, "jobs.jsonl", '{"command": "true"}\n{"command": "true"}\n')
    desk.claims.splits.split("jobs.jsonl")
    Path(spool.split_dir, "mine.txt").write_text("mine")
    before = sorted(os.listdir(spool.split_dir))
    assert len(before) == 2
    _make_old(spool.split_dir)
    Sweeper(desk.session, desk.stripes).sweep()
    assert sorted(os.listdir(spool.split_dir)) == before
