"""A process is killed at every change of the disk that a look at the schedules makes (P14)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.spool.folder import SpoolDir
from tests.crash.driver import Hands, Operation, Template, run_in_child
from tests.crash.inject import CHANGES, TORN
from tests.crash.schedules import OPERATIONS, Wanted, look, move_on, wrong_about

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")


def _recover(root: Path, operation: Operation) -> None:
    """What the next pool does: look. The clock is where the killed process had it."""
    hands = Hands(root, "again")
    try:
        operation.begin(hands)
        look(hands)
    finally:
        hands.close()


@pytest.mark.parametrize(("operation", "wanted"), OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_any_change_makes_each_tick_once(operation: Operation, wanted: Wanted, folder: Path) -> None:
    """P14: wherever a pool is killed, the next one makes each tick once, wherever its job has gone meanwhile."""
    template = Template(operation, folder)
    root = template.copy()
    ran = run_in_child(operation, root)
    wrong = wrong_about(SpoolDir(root / "spool"), wanted)
    assert not wrong, f"{operation.name}, not killed: {wrong}"
    changes = [call for call in ran.calls if call.kind in CHANGES]
    points = [(place, how) for place in range(1, len(changes) + 1) for how in ("before", "after")]
    points += [(place, how) for place, call in enumerate(changes, 1) if call.kind == "write" for how in TORN]
    has_jobs = bool(wanted.hours) and "waits" not in operation.name
    for place, how in points:
        for state in (PENDING, RUNNING, DONE, DLQ, "") if has_jobs else ("",):
            root = template.copy()
            assert run_in_child(operation, root, place, how).killed, f"{operation.name} makes fewer calls than it did"
            spool = SpoolDir(root / "spool")
            if state:
                move_on(spool, state)
            _recover(root, operation)
            wrong = wrong_about(spool, wanted)
            call = changes[place - 1]
            where = f"{operation.name}, killed {how} change {place}, {call.kind} {call.path}; moved to {state or '-'}"
            assert not wrong, f"{where}:\n" + "\n".join(wrong)
    print(f"{len(points)} points: {operation.name}")
