"""A process is killed at every change of the disk while it takes in, replaces, claims or settles a unique job (P15)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.crash.driver import Operation, Template, allowed_endings, judge, recover, run_in_child
from tests.crash.inject import CHANGES, TORN
from tests.crash.points import by_default, each_nth
from tests.crash.uniques import ALONE, RIVALS, one_of_them_ran

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")


def _judge(root: Path, template: Template, *, cut: bool) -> list[str]:
    operation = template.operation
    recover(root, operation, cut=cut)
    wrong = judge(root, template, allowed_endings(operation, cut=cut))
    return wrong + (one_of_them_ran(SpoolDir(root / "spool")) if operation in RIVALS else [])


@pytest.mark.parametrize("nth", by_default(3))
@pytest.mark.parametrize("operation", [*RIVALS, *ALONE], ids=lambda operation: operation.name)
def test_a_kill_at_any_change_leaves_one_job_of_a_key(operation: Operation, nth: int, folder: Path) -> None:
    """P15: of two that wait exactly one runs, and none is lost (P1), wherever the kill was."""
    template = Template(operation, folder)
    root = template.copy()
    ran = run_in_child(operation, root)
    wrong = _judge(root, template, cut=False)
    assert not wrong, f"{operation.name}, not killed:\n" + "\n".join(wrong)
    changes = [call for call in ran.calls if call.kind in CHANGES]
    points = [(place, "before") for place in range(1, len(changes) + 1)] + [(len(changes), "after")]
    points += [(place, how) for place, call in enumerate(changes, 1) if call.kind == "write" for how in TORN]
    points = list(each_nth(points, nth, operation.name)) if changes else []
    for place, how in points:
        root = template.copy()
        assert run_in_child(operation, root, place, how).killed, f"{operation.name} makes fewer calls than it did"
        wrong = _judge(root, template, cut=True)
        call = changes[place - 1]
        assert not wrong, f"{operation.name}, killed {how} change {place}, {call.kind} {call.path}:\n" + "\n".join(
            wrong
        )
    print(f"{len(points)} points: {operation.name}")
