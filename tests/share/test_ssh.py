"""Producers that come by SSH: sftp, scp, rsync, and a folder mounted with SSHFS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.pool import Pool, queuectl
from tests.share.conftest import Queue
from tests.share.rig import Sshd, finished, mount_sshfs, need

pytestmark = pytest.mark.share

SLOW_KBIT_S = 400  # 50 KB/s
# Held back by --bwlimit, rsync writes in bursts with a second and more between them.
RSYNC_SETTLE_S = "3"
RSYNC_PARTIAL = 23  # "some files or attributes were not transferred"


def test_files_by_sftp_run_once(queue: Queue, sshd: Sshd) -> None:
    """P1: twenty files over four connections at once, written under their own names and under temporary ones."""
    body = queue.body()
    with Pool(queue.spool).ready():
        clients = []
        for hand in range(4):
            commands = [f'put "{body}" plain-{hand}-{number}.json' for number in range(3)]
            for number in range(2):
                name = f"renamed-{hand}-{number}.json"
                commands += [f'put "{body}" {name}.filepart', f"rename {name}.filepart {name}"]
            clients.append(sshd.sftp(*commands))
        for client in clients:
            finished(client)
        ids = [f"plain-{hand}-{number}" for hand in range(4) for number in range(3)]
        ids += [f"renamed-{hand}-{number}" for hand in range(4) for number in range(2)]
        queue.ran_once(*ids, sent=body)
    queue.nothing_else_ran(*ids)
    assert queue.rejected() == []


def test_a_slow_sftp_put_runs_when_it_is_whole(queue: Queue, sshd: Sshd) -> None:
    """P1, P6: 200 KB at 50 KB/s by sftp run once, whole."""
    body = queue.body(size=200_000)
    with Pool(queue.spool).ready():
        client = sshd.sftp(f'put "{body}" slow.json', kbit_s=SLOW_KBIT_S)
        queue.ran_once("slow", sent=body)
        finished(client)
    queue.nothing_else_ran("slow")


def test_an_sftp_put_that_is_killed_never_runs(queue: Queue, sshd: Sshd) -> None:
    """P6: half a file whose client died is refused with its reason, and the same name can be sent again."""
    body = queue.body(size=900_000)  # much more than what is under way in pipes and goes on to arrive after the kill
    with Pool(queue.spool).ready() as pool:
        client = sshd.sftp(f'put "{body}" half.json', kbit_s=SLOW_KBIT_S)
        wait_until(lambda: _size(queue.spool.path("pending", "half.json")) > 30_000)
        client.kill()
        client.communicate(timeout=10)
        pool.event("rejected")
        assert queue.witness.lines() == []
        assert "not complete JSON" in queue.reason("half.json")
        finished(sshd.sftp(f'put "{body}" half.json'))
        queue.ran_once("half", sent=body)
    queue.nothing_else_ran("half")
    assert queue.rejected() == ["half.json"]


def test_files_by_scp_run_once(queue: Queue, sshd: Sshd) -> None:
    """P1: scp writes in place; ten files in one go and a slow one run once each."""
    body, large = queue.body(), queue.body("large", size=100_000)
    copies = [queue.outside / f"copy-{number}.json" for number in range(10)]
    for copy in copies:
        shutil.copyfile(body, copy)
    with Pool(queue.spool).ready():
        clients = [sshd.scp(*map(str, copies), f"jobs:{sshd.pending}/")]
        clients.append(sshd.scp("-l", str(SLOW_KBIT_S), str(large), f"jobs:{sshd.pending}/large.json"))
        for client in clients:
            finished(client)
        queue.ran_once(*(copy.stem for copy in copies), sent=body)
        queue.ran_once("large", sent=large)
    queue.nothing_else_ran("large", *(copy.stem for copy in copies))
    assert queue.rejected() == []


@pytest.mark.parametrize("options", [[], ["--inplace"], ["--partial", "-t"]], ids=["rename", "inplace", "partial"])
def test_files_by_rsync_run_once(queue: Queue, sshd: Sshd, options: list[str]) -> None:
    """P1, P11: rsync writes to a hidden name and renames, or writes in place: ten files and a slow one run once."""
    body, large = queue.body(), queue.body("large.json", size=150_000)
    copies = [queue.outside / f"copy-{number}.json" for number in range(10)]
    for copy in copies:
        shutil.copyfile(body, copy)
    need("rsync", "rsync")
    queuectl(queue.spool, "config", "set", "settle_s", RSYNC_SETTLE_S)
    with Pool(queue.spool).ready() as pool:
        clients = [sshd.rsync(*options, *map(str, copies), f"jobs:{sshd.pending}/")]
        clients.append(sshd.rsync(*options, "--bwlimit=50", str(large), f"jobs:{sshd.pending}/"))
        for client in clients:
            # In place, rsync looks for each file once more when it has closed it: the job may be quicker.
            finished(client, *([RSYNC_PARTIAL] if "--inplace" in options else []))
        queue.ran_once(*(copy.stem for copy in copies), sent=body)
        queue.ran_once("large", sent=large)
        if "--inplace" not in options:
            assert [item for item in pool.events if item["event"] in ("arriving", "rejected")] == []
    queue.nothing_else_ran("large", *(copy.stem for copy in copies))
    assert queue.rejected() == []


def test_a_killed_rsync_leaves_no_run(queue: Queue, sshd: Sshd) -> None:
    """P6, P11: what rsync was writing when it was killed never runs, hidden or in place; sent again, it runs once."""
    body = queue.body("cut.json", size=700_000)
    queuectl(queue.spool, "config", "set", "settle_s", RSYNC_SETTLE_S)
    with Pool(queue.spool).ready() as pool:
        client = sshd.rsync("--inplace", "--bwlimit=100", str(body), f"jobs:{sshd.pending}/")
        wait_until(lambda: _size(queue.spool.path("pending", "cut.json")) > 30_000)
        client.kill()
        client.communicate(timeout=10)
        pool.event("rejected")
        hidden = sshd.rsync("--bwlimit=100", str(body), f"jobs:{sshd.pending}/")
        wait_until(lambda: any(name.startswith(".cut.json.") for name in os.listdir(queue.pending)))
        hidden.kill()
        hidden.communicate(timeout=10)
        assert queue.witness.lines() == []
        finished(sshd.rsync(str(body), f"jobs:{sshd.pending}/"))
        queue.ran_once("cut", sent=body)
    queue.nothing_else_ran("cut")
    assert queue.rejected() == ["cut.json"]


@pytest.fixture
def mounted(queue: Queue, sshd: Sshd, tmp_path: Path) -> Iterator[Path]:
    """pending/, mounted with SSHFS as on a producer's machine."""
    with mount_sshfs(sshd, sshd.pending, tmp_path / "mounted") as folder:
        yield folder


def test_files_through_sshfs_run_once(queue: Queue, mounted: Path) -> None:
    """P1: ordinary programs on a mounted folder: copies, slow writes and renames run once each."""
    body, large = queue.body(), queue.body("large", size=100_000)
    with Pool(queue.spool).ready():
        for number in range(10):
            shutil.copyfile(body, mounted / f"copy-{number}.json")
            shutil.copyfile(body, mounted / f"renamed-{number}.json.tmp")
            os.rename(mounted / f"renamed-{number}.json.tmp", mounted / f"renamed-{number}.json")
        data = large.read_bytes()
        with (mounted / "large.json").open("wb", buffering=0) as file:
            for start in range(0, len(data), 8192):
                file.write(data[start : start + 8192])
                os.fsync(file.fileno())
        ids = [f"{kind}-{number}" for kind in ("copy", "renamed") for number in range(10)]
        queue.ran_once(*ids, sent=body)
        queue.ran_once("large", sent=large)
    queue.nothing_else_ran("large", *ids)
    assert queue.rejected() == []


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0
