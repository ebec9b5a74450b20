"""The measurements can be run: `python -m bench --quick` prints its tables and ends well, whatever the figures are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the measurements need POSIX")]

ROOT = Path(__file__).parents[2]


def test_quick_measurement_prints_its_tables(tmp_path: Path) -> None:
    """Throughput and latency are measured and shown, and nothing is left behind."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--dir", str(tmp_path), "A", "B"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    for title in ("A: throughput, 2 workers", "A: one long job among short ones", "B: latency"):
        assert f"## {title}" in done.stdout
    assert "failed" not in done.stdout
    assert os.listdir(tmp_path) == []


def test_unknown_work_is_named() -> None:
    """A letter that is no work is refused, with its name."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "Q"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "no work Q" in done.stderr
