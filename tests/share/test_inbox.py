"""An inbox behind a real SMB share: what its producers send, and what they find there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.pool import Pool
from tests.share.conftest import Queue
from tests.share.rig import Samba

pytestmark = pytest.mark.share


def test_producers_of_an_inbox_are_served_and_answered_over_smb(queue: Queue, tmp_path: Path) -> None:
    """P1, P6: small and slow files run once; the half of a client that died is refused there, and can be sent again."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    Path(queue.spool.settings_path).write_text(
        f'settle_s = 1\n[[inbox]]\npath = {json.dumps(str(inbox))}\nmode = "trusted"\nsettle_s = 1\n'
    )
    small, large = queue.body("small"), queue.body("large", size=100_000)
    with Samba(str(inbox), tmp_path / "samba") as samba, Pool(queue.spool).ready():
        samba.smbclient(*[f'put "{small}" put-{number}.json' for number in range(10)])
        slow = samba.writer(large, "slow.json", "--how", "explorer", "--rate", "50000")
        half = samba.writer(large, "half.json", "--how", "explorer", "--stop-at", "40960")
        half.told("stopped")
        half.kill()
        slow.close()
        wait_until(lambda: (inbox / "half.json.rejected.txt").exists(), 20)
        ids = [f"put-{number}" for number in range(10)]
        queue.ran_once(*ids, sent=small)
        queue.ran_once("slow", sent=large)
        samba.writer(large, "half.json", "--how", "explorer").close()
        queue.ran_once("half", sent=large)
        wait_until(lambda: sorted(os.listdir(inbox)) == ["half.json.rejected", "half.json.rejected.txt"], 10)
    queue.nothing_else_ran(*ids, "slow", "half")
