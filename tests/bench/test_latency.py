"""How soon a drop starts on an idle pool: measured and printed, never asserted."""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.helpers import wait_until
from tests.pool import Pool

pytestmark = pytest.mark.bench


def test_latency_of_a_drop_on_an_idle_pool(spool: SpoolDir, tmp_path: Path) -> None:
    """From the rename into pending/ to the command's first instruction, 100 times."""
    stamp = tmp_path / "stamp"
    job = {"command": f'date +%s%N > "{stamp}.tmp" && mv "{stamp}.tmp" "{stamp}"'}
    waits_ms = []
    with Pool(spool, count=2).ready():
        for number in range(100):
            outside = tmp_path / "x"
            outside.write_text(json.dumps(job))
            wait_until(lambda: not spool.job_names("running") and not spool.job_names("pending"))
            began = time.time_ns()
            os.rename(outside, spool.path("pending", f"drop{number}.json"))
            wait_until(stamp.exists)
            waits_ms.append((int(stamp.read_text()) - began) / 1e6)
            stamp.unlink()
    waits_ms.sort()
    print(
        f"\ndrop to start, ms: p50 {statistics.median(waits_ms):.2f}, p95 {waits_ms[94]:.2f}, max {waits_ms[-1]:.2f}"
        " (the shell's own start and date's included)"
    )
