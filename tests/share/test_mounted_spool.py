"""A spool that itself lies on a mounted share: workers say so, and list it instead of waiting for events."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.pool import Pool, queuectl
from tests.share.conftest import Queue
from tests.share.rig import Sshd, mount_sshfs

pytestmark = pytest.mark.share

FILES = 10_000


@pytest.fixture
def mounted(queue: Queue, sshd: Sshd, tmp_path: Path) -> Iterator[SpoolDir]:
    """The queue's spool as another machine sees it. (By itself SSHFS tells a listing again for 20 s.)"""
    with mount_sshfs(sshd, queue.spool.root, tmp_path / "mounted", "-o", "dir_cache=no") as folder:
        yield SpoolDir(folder)


def test_a_pool_on_a_mounted_spool_warns_and_lists(queue: Queue, mounted: SpoolDir) -> None:
    """P8: a job that another machine drops makes no event, and is found by a listing, however long `scan_s` is."""
    queuectl(queue.spool, "config", "set", "scan_s", "600")
    body = queue.body()
    with Pool(mounted).ready() as pool:
        shutil.copyfile(body, Path(queue.pending, "other.json"))
        queue.ran_once("other", sent=body, timeout=20)
    assert any("a network file system" in line for line in pool.errors)
    queue.nothing_else_ran("other")


@pytest.mark.bench
def test_what_a_listing_of_a_mounted_folder_costs(queue: Queue, mounted: SpoolDir) -> None:
    """Measured: names alone, and with a stat a file, of 10,000 waiting names: on the server and through SSHFS."""
    for number in range(FILES):
        Path(queue.pending, f"job-{number}.json").write_bytes(b"{}")
    for where, spool in (("on the server", queue.spool), ("through SSHFS", mounted)):
        started = time.perf_counter()
        found = spool.waiting_names()
        names_s = time.perf_counter() - started
        assert len(found) == FILES
        started = time.perf_counter()
        for name in found:
            os.lstat(spool.path("pending", name))
        print(
            f"{where}: {names_s:.3f} s for names alone, {time.perf_counter() - started:.3f} s more with a stat a file"
        )
