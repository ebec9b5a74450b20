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


def _sweep(operation: Operation, wanted: Wanted, folder: Path, *, in_full: bool) -> int:
    """Kill the operation at its changes, let its jobs move on, look again, judge; return how often that was done.

    In full: before, after and within each change, the jobs in each state. Else before each change, in one state in turn.
    """
    template = Template(operation, folder)
    root = template.copy()
    ran = run_in_child(operation, root)
    wrong = wrong_about(SpoolDir(root / "spool"), wanted)
    assert not wrong, f"{operation.name}, not killed: {wrong}"
    changes = [call for call in ran.calls if call.kind in CHANGES]
    points = [(place, "before") for place in range(1, len(changes) + 1)] + [(len(changes), "after")]
    if in_full:
        points += [(place, "after") for place in range(1, len(changes))]
        points += [(place, how) for place, call in enumerate(changes, 1) if call.kind == "write" for how in TORN]
    states = ("", PENDING, DONE, RUNNING, DLQ) if wanted.hours and "waits" not in operation.name else ("",)
    kills = 0
    for number, (place, how) in enumerate(points):
        for state in states if in_full else (states[number % len(states)],):
            root = template.copy()
            assert run_in_child(operation, root, place, how).killed, f"{operation.name} makes fewer calls than it did"
            kills += 1
            spool = SpoolDir(root / "spool")
            if state:
                move_on(spool, state)
            _recover(root, operation)
            wrong = wrong_about(spool, wanted)
            call = changes[place - 1]
            where = f"{operation.name}, killed {how} change {place}, {call.kind} {call.path}; moved to {state or '-'}"
            assert not wrong, f"{where}:\n" + "\n".join(wrong)
    return kills


@pytest.mark.parametrize(("operation", "wanted"), OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_some_changes_makes_each_tick_once(operation: Operation, wanted: Wanted, folder: Path) -> None:
    """P14: a pool is killed before each change, and its jobs move on: the next pool makes each tick once."""
    print(f"{_sweep(operation, wanted, folder, in_full=False)} kills: {operation.name}")


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "wanted"), OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_any_change_makes_each_tick_once(operation: Operation, wanted: Wanted, folder: Path) -> None:
    """P14: wherever a pool is killed, the next one makes each tick once, wherever its job has gone meanwhile."""
    print(f"{_sweep(operation, wanted, folder, in_full=True)} kills: {operation.name}")
