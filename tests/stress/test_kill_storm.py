"""A storm of kills on real pools: what was accepted is run, nothing overlaps, nothing is lost or stuck."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from queuectl.spool import SpoolDir
from tests.helpers import wait_until
from tests.pool import Pool, Witness, children, queuectl

if not sys.platform.startswith("linux"):
    pytest.skip("kills by signal and finds processes through /proc", allow_module_level=True)

STORM_S = float(os.environ.get("QUEUECTL_STORM_S", "12"))
JOBS = int(os.environ.get("QUEUECTL_STORM_JOBS", "80"))
SEED = int(os.environ.get("QUEUECTL_STORM_SEED", "20261124"))


def _kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _strike(rng: random.Random, pool: Pool, stopped: list[int]) -> bool:
    """One blow: a worker, the supervisor, a worker with its command, or a pause; True where the pool is gone."""
    workers = pool.worker_pids()
    kind = rng.choice(["worker", "worker", "supervisor", "group", "pause"])
    if kind == "supervisor" or not workers:
        _kill(pool.process.pid)
        return True
    worker = rng.choice(workers)
    if kind == "pause":
        _kill(worker, signal.SIGSTOP)
        stopped.append(worker)
        return False
    victims = [worker, *children(worker)] if kind == "group" else [worker]
    for pid in victims:
        _kill(pid)
    return False


def _until(instant_s: float) -> None:
    """Wait for the next instant of the storm's timetable."""
    wait_until(lambda: time.monotonic() >= instant_s)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_storm(spool: SpoolDir, tmp_path: Path) -> None:
    """P1 to P5: whoever is killed, every accepted job is done, and none runs twice at once.

    Longer: QUEUECTL_STORM_S=60 QUEUECTL_STORM_JOBS=400 pytest tests/stress -s
    """
    rng = random.Random(SEED)
    witness = Witness(tmp_path / "witness")
    accepted: list[str] = []
    stopped: list[int] = []
    began = time.monotonic()
    next_blow = began + 1.0
    blows = 0
    pools = [Pool(spool, count=2), Pool(spool, count=1)]
    for number in range(JOBS):
        due = began + STORM_S * number / JOBS
        words = ["enqueue", "--id", f"job{number}", "--max-retries", "50", "--backoff-base", "0.01", "--"]
        words += witness.command(seconds=rng.uniform(0, 0.2), fail_first=int(number % 10 == 0))
        if number % 12 == 7:
            producer = subprocess.Popen(
                [sys.executable, "-m", "queuectl", "--spool", spool.root, *words], stdout=subprocess.DEVNULL
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                producer.wait(rng.uniform(0.02, 0.2))
            producer.kill()
            if producer.wait() == 0:
                accepted.append(f"job{number}")
        else:
            queuectl(spool, *words)
            accepted.append(f"job{number}")
        while time.monotonic() < due or number == JOBS - 1:
            if time.monotonic() >= next_blow:
                blows += 1
                next_blow = time.monotonic() + rng.uniform(0.1, 0.7)
                for pid in stopped[:-1]:
                    _kill(pid, signal.SIGCONT)
                which = rng.randrange(len(pools))
                if _strike(rng, pools[which], stopped):
                    pools[which].wait()
                    pools[which] = Pool(spool, count=2)
            if time.monotonic() >= began + STORM_S:
                break
            _until(min(due, next_blow, time.monotonic() + 0.02))
    for pid in stopped:
        _kill(pid, signal.SIGCONT)

    def settled() -> bool:
        return not spool.waiting_names() and not spool.job_names("running")

    wait_until(settled, 120)
    for pool in pools:
        pool.process.send_signal(signal.SIGTERM)
        pool.wait()
    done = {name.removesuffix(".json") for name in spool.job_names("done")}
    assert set(accepted) - done == set()
    assert spool.job_names("dlq") == []
    assert os.listdir(spool.folder("rejected")) == []
    assert witness.overlapping() == []
    again = 0
    delays_ms = []
    for job_id in accepted:
        history = spool.read("done", f"{job_id}.json").record.history
        assert [event.event for event in history].count("succeeded") == 1
        starts, ends = witness.starts(job_id), witness.ends(job_id)
        assert ends
        again += max(0, len(ends) - 1 - int(int(job_id[3:]) % 10 == 0))
        delays_ms += [
            (later - end) / 1e6
            for end, later in zip(ends, starts[1:], strict=False)
            if any(event.event == "abandoned" for event in history)
        ]
    median = f"{statistics.median(delays_ms):.0f} ms" if delays_ms else "none"
    print(f"\n{blows} blows, {len(accepted)} accepted and done; {again} ended commands ran again; recovery: {median}")
