"""Files that change, or are changed into something else, while they are taken in and run."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.errors import DamagedRecordError
from queuectl.jobs.verdict import Foreign
from queuectl.model import record
from queuectl.model.lifecycle import DONE, PENDING, RUNNING
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, names_in, wait_until
from tests.hostile.corpus import CANARY, RUN, doc, framed
from tests.hostile.ground import make_ground
from tests.pool import Pool, children, ends_with, last_start

pytestmark = pytest.mark.skipif(os.name == "nt", reason="an open handle is another matter there")

WAIT = "echo $QUEUECTL_JOB_ID >> ran; until [ -e go ]; do sleep 0.02; done"


def _started(spool: SpoolDir, job_id: str) -> None:
    def runs() -> bool:
        with contextlib.suppress(DamagedRecordError):  # the drop, moved and not copied yet
            return last_start(spool, job_id) is not None
        return False

    wait_until(runs)


@pytest.mark.parametrize("hold", ["handle", "hard link", "mapping"])
def test_producer_cannot_change_a_job_after_it_was_taken_in(tmp_path: Path, hold: str) -> None:
    """P4, P6: what a producer writes later, through a handle or a second name it kept, reaches nobody's job."""
    ground = make_ground(tmp_path)
    path = Path(ground.spool.path(PENDING, "mine.json"))
    content = doc(WAIT)
    path.with_name(".mine.json").write_bytes(content)
    fd = os.open(path.with_name(".mine.json"), os.O_RDWR)
    second = tmp_path / "second"
    if hold == "hard link":
        os.link(path.with_name(".mine.json"), second)
    with Pool(ground.spool, count=1, cwd=ground.work).ready():
        path.with_name(".mine.json").rename(path)
        _started(ground.spool, "mine")
        running = Path(ground.spool.path(RUNNING, "mine.json"))
        before = running.read_bytes()
        if hold == "hard link":
            second.write_bytes(doc(CANARY))
        elif hold == "handle":
            os.pwrite(fd, doc(CANARY), 0)
            os.ftruncate(fd, len(doc(CANARY)))
        else:
            import mmap

            with mmap.mmap(fd, len(content)) as mapped:
                mapped[:] = b" " * len(content)
        assert running.read_bytes() == before
        (ground.work / "go").touch()
        ends_with(ground.spool, {"done": 1})
    os.close(fd)
    document = json.loads(Path(ground.spool.path(DONE, "mine.json")).read_bytes())
    assert document["command"] == WAIT
    assert [event["event"] for event in document["history"]] == ["enqueued", "started", "succeeded"]
    assert not (ground.work / "canary").exists()
    assert (ground.work / "ran").read_text() == "mine\n"


def test_record_with_a_second_name_is_cut_off_from_it(desk: Desk, tmp_path: Path) -> None:
    """P4: a file that has our framing and another name is copied, so that the other name leads nowhere near the job."""
    second = tmp_path / "second"
    second.write_bytes(framed("linked", command=RUN))
    os.link(second, desk.spool.path(PENDING, "linked.json"))
    before = second.read_bytes()
    claimed = desk.start("linked.json")
    assert second.read_bytes() == before
    assert os.stat(second).st_ino != os.stat(desk.spool.path(RUNNING, claimed.name)).st_ino


def test_run_goes_on_as_it_was_started_whatever_is_written_to_its_record(tmp_path: Path) -> None:
    """P4: who keeps a handle to a record of ours changes nothing of the run that goes on, and loses no outcome."""
    ground = make_ground(tmp_path)
    data = framed("mine", command=WAIT, max_retries=0)
    other = data.replace(json.dumps(WAIT).encode(), json.dumps(CANARY.ljust(len(WAIT))).encode())
    assert len(other) == len(data)
    path = Path(ground.spool.path(PENDING, "mine.json"))
    path.with_name(".mine").write_bytes(data)
    with open(path.with_name(".mine"), "r+b") as handle, Pool(ground.spool, count=1, cwd=ground.work).ready():
        path.with_name(".mine").rename(path)
        _started(ground.spool, "mine")
        handle.write(other[: -len(record.CLOSING)])
        handle.flush()
        (ground.work / "go").touch()
        ends_with(ground.spool, {"done": 1})
    assert (ground.work / "ran").read_text() == "mine\n"
    assert not (ground.work / "canary").exists()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "socket"])
def test_record_that_is_replaced_while_it_runs_stops_no_worker(tmp_path: Path, kind: str) -> None:
    """P6, P11: a link or a FIFO put in the place of a running job's record is left alone; the worker goes on."""
    ground = make_ground(tmp_path)
    ground.drop("mine.json", json.loads(doc(WAIT)))
    running = Path(ground.spool.path(RUNNING, "mine.json"))
    target = tmp_path / "target"
    target.write_bytes(b"not ours")
    makers: dict[str, Callable[[Path], None]] = {
        "link": lambda path: path.symlink_to(target),
        "fifo": os.mkfifo,
        "folder": Path.mkdir,
        "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    }
    with Pool(ground.spool, count=1, cwd=ground.work).ready() as pool:
        _started(ground.spool, "mine")
        running.unlink()
        makers[kind](running)
        (ground.work / "go").touch()
        pool.event("vanished", "mine")
        ground.drop("next.json", {"command": RUN})
        ends_with(ground.spool, {"done": 1})
    assert os.path.lexists(running)
    assert target.read_bytes() == b"not ours"


def test_drain_does_not_wait_for_what_is_no_file(tmp_path: Path) -> None:
    """P11: --drain ends beside folders, links and FIFOs in pending/, running/ and taken/."""
    ground = make_ground(tmp_path, settle_s="0.2")
    for state in (PENDING, RUNNING):
        Path(ground.spool.path(state, "folder.json")).mkdir()
        Path(ground.spool.path(state, "link.json")).symlink_to("/dev/null")
        os.mkfifo(ground.spool.path(state, "fifo.json"))
    os.mkfifo(os.path.join(ground.spool.taken_dir, "fifo.json"))
    os.mkdir(os.path.join(ground.spool.taken_dir, "folder.jsonl"))
    ground.drop("good.json", {"command": RUN})
    with Pool(ground.spool, "--drain", count=1, cwd=ground.work) as pool:
        assert pool.wait() == 0
    assert (ground.work / "ran").read_text() == "good\n"
    assert len(names_in(ground.spool, RUNNING)) == len(names_in(ground.spool, PENDING)) == 3


def test_writer_that_waits_at_a_fifo_is_not_disturbed(desk: Desk) -> None:
    """P11: looking at a FIFO does not open it, so whoever waits for its reader goes on waiting."""
    path = Path(desk.spool.path(PENDING, "fifo.json"))
    os.mkfifo(path)
    opened = threading.Event()

    def write() -> None:
        with open(path, "wb") as file:
            opened.set()
            file.write(b"{}")

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.05)  # for the writer to be waiting; too short only makes the test easier
    for _ in range(20):
        assert isinstance(desk.decline("fifo.json"), Foreign)
    assert not opened.is_set()
    with open(path, "rb") as file:
        assert file.read() == b"{}"
    writer.join()


def test_job_that_takes_the_place_of_a_foreign_file_runs(tmp_path: Path) -> None:
    """P6, P8: a job under the name of a link that was left alone is found without an event and without a restart."""
    ground = make_ground(tmp_path)
    path = Path(ground.spool.path(PENDING, "x.json"))
    path.symlink_to("/dev/null")
    with Pool(ground.spool, count=1, cwd=ground.work).ready() as pool:
        pool.event("foreign")
        path.with_name(".x").write_bytes(doc(RUN))
        path.with_name(".x").replace(path)
        ends_with(ground.spool, {"done": 1})


def _without_override() -> None:
    """Take root's right to read everything from the process that is about to be started (Linux)."""
    import ctypes

    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; other users have neither


def test_unreadable_files_stop_nobody(tmp_path: Path) -> None:
    """P6: files that the pool may not read, in every folder, stay as they are while good jobs run."""
    ground = make_ground(tmp_path, settle_s="0.2", keep_done='"1h"', keep_dlq='"1h"')
    closed = []
    for state in ("pending", "running", "done", "dlq", "rejected"):
        for number in range(40):
            path = Path(ground.spool.path(state, f"closed-{number}.json"))
            path.write_bytes(framed(f"closed-{number}") if number % 2 else doc())
            path.chmod(0)
            os.utime(path, (1e9, 1e9))
            closed.append(path)
    ground.drop("good.json", {"command": RUN})
    argv = [sys.executable, "-m", "queuectl", "--spool", ground.spool.root]
    start = [*argv, "worker", "start", "--count", "2", "--log-format", "json"]
    with subprocess.Popen(
        start, stdout=subprocess.PIPE, text=True, cwd=ground.work, preexec_fn=_without_override
    ) as pool:
        try:
            wait_until(lambda: (ground.work / "ran").exists())
            pids = [pool.pid, *children(pool.pid)]
            started_s, used_s = time.monotonic(), sum(map(_used_s, pids))
            wait_until(lambda: time.monotonic() - started_s > 1.0)
            share = (sum(map(_used_s, pids)) - used_s) / (time.monotonic() - started_s)
            ground.drop("next.json", {"command": RUN})
            wait_until(lambda: (ground.work / "ran").read_text() == "good\nnext\n")
            for words in (["status"], ["list"], ["dlq", "list"], ["list", "--state", "rejected"]):
                done = subprocess.run(
                    [*argv, *words], capture_output=True, text=True, preexec_fn=_without_override, check=False
                )
                assert (done.returncode, "Traceback" in done.stderr) == (0, False), done
        finally:
            pool.terminate()
            printed = pool.communicate(timeout=60)[0]
    assert '"trouble"' not in printed
    assert printed.count('"unreadable"') == 40
    assert all(path.stat().st_mode & 0o777 == 0 for path in closed)
    print(f"{share:.2f} s of processor time in a second")
    assert share < 0.7, "looking at them again and again takes most of a processor"


def _used_s(pid: int) -> float:
    """Processor time that a process has used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
