"""Eight producers put 2,000 drops and jobs on 20 unique keys into a spool while pools run; and the same under SIGKILL.

Half of the keys skip duplicates, half replace the job that waits. The judges are an observer, who lists the waiting
jobs of a key while holding the key's lock, and the commands themselves: the lines that they write when they begin and
end. `QUEUECTL_STORM_S=60 QUEUECTL_STORM_JOBS=6000 pytest -m slow tests/stress/test_unique_storm.py -s` makes it longer.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.errors import DamagedRecordError
from queuectl.model.lifecycle import DONE, PENDING
from queuectl.spool import key_notes
from queuectl.spool.folder import SpoolDir
from tests.helpers import wait_until
from tests.pool import Witness
from tests.stress.pools import Pools, is_empty, seed

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes through /proc")

POOLS, WORKERS, PRODUCERS, KEYS = 2, 3, 8, 20
JOBS = int(os.environ.get("QUEUECTL_STORM_JOBS", "2000"))
PRODUCER = Path(__file__).with_name("unique_producer.py")


class UniqueStorm:
    """The producers and the pools of one storm, and what is seen of them."""

    def __init__(
        self,
        spool: SpoolDir,
        folder: Path,
        *,
        jobs: int,
        seed: int,
        keys: int = KEYS,
        producers: int = PRODUCERS,
        workers: int = WORKERS,
        seconds: float = 0.01,
    ) -> None:
        self.spool, self.folder = spool, folder
        self.rng = random.Random(seed)
        self.witness = Witness(folder / "witness")
        self.done: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        """The most waiting jobs of each key at one instant."""
        self.strange: list[str] = []
        self.seconds = seconds
        self.documents = [self.document(f"k{number}") for number in range(keys)]
        share = jobs // producers
        self.left = [(number * share, (number + 1) * share) for number in range(producers)]
        self.producers: list[subprocess.Popen[bytes]] = []
        self.pools = Pools(spool, self.rng, pools=POOLS, workers=workers)

    def document(self, key: str) -> dict[str, object]:
        """A job with a unique key; every other key replaces, every third one retries."""
        number = int(key[1:])
        return {
            "unique": key,
            "command": self.witness.command(seconds=self.seconds, fail_first=int(number % 3 == 0)),
            "max_retries": 1000,
            "backoff_base": 0,
            **({"on_duplicate": "replace"} if number % 2 else {}),
        }

    def start(self) -> None:
        """Start the producers."""
        self.pools.ready()
        self.producers = [self._producer(number, first) for number, (first, _) in enumerate(self.left)]

    def _producer(self, number: int, first: int) -> subprocess.Popen[bytes]:
        words = [self.spool.root, str(self.folder / f"notes{number}"), str(first), str(self.left[number][1])]
        return subprocess.Popen([sys.executable, str(PRODUCER), *words, json.dumps(self.documents)])

    def _go_on(self) -> None:
        """Start producers that were killed again, behind the job that they may have put in without an answer."""
        for number, each in enumerate(self.producers):
            if each.poll() not in (None, 0):
                notes = self.folder / f"notes{number}"
                lines = notes.read_text().splitlines() if notes.exists() else []
                done = [int(line.rpartition("-")[2]) for line in lines] or [self.left[number][0] - 1]
                self.producers[number] = self._producer(number, max(done) + 2)

    def look(self) -> None:
        """List the waiting jobs of a key under its lock."""
        key = f"k{self.rng.randrange(len(self.documents))}"
        with key_notes.locked(self.spool, key, patience_s=5) as is_locked:
            if not is_locked:
                return
            waiting = sorted(self._taken_in(key))
            note = key_notes.read(self.spool, key)
        self.most[key] = max(self.most[key], len(waiting))
        named = "" if note is None else note.id
        # The others are skipped before the job of the note starts. One of them may have been in running/ when it was
        # replaced, and was put back by the rescue of its dead worker: the job of the note waits until it is over.
        left = set(waiting) - {named, *((note.behind, *note.replaces) if note is not None else ())}
        if len(waiting) > 1 and (int(key[1:]) % 2 == 0 or left):
            self.strange.append(f"{waiting} wait for {key}, whose note names {named or 'nobody'}")

    def _taken_in(self, key: str) -> set[str]:
        """The ids of the waiting jobs of a key that were taken in: they are records."""
        found = set()
        for name in self.spool.waiting_names():
            if name.startswith(f"{key}-"):
                with contextlib.suppress(OSError, DamagedRecordError):
                    found.add(self.spool.read(PENDING, name).record.id)
        return found

    def _is_drop(self, name: str) -> bool:
        try:
            self.spool.read(PENDING, name)
        except DamagedRecordError:
            return True
        except OSError:
            pass
        return False

    def rage(self, seconds: float, *, pace: tuple[float, float] = (0.01, 0.1)) -> None:
        """Kill at random until the time is up or all is done."""
        until_s = time.monotonic() + seconds
        acts = [self.pools.kill_worker] * 4 + [self.pools.kill_command] * 2
        acts += [self.kill_producer] * 2 + [self.pools.kill_pool]
        while time.monotonic() < until_s and self._is_busy():
            act = self.rng.choice(acts)
            with contextlib.suppress(ProcessLookupError):
                self.done[act.__name__] += act()
            for _ in range(3):
                self.look()
            time.sleep(self.rng.uniform(*pace))  # the pace of the storm, not a wait
            self._go_on()
            self.pools.replace_the_dead()

    def _is_busy(self) -> bool:
        return any(each.poll() is None for each in self.producers) or not is_empty(self.spool)

    def kill_producer(self) -> bool:
        """SIGKILL a producer, whatever it has acknowledged."""
        alive = [each for each in self.producers if each.poll() is None]
        return bool(alive) and self.pools.kill_one(self.rng.choice(alive).pid)

    def finish(self) -> None:
        """Let the producers end; then put in a last job of each key that replaces, and let the pools finish."""
        for each in self.producers:
            while each.poll() is None:
                self.look()
        # A drop that is judged after the last job would take its place.
        wait_until(lambda: not any(map(self._is_drop, self.spool.waiting_names())), 120)
        spool = Spool(self.spool.root)
        for document in self.documents:
            if "on_duplicate" in document:
                spool.enqueue_many([{**document, "id": f"{document['unique']}-last"}])
        wait_until(lambda: self.look() or not self._is_busy(), 120)

    def close(self) -> None:
        """Stop what still runs."""
        for each in self.producers:
            each.kill()
            each.wait()
        self.pools.stop()

    def judge(self) -> str:
        """Return what was seen, in words; raise where P1 or P15 was broken."""
        assert not self.strange, "\n".join(self.strange[:10])
        records = {name[:-5]: self.spool.read(DONE, name).record for name in self.spool.job_names(DONE)}
        said: dict[str, str] = {}
        for notes in self.folder.glob("notes*"):
            for line in notes.read_text().splitlines():
                kind, job_id = line.split()
                said[job_id] = kind
        lost = [job_id for job_id, kind in said.items() if kind != "S" and job_id not in records]
        assert not lost, f"lost (P1): {lost[:10]}"
        kept = [job_id for job_id, kind in said.items() if kind == "S" and job_id in records]
        assert not kept, f"said to be skipped, and there: {kept[:10]}"
        skipped = {job_id: item.history[-1] for job_id, item in records.items() if item.history[-1].event == "skipped"}
        assert len(self.spool.job_names("dlq")) == 0
        for job_id, event in skipped.items():  # each gave way to a job that ran, perhaps through others
            seen = [job_id]
            while (other := event.replaced_by or event.duplicate_of) in skipped:
                assert other not in seen, f"they gave way to each other: {[*seen, other]}"
                seen.append(other)
                event = skipped[other]
            assert any(each.event == "succeeded" for each in records[other].history), f"{seen} gave way to {other}"
        self._judge_intervals()
        starts = self.witness.lines()
        for document in self.documents:
            if "on_duplicate" in document:
                last = [job_id for kind, job_id, _, _ in starts if kind == "S" and _key(job_id) == document["unique"]]
                assert last[-1] == f"{document['unique']}-last", "the last job of the key is not the last that ran"
        ran = len(records) - len(skipped)
        return f"{len(said)} acknowledged, {ran} ran, {len(skipped)} skipped in done/; {dict(self.done)}"

    def _judge_intervals(self) -> None:
        """No two commands of a key at once. A command that was killed counts until its kill began."""
        begun: dict[int, tuple[int, str]] = {}
        changes: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for kind, job_id, pid, at in self.witness.lines():
            assert kind != "O", f"two runs of {job_id} (P3)"
            if kind == "S":
                begun[pid] = at, job_id
            else:
                since, _ = begun.pop(pid)
                changes[_key(job_id)] += [(since, 1), (at, -1)]
        for pid, (since, job_id) in begun.items():
            changes[_key(job_id)] += [(since, 1), (max(since + 1, self.pools.killed.get(pid, since + 1)), -1)]
        for key, each in changes.items():
            inside = 0
            for _, change in sorted(each):
                inside += change
                assert inside <= 1, f"two jobs of {key} at once (P15)"


def _key(job_id: str) -> str:
    return job_id.partition("-")[0]


def _storm(spool: SpoolDir, folder: Path, *, jobs: int, kills_s: float) -> None:
    storm = UniqueStorm(spool, folder, jobs=jobs, seed=(chosen := seed()))
    try:
        storm.start()
        if kills_s:
            storm.rage(kills_s)
        storm.finish()
        print(f"seed {chosen}: {storm.judge()}")
    finally:
        storm.close()


def test_eight_producers_on_twenty_keys(spool: SpoolDir, tmp_path: Path) -> None:
    """At most one job of a key waits and one runs, nothing that was acknowledged is lost, the last one ran (P15)."""
    _storm(spool, tmp_path, jobs=JOBS // 2, kills_s=0)


@pytest.mark.slow
def test_the_same_under_sigkill(spool: SpoolDir, tmp_path: Path) -> None:
    """Workers, commands, producers and whole pools are killed at random (P1, P3, P15)."""
    _storm(spool, tmp_path, jobs=JOBS, kills_s=float(os.environ.get("QUEUECTL_STORM_S", "15")))
