"""output: what commands have printed."""

from __future__ import annotations

import os
from pathlib import Path

from queuectl.spool.folder import SpoolDir
from queuectl.spool.output import keep_output


def _logs(spool: SpoolDir) -> dict[str, bytes]:
    folder = Path(spool.folder("logs"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_output_of_a_dead_worker_is_kept(spool: SpoolDir) -> None:
    """Rescue makes a log of what the abandoned run printed; an empty or missing file is nothing."""
    path = Path(spool.output_path("w9.0"))
    path.write_bytes(b"last words")
    keep_output(spool, str(path), "job1", 1)
    assert _logs(spool) == {"job1.1.log": b"last words"}
    path.write_bytes(b"")
    keep_output(spool, str(path), "job1", 2)
    keep_output(spool, str(path), "job1", 3)
    assert len(_logs(spool)) == 1
    assert os.listdir(spool.tmp_dir) == []
