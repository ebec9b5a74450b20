"""Worker processes: starting them, and what is left where that cannot be."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("forks", allow_module_level=True)

from queuectl.pool import worker_process
from queuectl.pool.worker_process import WorkerProcess
from queuectl.spool import settings_file
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from queuectl.system.forked import ForkedProcess
from queuectl.worker import process
from queuectl.worker.messages import Stop, pack_order
from queuectl.worker.process import WorkerSpec
from tests.helpers import wait_until


def _handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def _links() -> list[str]:
    """What the handles of this process lead to."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed them
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


def _session(spool: SpoolDir) -> Session:
    return Session(spool, settings_file.load(spool), Clock(), random.Random())


def _start(spool: SpoolDir, worker: WorkerProcess) -> None:
    worker.start(_session(spool), WorkerSpec("w-1", spool.root), fork=True, close_inherited=lambda: None)


def test_a_fork_that_fails_costs_no_handle(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: a pool that tries again and again while there may be no more processes does not run out of handles."""

    def no_more() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", no_more)
    before = _handles()
    for _ in range(5):
        with pytest.raises(BlockingIOError):
            _start(spool, WorkerProcess())
    assert _handles() == before


def test_a_forked_worker_has_no_handle_of_its_supervisor(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P5: with the supervisor gone, nothing holds its locks or its ends of pipes."""
    told = tmp_path / "told"
    reading, writing = os.pipe()
    monkeypatch.setattr(process, "main", lambda *_facts: told.write_text("\n".join(_links())))

    def close_inherited() -> None:
        os.close(reading)
        os.close(writing)

    before = _links()
    worker = WorkerProcess()
    worker.start(_session(spool), WorkerSpec("w-1", spool.root), fork=True, close_inherited=close_inherited)
    wait_until(lambda: worker.exit_code is not None)
    assert worker.exit_code == 0
    in_worker = told.read_text().split("\n")
    assert not {os.readlink(f"/proc/self/fd/{fd}") for fd in (worker.conn.fileno(), reading)} & set(in_worker)
    assert len([link for link in in_worker if link.startswith("socket:") and link not in before]) == 1  # its own end
    worker.take_names()
    close_inherited()


def test_a_process_tells_how_it_ended() -> None:
    """Its exit code, the signal that ended it, or 1 and a traceback for what it raised."""

    def fail() -> None:
        raise SystemExit(3)

    for work, code in ((lambda: None, 0), (fail, 1), (lambda: time.sleep(60), -9)):
        process = ForkedProcess(work)
        if code == -9:
            assert process.exitcode is None
            process.kill()
        process.join(60)
        assert process.exitcode == code
        process.kill()  # nothing any more


def test_a_join_ends_with_its_time() -> None:
    """A worker that cannot end does not hold up its supervisor."""
    process = ForkedProcess(lambda: time.sleep(60))
    process.join(0.05)
    assert process.exitcode is None
    process.kill()
    process.join(60)
    assert process.exitcode == -9


def test_a_pool_with_a_thousand_handles_can_wait_for_its_workers() -> None:
    """select() takes no handle above 1023, and a large pool has such."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[0] < 1200:
        pytest.skip("no more than a thousand handles here: ulimit -n 4096")
    null = os.open(os.devnull, os.O_RDONLY)
    handles = [os.dup(null) for _ in range(1030)]
    try:
        process = ForkedProcess(lambda: None)
        process.join(60)
        assert process.exitcode == 0
    finally:
        for fd in (null, *handles):
            os.close(fd)


def test_a_process_with_threads_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that another thread holds would stay locked in the copy for ever."""
    monkeypatch.setattr(worker_process.threading, "active_count", lambda: 2)
    assert not worker_process.can_fork()


def test_a_message_that_ctrl_c_cuts_short_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: on Windows Ctrl-C ends a send to a full pipe with an error; the worker hears of the stop all the same."""
    tries: list[bytes] = []

    def cut_once(_conn: object, message: bytes) -> None:
        tries.append(message)
        if len(tries) == 1:
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))

    monkeypatch.setattr(worker_process.framing, "send", cut_once)
    worker = WorkerProcess()
    worker.conn = object()  # type: ignore[assignment]
    worker.send(Stop())
    assert tries == [pack_order(Stop())] * 2


def test_a_given_name_counts_as_a_run_of_its_worker() -> None:
    """The jobs of a live worker are those that it reported, and those that it may have claimed without a report yet."""
    worker = WorkerProcess()
    generated = "20261124-031500-120345-7f3k"
    worker.outstanding = dict.fromkeys([f"{generated}.json", "j1,in=20261125T001500.123456Z,prio=2.json"], 0.0)
    worker.running = {"drop.json": "job1"}
    assert worker.job_ids(0.1) == {generated, "j1", "job1"}
