"""examples/cluster.py, as a newcomer runs it."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.cluster.rig import PYTHON, ROOT, Rig

pytestmark = pytest.mark.cluster


@pytest.mark.slow
def test_the_example_runs_all_jobs_though_a_node_is_killed(rig: Rig) -> None:
    """P1, P3: 60 of 60 jobs are done, and no process is left."""
    argv = [PYTHON, os.path.join(ROOT, "examples", "cluster.py"), "--jobs", "60"]
    environment = {**rig.environment, "TMPDIR": str(rig.folder)}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, env=environment, check=False)
    assert done.returncode == 0, done
    assert "60 of 60 jobs are done" in done.stdout
