"""What shares leave in pending/ besides jobs: temporary and conflict names, and times that are no times."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.helpers import names_in, wait_until
from tests.pool import Pool, queuectl
from tests.share.conftest import Queue
from tests.share.rig import Samba

pytestmark = pytest.mark.share

# An NFS client that creates a file exclusively keeps its proof in the times until it sets them: any year can be seen.
YEAR_2105_AT = 4_260_000_000
# Whole jobs under these names are somebody's unfinished work, or the loser of a conflict.
UNFINISHED = {
    "rsync": [".job.json.Xy12Ab", ".~tmp~job.json", "job.json~"],
    "WinSCP, lftp, FileZilla": ["job.json.filepart", ".in.job.json", "job.json.part"],
    "rclone": ["job.json.a1b2c3d4.partial", "job.rclone1a2b.json", "job.json.conflict1", "job.conflict1.json"],
    "Syncthing": [
        ".syncthing.job.json.tmp",
        "~syncthing~job.json.tmp",
        "job.sync-conflict-20261124-031500-ABCDEFG.json",
    ],
    "Nextcloud, Dropbox, ownCloud": [
        "job (conflicted copy 2026-11-24 031500).json",
        "job (Anna's conflicted copy 2026-11-24).json",
        "job_conflict-20261124-031500.json",
        ".job.json.~4d2",
        "job_conflict-anna-20261124-031500.json",
        "job (Case Conflict 1).json",
        "job (case clash from anna).json",
        "job.json.ocTransferId123.part",
    ],
    "Seafile": ["job (SFConflict anna@example.org 2026-11-24-03-15-00).json"],
    "Google Drive, pCloud, OneDrive, Resilio, Synology": [
        "job [Conflict].json",
        "job [conflicted].json",
        "~RF1a2b3c.TMP",
        "job.json.!sync",
        "job.Conflict.json",
        "job_NAS_Nov-24-031500-2026_Conflict.json",
    ],
    "browsers": [
        "job.json.opdownload",
        "job.json.crdownload",
        "job.json.part",
        "job.json.download",
        "Unconfirmed 123456.crdownload",
    ],
    "editors": [
        ".job.json.swp",
        "#job.json#",
        ".#job.json",
        "4913",
        "job.json.bak",
        "job.json___jb_tmp___",
        ".goutputstream-ABC123",
        "job.json.tmp",
    ],
    "macOS": ["._job.json", ".DS_Store", "job.json.sb-1a2b3c4d-Xy12Ab", ".apdisk"],
    "Office": ["~$job.json", ".~lock.job.json#", "~job.json"],
    "Windows": ["desktop.ini", "Thumbs.db", "job.json.lnk", "job.tmp"],
    "NFS, SMB, FUSE": [".nfs000000000012ab34", ".smbdeleteAAA1b2c3", ".fuse_hidden0000001200000001"],
}
# Of the desktop, or no file of a job's at all: left alone and counted as somebody else's.
NO_COPIES = [".DS_Store", ".apdisk", "4913", "Thumbs.db", "desktop.ini"]
NAMES = sorted({name for kind in UNFINISHED.values() for name in kind})


def test_unfinished_and_conflict_names_never_run_and_are_left_alone(queue: Queue) -> None:
    """P11: whole jobs under the names that clients use meanwhile are neither run, moved nor changed."""
    body = queue.body()
    for name in NAMES:
        Path(queue.spool.path("pending", name)).write_bytes(body.read_bytes())
    Path(queue.spool.path("pending", "real.json")).write_bytes(body.read_bytes())
    with Pool(queue.spool, "--drain") as pool:
        assert pool.wait() == 0
    queue.ran_once("real", sent=body)
    queue.nothing_else_ran("real")
    assert sorted(names_in(queue.spool, "pending")) == NAMES
    assert all(Path(queue.pending, name).read_bytes() == body.read_bytes() for name in NAMES)
    assert queue.rejected() == []
    told = json.loads(queuectl(queue.spool, "status", "--json"))
    assert told["foreign"]["pending"] == NAMES
    assert sorted(set(NAMES) - set(told["copies"]["pending"])) == NO_COPIES
    print(f"{len(NAMES)} names")


def test_such_names_put_beside_a_running_pool_never_run(queue: Queue, samba: Samba) -> None:
    """P11: the same by SMB, where the name is seen first and the file grows after it."""
    body = queue.body()
    # smbclient's own separators and what SMB has no letters for are left to the test above.
    by_smb = [name for name in NAMES if not set(name) & set("'\"#~$;")]
    with Pool(queue.spool).ready():
        samba.smbclient(*[f'put "{body}" "{name}"' for name in by_smb], f'put "{body}" real.json')
        queue.ran_once("real", sent=body)
    queue.nothing_else_ran("real")
    assert sorted(names_in(queue.spool, "pending")) == by_smb
    assert queue.rejected() == []
    print(f"{len(by_smb)} names")


@pytest.mark.parametrize("instant_at", [YEAR_2105_AT, 0], ids=["2105", "1970"])
def test_a_file_s_time_is_never_read_as_a_clock(queue: Queue, instant_at: int) -> None:
    """P1, P6: with a time 79 years ahead, or of 1970, whole files run at once and half ones are refused in time."""
    body = queue.body()
    with Pool(queue.spool).ready() as pool:
        for number in range(5):
            hidden = Path(queue.spool.path("pending", f".job-{number}"))
            hidden.write_bytes(body.read_bytes())
            os.utime(hidden, (instant_at, instant_at))
            hidden.rename(queue.spool.path("pending", f"whole-{number}.json"))
            hidden.write_bytes(body.read_bytes()[:-20])
            os.utime(hidden, (instant_at, instant_at))
            hidden.rename(queue.spool.path("pending", f"half-{number}.json"))
        queue.ran_once(*(f"whole-{number}" for number in range(5)), sent=body, timeout=20)
        wait_until(lambda: len(queue.rejected()) == 5)
        growing = Path(queue.spool.path("pending", "growing.json"))
        with growing.open("wb", buffering=0) as file:  # its time stands still while it grows
            data = body.read_bytes()
            for start in range(0, len(data), 64):
                file.write(data[start : start + 64])
                os.utime(file.fileno(), (instant_at, instant_at))
        queue.ran_once("growing", sent=body)
        assert not [item for item in pool.events if item["event"] == "healed"]
    queue.nothing_else_ran("growing", *(f"whole-{number}" for number in range(5)))
