"""A worker with two runs in flight is killed at every change of the disk; each job is rescued by its own lease.

The order of some changes depends on which of two things happens first, so a kill within a write may find none at its
place; then the operation just runs to its end, and is judged so.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.maintenance.sweeper import sweep_pools
from queuectl.spool import pools
from queuectl.spool.folder import SpoolDir
from tests.crash.driver import Operation, Template, allowed_endings, judge, recover, run_in_child
from tests.crash.inject import CHANGES, TORN
from tests.crash.slots import OPERATIONS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")


def _points(template: Template) -> list[tuple[int, str]]:
    changes = [call for call in run_in_child(template.operation, template.copy()).calls if call.kind in CHANGES]
    points = [(place, how) for place in range(1, len(changes) + 1) for how in ("before", "after")]
    return points + [(place, how) for place, call in enumerate(changes, 1) if call.kind == "write" for how in TORN]


def _kill(template: Template, place: int, how: str) -> bool:
    operation = template.operation
    root = template.copy()
    killed = run_in_child(operation, root, place, how).killed
    spool = SpoolDir(root / "spool")
    assert pools.live(spool) == []
    recover(root, operation, cut=killed)
    wrong = judge(root, template, allowed_endings(operation, cut=killed))
    sweep_pools(spool)
    wrong += [f"{name} is left of the pool" for name in os.listdir(spool.pool_dir)]
    assert not wrong, f"{operation.name}, killed {how} change {place}:\n" + "\n".join(wrong)
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_any_change_amid_two_runs_breaks_no_promise(operation: Operation, folder: Path) -> None:
    """P1 to P7: before, after and within every change; nothing is lost, doubled, torn, overlapping or stuck."""
    template = Template(operation, folder)
    points = _points(template)
    killed = sum(_kill(template, place, how) for place, how in points)
    print(f"{killed} kills at {len(points)} points: {operation.name}")
    assert killed >= 0.9 * len(points)


def test_a_kill_at_some_changes_amid_two_runs_breaks_no_promise(folder: Path) -> None:
    """P3, P5: the same at some points, while the command of the other run holds its lease; all of them: marked slow."""
    template = Template(OPERATIONS["two slots"], folder)
    points = [(place, how) for place, how in _points(template) if how in ("before", "after")]
    for place, how in points[3 :: len(points) // 4]:
        assert _kill(template, place, how)
