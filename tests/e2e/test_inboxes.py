"""Inboxes: files dropped outside the spool, taken in by a real pool, refused and answered where they were dropped."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from queuectl.inbox.state import InboxState, read_all
from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir
from tests.helpers import LONG, names_in, wait_until
from tests.pool import SUCCEED, Marks, Pool, children, command_line, ends_with, kill, queuectl

HALF = '{"command": "exit 0"'
HALF_FIXED = '{"command": "exit 0"}'


@pytest.fixture
def inbox(spool: SpoolDir, tmp_path: Path) -> Path:
    """An inbox of anna's, which the settings name."""
    folder = tmp_path / "anna"
    folder.mkdir()
    configure(spool, folder)
    return folder


def configure(spool: SpoolDir, folder: Path, more: str = "", *, common: str = "settle_s = 0.4\nscan_s = 0.2\n") -> None:
    """Write settings that name one inbox."""
    path = json.dumps(str(folder))
    Path(spool.settings_path).write_text(f'{common}[[inbox]]\npath = {path}\nmode = "trusted"\n{more}')


def drop(folder: Path, name: str, content: object) -> None:
    """Put a file there in one step, as a careful producer does."""
    text = content if isinstance(content, str) else json.dumps(content)
    temporary = folder / f".{name}.new"
    temporary.write_text(text)
    os.replace(temporary, folder / name)


def state(spool: SpoolDir) -> InboxState:
    """What the one receiver says."""
    (found,) = read_all(spool)
    return found


def receiver_pids(pool: Pool) -> list[int]:
    """The receiver processes of a pool (Linux): the children that hold the lock file of an inbox open."""
    found = []
    for pid in children(pool.pid):
        with contextlib.suppress(OSError):
            handles = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            if any(path.endswith("anna.lock") for path in handles):
                found.append(pid)
    return found


def left(folder: Path) -> list[str]:
    """The names in an inbox."""
    return sorted(os.listdir(folder))


def test_an_inbox_takes_what_is_whole_and_answers_for_the_rest(spool: SpoolDir, inbox: Path) -> None:
    """P1, P6: whole files run, half ones are refused in place and heal, dead and refused ones are answered there."""
    configure(spool, inbox, "done_receipts = true\n")
    with Pool(spool) as pool:
        drop(inbox, "good.json", {"command": SUCCEED})
        drop(inbox, "bad.json", {"command": "exit 3", "max_retries": 0})
        drop(inbox, "no job.json", {"comand": "x"})
        (inbox / "notes.txt").write_text("somebody's")
        (inbox / "half.json").write_text(HALF)
        wait_until(lambda: (inbox / "half.json.rejected").exists() and (inbox / "bad.json.failed.txt").exists())
        wait_until(lambda: (inbox / "good.json.done.txt").exists() and (inbox / "no job.json.rejected").exists())
        failed = (inbox / "bad.json.failed.txt").read_text()
        assert "exit code 3" in failed and "queuectl retry bad" in failed
        assert 'did you mean "command"' in (inbox / "no job.json.rejected.txt").read_text()
        assert "not complete JSON" in (inbox / "half.json.rejected.txt").read_text()
        wait_until(lambda: (told := state(spool)).rejected == 2 and told.foreign == ("notes.txt",))
        (inbox / "half.json.rejected").write_text(HALF_FIXED)
        ends_with(spool, {"done": 2, "dlq": 1})
        wait_until(lambda: (inbox / "half.json.done.txt").exists())
    assert left(inbox) == [
        "bad.json.failed.txt",
        "good.json.done.txt",
        "half.json.done.txt",
        "no job.json.rejected",
        "no job.json.rejected.txt",
        "notes.txt",
    ]
    good = spool.read("done", "good.json").record
    assert good.history[0].by == "inbox" and good.history[0].file == "good.json"
    assert pool.process.returncode == 0 and names_in(spool, "rejected") == []


def test_drain_takes_in_what_lies_in_the_inbox_first(spool: SpoolDir, inbox: Path) -> None:
    """A pool that drains ends when the inbox is empty too, and each receipt is written."""
    for number in range(5):
        drop(inbox, f"job{number}.json", {"command": "exit 1", "max_retries": 0})
    with Pool(spool, "--drain") as pool:
        assert pool.wait(60) == 0
    assert len(spool.job_names("dlq")) == 5
    assert left(inbox) == [f"job{number}.json.failed.txt" for number in range(5)]


def test_max_waiting_holds_files_back_in_the_inbox(spool: SpoolDir, inbox: Path) -> None:
    """No more of an inbox's jobs wait in the spool than max_waiting says; the rest stay and are told of."""
    configure(spool, inbox, "max_waiting = 2\n")
    pause.pause(spool, "for the test", until_at=None)
    for number in range(5):
        drop(inbox, f"job{number}.json", {"command": SUCCEED})
    with Pool(spool):
        wait_until(lambda: len(spool.waiting_names()) == 2 and read_all(spool) and state(spool).waiting == 3)
        assert state(spool).held_back == "max_waiting = 2"
        assert "held back: max_waiting = 2" in queuectl(spool, "status")
        pause.resume(spool)
        ends_with(spool, {"done": 5})
        wait_until(lambda: state(spool).waiting == 0)
    assert left(inbox) == []


def test_an_inbox_that_goes_away_and_comes_back_is_received_from_again(spool: SpoolDir, inbox: Path) -> None:
    """P9: a folder that is not there is told once and looked for again; the pool works meanwhile."""
    with Pool(spool) as pool:
        wait_until(lambda: read_all(spool))
        inbox.rename(inbox.with_name("away"))
        wait_until(lambda: "there is no folder" in state(spool).trouble)
        queuectl(spool, "enqueue", "--id", "other", "--command", SUCCEED)
        ends_with(spool, {"done": 1})
        inbox.with_name("away").rename(inbox)
        drop(inbox, "job.json", {"command": SUCCEED})
        ends_with(spool, {"done": 2})
        wait_until(lambda: not state(spool).trouble)
    assert sum("no folder" in str(event.get("text")) for event in pool.events) == 1


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a file that may not be read")
def test_a_file_that_cannot_be_read_waits_and_blocks_nothing(spool: SpoolDir, inbox: Path) -> None:
    """P6: what may not be read now is no reason to refuse it, nor to hold up others."""
    drop(inbox, "a.json", {"command": SUCCEED})
    (inbox / "a.json").chmod(0)
    drop(inbox, "b.json", {"command": SUCCEED})
    with Pool(spool):
        ends_with(spool, {"done": 1})
        assert "cannot be read" in wait_until(lambda: state(spool).rows)[0].why
        (inbox / "a.json").chmod(0o600)
        ends_with(spool, {"done": 2})


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_supervisor_takes_its_receiver_along_and_the_next_pool_goes_on(spool: SpoolDir, inbox: Path) -> None:
    """P5: a receiver ends with its supervisor however that dies; a killed receiver is followed by another."""
    first = Pool(spool).ready()
    (old,) = wait_until(lambda: receiver_pids(first))
    kill(old)
    (pid,) = wait_until(lambda: [pid for pid in receiver_pids(first) if pid != old])
    drop(inbox, "one.json", {"command": SUCCEED})
    ends_with(spool, {"done": 1})
    kill(first.pid)
    first.wait()
    wait_until(lambda: not command_line(pid))
    drop(inbox, "two.json", {"command": SUCCEED})
    with Pool(spool):
        ends_with(spool, {"done": 2})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_many_files_run_once_while_receivers_are_killed(spool: SpoolDir, inbox: Path, tmp_path: Path) -> None:
    """P1, P2: receivers of two pools are killed at random instants while files are dropped; each runs exactly once."""
    rng = random.Random(4)
    marks = Marks(tmp_path / "marks")
    wanted = [f"job{number}" for number in range(int(80 * LONG))]
    killed, kills = 0, int(10 * LONG)

    def kill_some(pools: list[Any]) -> int:
        pids = [pid for pool in pools for pid in receiver_pids(pool)]
        for pid in pids:
            kill(pid)
        return len(pids)

    with Pool(spool) as one, Pool(spool) as two:
        pending = iter(wanted)
        deadline = time.monotonic() + 120
        dropped = 0
        pause = threading.Event()  # never set: a wait of known length
        while len(spool.job_names("done")) < len(wanted):
            assert time.monotonic() < deadline, (left(inbox)[:10], killed, len(spool.job_names("done")))
            most = len(wanted) if killed >= kills else len(wanted) - 10  # the last ones come after enough kills
            for name in itertools.islice(pending, min(rng.randrange(8), most - dropped)):
                drop(inbox, f"{name}.json", {"command": marks.command("ran")})
                dropped += 1
            if dropped < len(wanted) or killed < 2 * kills:
                killed += kill_some([one, two])
            pause.wait(rng.uniform(0.01, 0.3))
    assert killed >= kills
    assert sorted(marks.lines()) == sorted(f"ran {name}" for name in wanted)
    assert left(inbox) == []
