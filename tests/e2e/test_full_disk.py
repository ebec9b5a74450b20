"""A full disk under one worker process with four slots: all waits, nothing is lost or runs twice (P1, P3, P9)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.model import names
from queuectl.spool.folder import SpoolDir
from tests.helpers import make_spool, wait_until
from tests.pool import Pool, Witness, ends_with, queuectl

SLOTS = 4
JOBS = [f"job{number}" for number in range(SLOTS)]
PAGE_BYTES = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB with few inodes, of its own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounts a file system, which needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=600", "none", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def spool(disk: Path) -> SpoolDir:
    """A spool there, whose pools have one worker process; every lock file of ids was used before."""
    made = make_spool(disk / "spool")
    for stripe in range(names.STRIPE_COUNT):
        Path(made.stripe_path(stripe)).touch(0o600)
    queuectl(made, "config", "set", "worker_processes", "1")
    return made


def fill_bytes(disk: Path) -> None:
    """Leave no room."""
    with open(disk / "ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * PAGE_BYTES)


def fill_inodes(disk: Path) -> None:
    """Let no file be created."""
    (disk / "many").mkdir()
    with contextlib.suppress(OSError):
        for number in range(1000):
            (disk / "many" / str(number)).touch()


def make_room(disk: Path) -> None:
    """Undo what filled the disk."""
    (disk / "ballast").unlink(missing_ok=True)
    for path in (disk / "many").glob("*"):
        path.unlink()


def test_outcomes_wait_for_room_beside_each_other(spool: SpoolDir, disk: Path, tmp_path: Path) -> None:
    """An outcome that needs a new page of its record waits in its slot, and is recorded once there is room (P4, P9)."""
    witness = Witness(tmp_path / "witness")
    for number, job_id in enumerate(JOBS):
        # The name of the worker decides where `started` ends. Of these records some cross the page by their outcome.
        meta = {"padding": "x" * (PAGE_BYTES - 900 + 90 * number)}
        document = {"id": job_id, "command": witness.command(seconds=witness.gate), "meta": meta}
        queuectl(spool, "enqueue", json.dumps(document))
    with Pool(spool, count=SLOTS) as pool:
        wait_until(lambda: all(witness.starts(job_id) for job_id in JOBS))
        fill_bytes(disk)
        queuectl(spool, "enqueue", "--id", "refused", "--command", "x" * 2 * PAGE_BYTES, check=False)
        assert "refused" not in "".join(spool.waiting_names())
        witness.open_gate()
        pool.event("trouble")
        assert all(spool.find(job_id) for job_id in JOBS)
        make_room(disk)
        ends_with(spool, {"done": SLOTS, "running": 0})
        queuectl(spool, "enqueue", "--id", "after", "--", "true")
        pool.event("succeeded", "after")
        assert len(pool.worker_pids()) == 1
    assert [len(witness.starts(job_id)) for job_id in JOBS] == [1] * SLOTS and not witness.overlapping()


def test_drops_wait_for_inodes(spool: SpoolDir, disk: Path, tmp_path: Path) -> None:
    """A drop whose record cannot be created goes back uncounted, and runs once there are inodes (P1, P9)."""
    witness = Witness(tmp_path / "witness")
    for job_id in JOBS:
        (disk / f"{job_id}.json").write_text(json.dumps({"id": job_id, "command": witness.command()}))
    with Pool(spool, count=SLOTS) as pool:
        for job_id in JOBS:  # so that each slot has its files
            queuectl(spool, "enqueue", "--id", f"first-{job_id}", "--", *witness.command(seconds=witness.gate))
        wait_until(lambda: len(witness.lines()) == SLOTS)
        witness.open_gate()
        ends_with(spool, {"done": SLOTS})
        fill_inodes(disk)
        for job_id in JOBS:
            os.rename(disk / f"{job_id}.json", spool.path("pending", f"{job_id}.json"))
        pool.event("trouble")
        assert all(spool.find(job_id) and not witness.starts(job_id) for job_id in JOBS)
        make_room(disk)
        ends_with(spool, {"done": 2 * SLOTS, "running": 0})
    assert [len(witness.starts(job_id)) for job_id in JOBS] == [1] * SLOTS
    for job_id in JOBS:
        assert [each.event for each in spool.read("done", f"{job_id}.json").record.history][-2:] == [
            "started",
            "succeeded",
        ]
