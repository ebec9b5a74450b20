"""A process is killed at every change of the disk while it moves a blocked, an unmet or a revived job (P2, P4, P13)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.crash.driver import Operation
from tests.crash.parents import OPERATIONS, duties, wrong_about_parents
from tests.crash.points import by_default
from tests.crash.test_crash_sweep import sweep

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")


@pytest.mark.parametrize("nth", by_default(2))
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_any_change_leaves_no_job_between_parents(operation: Operation, nth: int, folder: Path) -> None:
    """P13: after a kill anywhere each job ends as its parents say, once, and each unmet job can come back."""

    def further(root: Path) -> list[str]:
        return [] if operation.name == "purge the parent" else wrong_about_parents(SpoolDir(root / "spool"))

    print(f"{sweep(operation, folder, nth=nth, also=duties, further=further)} points: {operation.name}")
