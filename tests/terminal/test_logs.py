"""`queuectl logs -f` on a real terminal, from a job's first run to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.terminal.terminal import CTRL_C, queuectl


def test_logs_follow_a_job_over_its_runs(spool: SpoolDir, tmp_path: Path) -> None:
    """What each run prints comes while it runs, nothing in it acts on the terminal, and the exit code is the job's."""
    go = tmp_path / "go"
    command = f"printf 'begun \\033[2J\\n'; until test -e {go}; do sleep 0.02; done; echo over; exit 7"
    Spool(spool.root).enqueue(command, id="job", max_retries=1, backoff_max=0.1, jitter=0)
    with queuectl("--spool", spool.root, "logs", "-f", "job") as terminal:
        terminal.wait_for("job is waiting; to see why: queuectl why job")
        argv = [sys.executable, "-m", "queuectl", "--spool", spool.root, "worker", "start", "--drain"]
        pool = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            terminal.wait_for("begun \\x1b[2J")
            assert "over" not in terminal.text
            go.touch()
            terminal.wait_for("over", "attempt 2 of job:")
            assert terminal.end() == 7
        finally:
            assert pool.wait(60) == 0
        assert terminal.text.count("over") == 2
        assert "job is dead: exit 7" in terminal.text


def test_ctrl_c_ends_following_only(spool: SpoolDir) -> None:
    """Ctrl-C ends the looking with 130; the job is where it was."""
    Spool(spool.root).enqueue("true", id="job")
    with queuectl("--spool", spool.root, "logs", "-f", "job") as terminal:
        terminal.wait_for("job is waiting")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        assert "interrupted" in terminal.text
    assert Spool(spool.root).get("job").state == "pending"
