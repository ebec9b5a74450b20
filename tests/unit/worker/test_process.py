"""process: what a worker process is started with."""

from __future__ import annotations

import subprocess
import sys


def test_a_pool_that_forks_has_loaded_the_executor_before() -> None:
    """What is loaded once in the supervisor is not loaded by each worker."""
    code = "import sys; from queuectl.worker import process; process.preload(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    system = "windows" if sys.platform == "win32" else "posix"
    assert f"queuectl.worker.executors.{system}" in loaded
