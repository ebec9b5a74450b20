"""Ctrl-C in a console: the real event, which Windows hands to every process of the console at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows only", allow_module_level=True)

from queuectl.spool.folder import SpoolDir
from tests.helpers import listing, only
from tests.pool import SLEEP, Witness, queuectl

CONSOLE = Path(__file__).with_name("console.py")


def press_ctrl_c(spool: SpoolDir, times: int, gate: Path) -> subprocess.CompletedProcess[str]:
    """Run a pool in a console and press Ctrl-C there once a job runs, then as soon as the pool says that it stops.

    Once it has said so after the last time, the file `gate` is there.
    """
    pool = [sys.executable, "-m", "queuectl", "--spool", spool.root, "worker", "start", "--log-format", "json"]
    return subprocess.run(
        [sys.executable, str(CONSOLE), str(times), str(gate), *pool],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
        creationflags=subprocess.CREATE_NEW_CONSOLE,
    )


def test_ctrl_c_lets_the_running_job_end(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: Ctrl-C stops the pool gracefully: the job that runs ends and is recorded, the next one stays waiting."""
    gate = tmp_path / "gate"
    command = Witness(tmp_path / "w").command(seconds=f"@{gate}")
    queuectl(spool, "enqueue", "--id", "runs", "--max-retries", "0", "--", *command)
    queuectl(spool, "enqueue", "--id", "waits", "--priority", "-1", "--", *SLEEP)
    done = press_ctrl_c(spool, 1, gate)
    assert done.returncode == 0, done.stdout
    assert listing(spool) == {"done": ["runs.json"], "pending": ["waits,prio=-1.json"]}, done.stdout


def test_ctrl_c_twice_puts_the_running_job_back(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: pressed again, Ctrl-C ends the run now; the job goes back uncounted although it may not be retried."""
    queuectl(spool, "enqueue", "--id", "job", "--max-retries", "0", "--", *SLEEP)
    done = press_ctrl_c(spool, 2, tmp_path / "gate")
    assert done.returncode == 0, done.stdout
    assert listing(spool) == {"pending": ["job.json"]}, done.stdout
    events = [event.event for event in spool.read("pending", only(spool, "pending")).record.history]
    assert events == ["enqueued", "started", "released"]


def test_top_without_a_console_says_so(spool: SpoolDir) -> None:
    """The null device says that it is a terminal, but has no keys and no screen."""
    argv = [sys.executable, "-m", "queuectl", "--spool", spool.root, "top"]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "needs a Windows console" in done.stderr
    assert "queuectl status" in done.stderr
