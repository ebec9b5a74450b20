"""Files in pending/ with unusual names, and what is no file, under a real pool."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, listing, names_in
from tests.pool import SUCCEED, Pool, queuectl


def test_endings_in_capitals_run_and_folders_are_not_waited_for(spool: SpoolDir) -> None:
    """P6, P11: JOB.JSON and LINES.JSONL run like others; a folder x.json is no job in any count, and ends no drain."""
    desk = Desk(spool)
    Path(spool.settings_path).write_text('settle_s = "100ms"\n', encoding="utf-8")
    desk.drop("JOB.JSON", {"command": SUCCEED})
    desk.drop("LINES.JSONL", '{"command": "exit 0"}\n{"command": "exit 0"}\n')
    desk.drop("BAD.JSON", {"no": "command"})
    os.mkdir(spool.path("pending", "x.json"))
    assert Spool(spool.root).counts().pending == 3
    status = json.loads(queuectl(spool, "status", "--json"))
    assert status["counts"]["pending"] == 3 and "x.json" not in queuectl(spool, "list", "--state", "pending")
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait(60) == 0
    found = listing(spool)
    assert found.pop("pending") == ["x.json"] and len(found["done"]) == 3 and "JOB.json" in found["done"]
    assert found["rejected"] == ["BAD.JSON", "BAD.JSON.reason.txt"]
    assert Spool(spool.root).counts().pending == 0
    assert "pending/x.json" in queuectl(spool, "check", check=False)


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere a file may have the name of a device")
@pytest.mark.parametrize("name", ["con.json", "conin$.json", "nul.json", "com1.json", "aux.jsonl"])
def test_a_name_of_a_device_stops_nothing_on_windows(spool: SpoolDir, name: str) -> None:
    """P6, P11: what cannot be opened there is passed over, reported as foreign, and the others run."""
    desk = Desk(spool)
    raw = "\\\\?\\" + spool.path("pending", name)
    try:
        Path(raw).write_text(json.dumps({"command": SUCCEED}), encoding="utf-8")
    except OSError:
        pytest.skip("this system makes no such file")
    if name not in names_in(spool, "pending"):
        pytest.skip("this system makes no such file")
    desk.drop("good.json", {"command": SUCCEED})
    assert json.loads(queuectl(spool, "status", "--json"))["counts"]["pending"] == 1
    queuectl(spool, "list")
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait(60) == 0
    assert names_in(spool, "done") == ["good.json"]
    assert name in queuectl(spool, "check", check=False)
    os.unlink(raw)
