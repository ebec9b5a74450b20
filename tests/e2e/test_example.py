"""Real work: the example that compresses the standard library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import LONG

EXAMPLE = Path(__file__).parents[2] / "examples" / "compress_stdlib.py"


def _run(*options: str) -> str:
    done = subprocess.run([sys.executable, str(EXAMPLE), *options], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_forty_files_are_compressed_as_if_directly() -> None:
    """Half enqueued and half dropped, every result is the same, byte for byte."""
    assert "40 of 40 results are the same, byte for byte" in _run("--limit", "40")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_standard_library_is_compressed() -> None:
    """Each of 300 files, or with QUEUECTL_LONG=10 of all, by a job of its own, none missing or different."""
    print(_run("--limit", str(int(300 * LONG))))
