"""Two pools and a producer under random SIGKILL and SIGSTOP; then everything drains, and the jobs' own evidence judges.

`QUEUECTL_STORM_S=60 QUEUECTL_STORM_JOBS=400 pytest tests/stress -m "slow or not slow" -s` makes it longer, and
`QUEUECTL_STORM_SEED` repeats the choices of one run (not its timing). What it adds to the crash sweep are real
processes in real numbers, at moments that nobody chose; what it cannot do is to prove that a moment was hit.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from queuectl.model import times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, STATES
from queuectl.spool import settings_file
from queuectl.spool.folder import SpoolDir
from tests.helpers import wait_until
from tests.pool import Witness, children, queuectl
from tests.stress.pools import Pools, is_empty, seed
from tests.stress.stalls import Stalls

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes through /proc")

PRODUCER = Path(__file__).with_name("producer.py")
DRAIN_S = 150.0


class Killed(NamedTuple):
    """A run that lost its worker: by what, of which job, when (monotonic nanoseconds), and its command's process."""

    how: str
    job_id: str
    at: int
    pid: int


class Storm:
    """The processes of one storm, and what is done to them."""

    def __init__(self, spool: SpoolDir, folder: Path, *, jobs: int, seconds: float, seed: int) -> None:
        self.spool = spool
        self.witness = Witness(folder / "witness")
        self.notes = folder / "notes"
        self.rng = random.Random(seed)
        self.jobs = jobs
        self.seconds = seconds
        slots = 2 if settings_file.load(spool).worker_processes is None else 4
        self.pools = Pools(spool, self.rng, pools=2, workers=slots)
        self.killed: list[Killed] = []
        self.done: dict[str, int] = {}
        self.stalls = Stalls(self.rng, shortest_s=0.2, longest_s=2.0)
        self.producer = self._produce(0)

    def _produce(self, first: int) -> subprocess.Popen[bytes]:
        good, never, again = {"max_retries": 1000, "backoff_base": 0}, {"max_retries": 1, "backoff_base": 0}, 1
        documents: list[dict[str, Any]] = [
            {**good, "command": self.witness.command(seconds=seconds)} for seconds in (0.05, 0.1, 0.2, 0.4, 0.1, 0.1)
        ]
        documents.append({**good, "command": self.witness.command(seconds=0.1, fail_first=again)})
        documents.append({**never, "command": self.witness.command(seconds=0.1, code=1), "tags": ["doomed"]})
        pause_s = 0.8 * self.seconds / self.jobs
        words = [self.spool.root, str(self.notes), str(pause_s), str(first), str(self.jobs), json.dumps(documents)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen([sys.executable, str(PRODUCER), *words], env=env)

    def noted(self, kind: str) -> list[str]:
        """The jobs that the producers tried (T), and those they were told are accepted (A)."""
        text = self.notes.read_text() if self.notes.exists() else ""
        return [line[2:] for line in text.splitlines() if line.startswith(f"{kind} ")]

    # --------------------------------------------------------------------------------------------------- violence

    def rage(self) -> None:
        """Kill and stop at random until the time is up; then let everything go on."""
        weighted = {
            self.kill_worker: 8,
            self.kill_command: 2,
            self.kill_supervisor: 2,
            self.kill_pool: 2,
            self.stop_worker: 4,
            self.stop_supervisor: 1,
            self.kill_producer: 3,
        }
        self.pools.ready()
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            (act,) = self.rng.choices(list(weighted), list(weighted.values()))
            with contextlib.suppress(ProcessLookupError):
                if act():
                    self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
            time.sleep(self.rng.uniform(0.2, 0.6))  # the pace of the storm, not a wait
            self.stalls.go_on(time.monotonic())
            self._replace_the_dead()
        self.stalls.go_on(float("inf"))

    def _replace_the_dead(self) -> None:
        self.pools.replace_the_dead()
        if self.producer.poll() is not None:
            tried = [int(job_id.removeprefix("job")) for job_id in self.noted("T")]
            if max(tried, default=-1) + 1 < self.jobs:
                self.producer = self._produce(max(tried, default=-1) + 1)

    def _lose(self, how: str, worker: int) -> None:
        for pid in children(worker):
            job_id = _job_of(pid)
            if job_id:
                self.killed.append(Killed(how, job_id, time.monotonic_ns(), pid))

    def kill_worker(self) -> bool:
        """SIGKILL one worker; its command goes on."""
        worker = self.pools.some_worker()
        if worker:
            self._lose("worker", worker)
            os.kill(worker, signal.SIGKILL)
        return bool(worker)

    def kill_command(self) -> bool:
        """SIGKILL one command: a failed run."""
        return self.pools.kill_command()

    def kill_supervisor(self) -> bool:
        """SIGKILL one supervisor; its workers end after their jobs."""
        self.pools.some().process.kill()
        return True

    def kill_pool(self) -> bool:
        """SIGKILL a supervisor, its workers and their commands."""
        pool = self.pools.some()
        for worker in pool.worker_pids():
            self._lose("whole pool", worker)
        pool.kill_everything()
        return True

    def stop_worker(self) -> bool:
        """SIGSTOP one worker for a while: slow is not dead."""
        return self.stalls.stop(self.pools.some_worker())

    def stop_supervisor(self) -> bool:
        """SIGSTOP one supervisor for a while."""
        return self.stalls.stop(self.pools.some().process.pid)

    def kill_producer(self) -> bool:
        """SIGKILL the producer, likely in the middle of an enqueue."""
        if self.producer.poll() is not None:
            return False
        self.producer.kill()
        self.producer.wait()
        return True

    # ------------------------------------------------------------------------------------------------------- calm

    def drain(self) -> None:
        """Let the producer and the pools finish; stop them."""
        self._replace_the_dead()
        with contextlib.suppress(AssertionError):  # what is left is told as stuck
            wait_until(lambda: self._is_over(), DRAIN_S)
        self.pools.stop()
        self.producer.wait(DRAIN_S)

    def _is_over(self) -> bool:
        self._replace_the_dead()
        return self.producer.poll() is not None and is_empty(self.spool)

    def close(self) -> None:
        """End what an assertion has left."""
        self.stalls.go_on(float("inf"))
        self.producer.kill()
        self.producer.wait()
        self.pools.kill()

    # ------------------------------------------------------------------------------------------------------ judging

    def judge(self) -> list[str]:
        """What is wrong, each as a sentence."""
        places: dict[str, list[str]] = {}
        wrong: list[str] = []
        for state in STATES:
            for name in self.spool.job_names(state):
                item = self.spool.read(state, name).record
                places.setdefault(item.id, []).append(state)
                kinds = [event.event for event in item.history]
                wrong += self._judge_history(item.id, state, kinds, "doomed" in item.tags)
        wrong += [f"{job_id} is lost (P1)" for job_id in self.noted("A") if job_id not in places]
        wrong += [f"{job_id} was never enqueued" for job_id in places if job_id not in self.noted("T")]
        wrong += [f"{job_id} is in {' and '.join(states)} (P2)" for job_id, states in places.items() if len(states) > 1]
        waiting = {job_id: states[0] for job_id, states in places.items() if states[0] in (PENDING, RUNNING)}
        wrong += [f"{job_id} is stuck in {state} (P5)" for job_id, state in waiting.items()]
        wrong += [f"two runs of {job_id} at once (P3)" for job_id in sorted(set(self.witness.overlapping()))]
        return wrong

    def _judge_history(self, job_id: str, state: str, kinds: list[str], doomed: bool) -> list[str]:
        wrong = []
        if len(self.witness.starts(job_id)) > kinds.count("started"):
            wrong.append(f"{job_id} ran more often than is on record (P4)")
        failures = sum(kind in ("failed", "timed_out", "abandoned") for kind in kinds)
        if state == DONE and (doomed or kinds[-1] != "succeeded" or not self.witness.ends(job_id)):
            wrong.append(f"{job_id} is done falsely: {kinds}")
        if state == DLQ and (not doomed or failures != 2):
            wrong.append(f"{job_id} is dead falsely: {kinds}")
        return wrong

    def recovery_s(self, how: str) -> list[tuple[float, float]]:
        """From the end of a run that lost its worker until that was on record, and until the job ran again.

        The second holds the time that the job stood in the queue behind the others.
        """
        found = []
        lines = self.witness.lines()
        for loss in self.killed:
            own = [at for kind, _, pid, at in lines if pid == loss.pid and kind == "E" and at > loss.at]
            over = max([loss.at, *own])
            later = [at for kind, job_id, _, at in lines if kind == "S" and job_id == loss.job_id and at > over]
            noticed = [at for at in self._abandoned(loss.job_id) if at > over - 5e6]
            if loss.how == how and later and noticed:
                found.append(((noticed[0] - over) / 1e9, (later[0] - over) / 1e9))
        return found

    def _abandoned(self, job_id: str) -> list[float]:
        """When runs of a job were found to have been abandoned (monotonic nanoseconds, by the wall clock's offset)."""
        where = self.spool.find(job_id)
        if where is None:
            return []
        history = self.spool.read(where.state, where.name).record.history
        offset_s = time.time() - time.monotonic()
        return [(times.from_text(event.at) - offset_s) * 1e9 for event in history if event.event == "abandoned"]

    def finished_ran_again(self) -> int:
        """Runs that began although an earlier run of the job had ended well."""
        count = 0
        good: dict[str, bool] = {}
        ends: dict[str, int] = {}
        for kind, job_id, _, _ in self.witness.lines():
            number = int(job_id.removeprefix("job")) % 8
            if kind == "S":
                count += good.get(job_id, False)
            elif kind == "E":
                ends[job_id] = ends.get(job_id, 0) + 1
                good[job_id] = number < 6 or (number == 6 and ends[job_id] > 1)
        return count


def _job_of(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((word.partition(b"=")[2].decode() for word in words if word.startswith(b"QUEUECTL_JOB_ID=")), "")


def _storm(spool: SpoolDir, folder: Path, seconds: float, jobs: int) -> None:
    seconds = float(os.environ.get("QUEUECTL_STORM_S", seconds))
    jobs = int(os.environ.get("QUEUECTL_STORM_JOBS", jobs))
    storm = Storm(spool, folder, jobs=jobs, seconds=seconds, seed=(chosen := seed()))
    try:
        storm.rage()
        calm_s = time.monotonic()
        storm.drain()
        calm_s = time.monotonic() - calm_s
    finally:
        storm.close()
    print(f"\nstorm of {seconds:g} s, seed {chosen}: {len(storm.noted('A'))} of {jobs} jobs acknowledged, ", end="")
    print(", ".join(f"{count} {name}" for name, count in storm.done.items()))
    for how in ("worker", "whole pool"):
        delays = storm.recovery_s(how)
        for place, what in enumerate(("on record", "running again")):
            sorted_s = sorted(delay[place] for delay in delays)
            if sorted_s:
                took = f"{statistics.median(sorted_s):.3f} s (median), at most {sorted_s[-1]:.3f} s"
                print(f"loss of a {how}, {len(sorted_s)} runs: {what} after {took}")
    print(f"finished commands that ran again: {storm.finished_ran_again()}; drained in {calm_s:.1f} s")
    wrong = storm.judge()
    assert not wrong, f"seed {chosen}:\n" + "\n".join(wrong)


def test_a_short_storm_of_kills_breaks_no_promise(spool: SpoolDir, tmp_path: Path) -> None:
    """P1 to P5: three seconds of kills lose, double, overlap and strand nothing."""
    _storm(spool, tmp_path, 3, 20)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("processes", ["auto", "1"])
def test_a_storm_of_kills_breaks_no_promise(spool: SpoolDir, tmp_path: Path, processes: str) -> None:
    """P1 to P5: ten seconds of kills, or QUEUECTL_STORM_S, lose, double, overlap and strand nothing.

    With workers that have one slot, and with workers that have four.
    """
    queuectl(spool, "config", "set", "worker_processes", processes)
    _storm(spool, tmp_path, 10, 65)
