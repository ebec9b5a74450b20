"""A process is killed at every change that the split of a flow makes; then every promise is checked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.crash.driver import Operation
from tests.crash.flows import OPERATIONS
from tests.crash.points import by_default
from tests.crash.test_crash_sweep import sweep

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")


@pytest.mark.parametrize("nth", by_default(2))
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_any_change_breaks_no_promise(operation: Operation, nth: int, folder: Path) -> None:
    """P1, P6: all jobs of the file are made once, or the whole file is kept in rejected/; no plan stays behind."""
    print(f"{sweep(operation, folder, nth=nth)} points: {operation.name}")
