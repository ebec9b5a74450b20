"""Schedules, unique keys and inboxes of files on Windows: what programs there do, pools killed, bounded in time.

Rates and circuit breakers need no system: run.sh has their tests of tests/e2e.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows only", allow_module_level=True)

from queuectl.inbox.state import read_all
from queuectl.model.lifecycle import DONE, PENDING, RUNNING
from queuectl.spool.folder import SpoolDir
from tests import file_sender
from tests.e2e.test_file_inboxes import checker, configure, tree
from tests.e2e.test_schedules import put, ticks
from tests.helpers import LONG, files_below, wait_until
from tests.pool import SUCCEED, Pool, Witness, ends_with, queuectl
from tests.stress.test_unique_storm import UniqueStorm


def test_each_tick_is_one_job_though_a_pool_is_killed(spool: SpoolDir) -> None:
    """Two pools make each second's job once, and run it once more only after a kill (P4, P14)."""
    with Pool(spool, count=1) as one, Pool(spool, count=1) as two:
        for pool in (one, two):
            pool.ready()
        rest = {"overlap": "allow", "max_retries": 100, "backoff_base": 0}
        path = put(spool, "s.json", {"command": SUCCEED, "every": 1, **rest})
        wait_until(lambda: len(ticks(spool, "s")) >= 2)
        one.kill_everything()
        wait_until(lambda: len(ticks(spool, "s")) >= 5)
        path.unlink()
        queuectl(spool, "schedule", "list")
    with Pool(spool, "--drain", count=1) as last:
        assert last.wait() == 0
    assert not spool.waiting_names() and not spool.job_names(RUNNING)
    made = ticks(spool, "s")
    assert made == [made[0] + number for number in range(len(made))]
    for name in spool.job_names(DONE):
        kinds = Counter(event.event for event in spool.read(DONE, name).record.history)
        assert kinds["succeeded"] == 1 and kinds["started"] == 1 + kinds["abandoned"], (name, kinds)


def test_two_producers_put_in_the_same_unique_keys(spool: SpoolDir, tmp_path: Path) -> None:
    """One key skips, one replaces: one job of each waits and one runs, none is lost, whatever is killed (P1, P15)."""
    storm = UniqueStorm(spool, tmp_path, jobs=int(60 * LONG), seed=7, keys=2, producers=2, workers=1, seconds=0.4)
    try:
        storm.start()
        storm.rage(4 * LONG, pace=(0.2, 0.6))
        storm.finish()
        print(storm.judge())
    finally:
        storm.close()


def test_a_file_that_is_open_when_its_job_ends_is_moved_later(spool: SpoolDir, tmp_path: Path) -> None:
    """It stays in working/, is reported once, and meanwhile other files are taken and moved (P2, P6)."""
    inbox, witness = tmp_path / "scans", Witness(tmp_path / "witness")
    inbox.mkdir()
    configure(spool, {"path": str(inbox), "command": [*witness.command(seconds=witness.gate), "{file}"]}, settle_s=0.1)
    file_sender.send(str(inbox), "open.pdf", "plain")
    with Pool(spool, count=1) as pool:
        (path,) = wait_until(lambda: witness.lines() and files_below(inbox / "working", "open.pdf"))
        with open(path, "rb"):
            witness.open_gate()
            wait_until(lambda: [row.name for row in read_all(spool)[0].rows] == ["open.pdf"])
            file_sender.send(str(inbox), "later.pdf", "plain")
            wait_until(lambda: (inbox / "done" / "later.pdf").exists())
            assert path.exists() and read_all(spool)[0].taken == 2 and not read_all(spool)[0].trouble
        wait_until(lambda: tree(inbox) == ["done/later.pdf", "done/open.pdf"])
        wait_until(lambda: not read_all(spool)[0].rows)
    assert sum("open.pdf: its job has ended" in str(event) for event in pool.events) == 1


def test_a_file_that_a_program_reads_waits_and_holds_up_no_other(spool: SpoolDir, tmp_path: Path) -> None:
    """Windows renames no file that is open: it stays in the inbox, is reported, and is taken when it is closed (P6)."""
    inbox = tmp_path / "scans"
    inbox.mkdir()
    configure(spool, {"path": str(inbox), "command": checker(tmp_path / "witness")}, settle_s=0.1)
    for name in ("held.pdf", "later.pdf"):
        file_sender.send(str(inbox), name, "plain")
    with Pool(spool, count=1) as pool:
        with open(inbox / "held.pdf", "rb"):
            ends_with(spool, {DONE: 1})
            wait_until(lambda: [row.name for row in read_all(spool)[0].rows] == ["held.pdf"])
            (row,) = read_all(spool)[0].rows
            assert "it cannot be taken" in row.why
            assert not list((inbox / "working").iterdir()) or (inbox / "held.pdf").exists()
        ends_with(spool, {DONE: 2, PENDING: 0})
        wait_until(lambda: tree(inbox) == ["done/held.pdf", "done/later.pdf"])
    assert sum("held.pdf is skipped for now" in str(event) for event in pool.events) == 1
