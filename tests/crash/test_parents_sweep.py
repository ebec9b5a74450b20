"""A process is killed at every change of the disk while it moves a blocked, an unmet or a revived job (P2, P4, P13)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.crash.driver import Operation, Template, allowed_endings, judge, recover, run_in_child
from tests.crash.inject import CHANGES, TORN
from tests.crash.parents import OPERATIONS, duties, wrong_about_parents

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")


def _judge(root: Path, template: Template, *, cut: bool) -> list[str]:
    operation = template.operation
    recover(root, operation, cut=cut, also=duties)
    wrong = judge(root, template, allowed_endings(operation, cut=cut))
    return wrong + ([] if operation.name == "purge the parent" else wrong_about_parents(SpoolDir(root / "spool")))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_any_change_leaves_no_job_between_parents(operation: Operation, folder: Path) -> None:
    """P13: after a kill anywhere each job ends as its parents say, once, and each unmet job can come back."""
    template = Template(operation, folder)
    root = template.copy()
    ran = run_in_child(operation, root)
    wrong = _judge(root, template, cut=False)
    assert not wrong, f"{operation.name}, not killed:\n" + "\n".join(wrong)
    changes = [call for call in ran.calls if call.kind in CHANGES]
    points = [(place, "before") for place in range(1, len(changes) + 1)] + [(len(changes), "after")]
    points += [(place, how) for place, call in enumerate(changes, 1) if call.kind == "write" for how in TORN]
    for place, how in points:
        root = template.copy()
        assert run_in_child(operation, root, place, how).killed, f"{operation.name} makes fewer calls than it did"
        wrong = _judge(root, template, cut=True)
        call = changes[place - 1]
        assert not wrong, f"{operation.name}, killed {how} change {place}, {call.kind} {call.path}:\n" + "\n".join(
            wrong
        )
    print(f"{len(points)} points: {operation.name}")
