"""Four pools share a queue with a rate, while workers, commands and pools are killed and stopped at random.

The proof are the log of starts and the records: each job's `started` has the instant that was checked under the lock
of the gate. The commands write when they began, too. A command begins later than its start by as long as a process
takes to start, which differs from run to run, so two commands may begin nearer to each other than their starts were;
that delay is measured, and no window that is shorter by the longest delay holds more.
`QUEUECTL_STORM_S=30 pytest -m slow tests/stress/test_rate_storm.py -s` makes it longer.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.flows import rates
from queuectl.model import times
from queuectl.model.lifecycle import STATES
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in, wait_until
from tests.pool import queuectl
from tests.stress.pools import Pools, seed
from tests.stress.stalls import Stalls

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes through /proc")

POOLS, WORKERS, STARTS, WINDOW_S = 4, 3, 20, 2.0
STORM_S = float(os.environ.get("QUEUECTL_STORM_S", "12"))


class RateStorm:
    """The pools of one storm, and what is done to them."""

    def __init__(self, spool: SpoolDir, folder: Path, seed: int) -> None:
        self.spool = spool
        self.rng = random.Random(seed)
        self.witness = folder / "witness"
        queuectl(spool, "config", "set", "queues.api.rate", f"{STARTS}/{WINDOW_S:g}s")
        command = f'echo "$QUEUECTL_JOB_ID.$QUEUECTL_ATTEMPT $(date +%s.%N)" >> {self.witness}'
        jobs = int(STORM_S / WINDOW_S * STARTS * 1.3) + STARTS
        Spool(spool.root).enqueue_many(
            [
                {"id": f"job{number:04}", "queue": "api", "command": command, "max_retries": 1000, "backoff_base": 0}
                for number in range(jobs)
            ]
        )
        self.pools = Pools(spool, self.rng, pools=POOLS, workers=WORKERS)
        self.stalls = Stalls(self.rng, shortest_s=0.1, longest_s=1.5)

    def rage(self) -> None:
        """Kill and stop at random until the time is up."""
        self.pools.ready()
        acts = [self.pools.kill_worker] * 4 + [self._stop_worker] * 3 + [self.pools.kill_pool]
        until_s = time.monotonic() + STORM_S
        while time.monotonic() < until_s:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                self.rng.choice(acts)()
            time.sleep(self.rng.uniform(0.05, 0.4))  # the pace of the storm, not a wait
            self.stalls.go_on(time.monotonic())
            self.pools.replace_the_dead()
        self.stalls.go_on(float("inf"))

    def _stop_worker(self) -> bool:
        return self.stalls.stop(self.pools.some_worker())

    def on_record(self) -> dict[str, float]:
        """When each attempt started, by the records: `ID.ATTEMPT`."""
        found = {}
        for state in STATES:
            for name in names_in(self.spool, state):
                if name.endswith(".json"):
                    record = json.loads(Path(self.spool.path(state, name)).read_bytes())
                    for event in record["history"]:
                        if event["event"] == "started":
                            found[f"{record['id']}.{event['attempt']}"] = times.from_text(event["at"])
        return found

    def in_log(self) -> list[float]:
        """The last starts, by the log."""
        data = Path(self.spool.starts_path("api")).read_text()
        assert len(data) % rates.LINE_BYTES == 0
        return [times.from_text(line) for line in data.split()]

    def by_commands(self) -> dict[str, float]:
        """When each command began, by its own clock."""
        pairs = (line.split() for line in self.witness.read_text().splitlines())
        return {attempt: float(at) for attempt, at in pairs}


def most(starts: list[float], window_s: float) -> int:
    """The most starts in any window of this length; two that are a window apart are in none together."""
    at = sorted(round(start * 1e6) for start in starts)
    width, first, found = round(window_s * 1e6), 0, 0
    for last, instant in enumerate(at):
        while at[first] <= instant - width:
            first += 1
        found = max(found, last - first + 1)
    return found


@pytest.mark.slow
def test_no_window_holds_more_starts_over_four_pools(spool: SpoolDir, tmp_path: Path) -> None:
    """Whatever is killed or stopped: no window of 2 s holds 21 starts, and jobs go on (P12)."""
    storm = RateStorm(spool, tmp_path, chosen := seed())
    try:
        storm.rage()
        wait_until(lambda: len(names_in(spool, "done")) > STARTS * 2)
    finally:
        storm.pools.stop()
    on_record, by_commands = storm.on_record(), storm.by_commands()
    log = storm.in_log()
    delays = sorted(at - on_record[attempt] for attempt, at in by_commands.items())
    print(
        f"seed {chosen}: {len(on_record)} starts in {STORM_S:g} s, {len(storm.pools.killed)} killed; "
        f"most in {WINDOW_S:g} s: {most(list(on_record.values()), WINDOW_S)} by the records, "
        f"{most(log, WINDOW_S)} by the log, {most(list(by_commands.values()), WINDOW_S)} by the commands; "
        f"a command begins {delays[0] * 1000:.1f} to {delays[-1] * 1000:.1f} ms after its start"
    )
    assert by_commands.keys() <= on_record.keys()
    assert set(log) <= set(on_record.values()) or storm.pools.killed
    assert most(list(on_record.values()), WINDOW_S) <= STARTS
    assert most(log, WINDOW_S) <= STARTS
    assert min(delays) > -0.002  # the instant in the log is rounded up
    assert most(list(by_commands.values()), max(0.01, WINDOW_S - delays[-1])) <= STARTS


# A pool whose wall clock is an hour behind while the file $SET_BACK exists, and which writes the true instant of each
# start, under the lock of the gate, to $TRUE_STARTS.
_OTHER_CLOCK = """
import os, sys, time
from queuectl.cli import main
from queuectl.flows import rates
from queuectl.system.clock import Clock

Clock.now = staticmethod(lambda: time.time() - 3600 * os.path.exists(os.environ["SET_BACK"]))
told, add = os.open(os.environ["TRUE_STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT), rates.Starts.add

def note(self, start):
    is_behind = time.time() - start.at > 1800
    os.write(told, f"{start.at + 3600 * is_behind:.3f}\\n".encode())
    add(self, start)

rates.Starts.add = note
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_clock_that_is_set_back_an_hour_lets_no_more_start(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four pools at 20 per 2 s; the clock goes back an hour and later on again: no true window holds 21 (P12)."""
    set_back, true_starts = tmp_path / "set-back", tmp_path / "starts"
    monkeypatch.setenv("SET_BACK", str(set_back))
    monkeypatch.setenv("TRUE_STARTS", str(true_starts))
    queuectl(spool, "config", "set", "queues.api.rate", f"{STARTS}/{WINDOW_S:g}s")
    Spool(spool.root).enqueue_many([{"command": "exit 0", "queue": "api"} for _ in range(90)])
    began_s = time.monotonic()
    with Pools(spool, random.Random(), pools=POOLS, workers=2, program=("-c", _OTHER_CLOCK)):
        wait_until(lambda: len(names_in(spool, "done")) >= 30)
        set_back.touch()
        ended = wait_until(lambda: len(names_in(spool, "done")) == 90)
    starts = [float(line) for line in true_starts.read_text().split()]
    print(
        f"{len(starts)} starts in {time.monotonic() - began_s:.1f} s, at most {most(starts, WINDOW_S)} in 2 s; {ended}"
    )
    assert most(starts, WINDOW_S) <= STARTS
    assert len(starts) == 90
