"""A process is killed at every change of the disk while a run gives something back, snoozes, or is given up (P4)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.crash.desks import OPERATIONS, run_by_a_worker, wrong_results
from tests.crash.driver import Operation
from tests.crash.points import by_default
from tests.crash.test_crash_sweep import sweep

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")


@pytest.mark.parametrize("nth", by_default(2))
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_any_change_loses_no_result(operation: Operation, nth: int, folder: Path) -> None:
    """P4: a result that was whole is in logs/ and on record, and is of no other run; a snooze costs no attempt."""
    points = sweep(operation, folder, nth=nth, also=run_by_a_worker, further=wrong_results)
    print(f"{points} points: {operation.name}")
