"""gates: no more jobs of a queue or a key run than their limit, and the place of a dead one is free."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from queuectl.flows import boards, gates
from queuectl.flows.admission import PAUSED
from queuectl.flows.gates import BUSY, FULL, KEY_FULL, Gates, Passage, Shut
from queuectl.jobs.verdict import Claimed, Gated
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.model.queues import Place, Queue
from queuectl.model.settings import defaults
from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import Lease
from queuectl.spool.session import Session
from queuectl.system import disk
from queuectl.system.clock import Clock
from queuectl.system.locks import FileLock
from tests.helpers import Desk, listing, make_spool, names_in, wait_until

OK = Outcome("succeeded", 0, "", 0.01)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX")


def _desks(tmp_path: Path, number: int, **queues: Queue) -> list[Desk]:
    spool = make_spool(tmp_path / "spool")
    settings = defaults()._replace(queues=queues)
    return [Desk(spool, worker=f"w{each}", settings=settings, seed=each) for each in range(1, number + 1)]


def _inside(spool: SpoolDir, queue: str = "mail") -> list[str]:
    return [entry.job_id for entry in boards.read(spool, queue)]


# ------------------------------------------------------------------------------------------------------------- limits


def test_full_queue_lets_no_more_in(tmp_path: Path) -> None:
    """With two slots a third job goes back under its full name, and runs when one of the two has ended (P12)."""
    one, two, three = _desks(tmp_path, 3, mail=Queue(slots=2))
    names = [one.enqueue(id=f"job{number}", queue="mail") for number in (1, 2, 3)]
    first = one.start(names[0])
    two.start(names[1])
    assert three.decline(names[2]) == Gated("job3,q=mail.json", "mail", "", FULL)
    assert listing(one.spool) == {"pending": ["job3,q=mail.json"], "running": ["job1.json", "job2.json"]}
    one.settlements.settle(first, OK)
    assert _inside(one.spool) == ["job2"]
    assert isinstance(three.claim("job3,q=mail.json"), Claimed)


def test_jobs_with_one_key_run_one_at_a_time(tmp_path: Path) -> None:
    """A queue that no setting names has one place per key; other keys pass (P12)."""
    one, two, three = _desks(tmp_path, 3)
    one.start(one.enqueue(id="a1", key="a"))
    assert two.decline(two.enqueue(id="a2", key="a")) == Gated("a2,key=a.json", "default", "a", KEY_FULL)
    assert isinstance(three.claim(three.enqueue(id="b1", key="b")), Claimed)


def test_same_key_in_another_queue_is_another_key(tmp_path: Path) -> None:
    """Keys belong to their queue."""
    one, two = _desks(tmp_path, 2)
    one.start(one.enqueue(id="a1", key="a", queue="mail"))
    assert isinstance(two.claim(two.enqueue(id="a2", key="a", queue="scans")), Claimed)


def test_owner_can_be_the_key(tmp_path: Path) -> None:
    """With key = "owner" the jobs of one owner run one at a time, also an owner whose name is no plain key (P12)."""
    one, two, three = _desks(tmp_path, 3, mail=Queue(key="owner"))
    one.start(one.enqueue(id="a1", queue="mail", owner="anna.k"))
    assert isinstance(two.decline(two.enqueue(id="a2", queue="mail", owner="anna.k")), Gated)
    assert isinstance(three.claim(three.enqueue(id="b1", queue="mail", owner="ben")), Claimed)


def test_per_key_allows_more(tmp_path: Path) -> None:
    """`per_key` jobs with a key run at once, and not one more (P12)."""
    one, two, three = _desks(tmp_path, 3, mail=Queue(per_key=2))
    one.start(one.enqueue(id="a1", queue="mail", key="a"))
    two.start(two.enqueue(id="a2", queue="mail", key="a"))
    assert isinstance(three.decline(three.enqueue(id="a3", queue="mail", key="a")), Gated)


def test_plain_job_makes_no_board(tmp_path: Path) -> None:
    """A job without a limit passes no gate."""
    (one,) = _desks(tmp_path, 1, mail=Queue(slots=1))
    claimed = one.start(one.enqueue(id="a"))
    assert claimed.gate is None
    assert not os.path.exists(one.spool.gate_dir)


def test_dropped_job_waits_under_its_full_name(tmp_path: Path) -> None:
    """A drop says its queue inside only: where the gate is shut it is taken in, and its name says the rest (P12)."""
    one, two = _desks(tmp_path, 2, mail=Queue(slots=1))
    one.start(one.enqueue(id="a1", queue="mail"))
    two.drop("b.json", {"command": "true", "queue": "mail", "key": "x y"})
    gated = two.decline("b.json")
    assert isinstance(gated, Gated)
    assert gated.name == names_in(two.spool, PENDING)[0]
    assert gated.name.startswith("b,q=mail,key=x-y~")
    assert two.document(PENDING, gated.name)["format"] == 2


def test_name_that_hides_the_queue_gets_it_back(tmp_path: Path) -> None:
    """The record decides: stripping flags from a name passes no gate (P12)."""
    one, two = _desks(tmp_path, 2, mail=Queue(slots=1))
    one.start(one.enqueue(id="a1", queue="mail"))
    name = two.enqueue(id="a2", queue="mail")
    os.rename(two.spool.path(PENDING, name), two.spool.path(PENDING, "a2.json"))
    assert two.decline("a2.json") == Gated("a2,q=mail.json", "mail", "", FULL)


def test_paused_queue_starts_nothing(tmp_path: Path) -> None:
    """PAUSED-QUEUE holds the jobs of that queue only."""
    one, two = _desks(tmp_path, 2)
    pause.pause(one.spool, "moving", until_at=None, queue="mail")
    assert one.decline(one.enqueue(id="a", queue="mail")) == Gated("a,q=mail.json", "mail", "", PAUSED)
    assert isinstance(two.claim(two.enqueue(id="b")), Claimed)


def test_locked_gate_is_busy(tmp_path: Path) -> None:
    """A process that is stopped while it holds the gate keeps others out, and holds up no other queue (P12)."""
    one, two = _desks(tmp_path, 2, mail=Queue(slots=5))
    one.settlements.settle(one.start(one.enqueue(id="a", queue="mail")), OK)
    lock = FileLock(one.spool.gate_lock_path("mail"))
    assert lock.try_acquire()
    real = Desk(two.spool, worker="w3", clock=Clock(), settings=two.settings)
    assert real.decline(two.enqueue(id="b", queue="mail")) == Gated("b,q=mail.json", "mail", "", BUSY)
    assert isinstance(two.claim(two.enqueue(id="c", queue="scans")), Claimed)
    lock.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be deleted there")
def test_deleted_lock_file_excludes_as_before(tmp_path: Path) -> None:
    """Who kept the lock file open does not pass beside the holder of the new one (P12)."""
    (one,) = _desks(tmp_path, 1, mail=Queue(slots=5))
    real = Desk(one.spool, worker="w3", clock=Clock(), settings=one.settings)
    real.settlements.settle(real.start(real.enqueue(id="a", queue="mail")), OK)
    os.unlink(one.spool.gate_lock_path("mail"))
    lock = FileLock(one.spool.gate_lock_path("mail"))
    assert lock.try_acquire()
    assert real.decline(one.enqueue(id="b", queue="mail")) == Gated("b,q=mail.json", "mail", "", BUSY)
    lock.close()
    assert isinstance(real.claim("b,q=mail.json"), Claimed)


# -------------------------------------------------------------------------------------------------------- the dead


def test_place_of_a_dead_worker_is_free(tmp_path: Path) -> None:
    """A free lease is the proof: the next one in takes the place at once, before any rescue (P12)."""
    one, two = _desks(tmp_path, 2, mail=Queue(slots=1))
    one.start(one.enqueue(id="a1", queue="mail"))
    one.die()
    assert isinstance(two.claim(two.enqueue(id="a2", queue="mail")), Claimed)


def test_place_of_a_rescued_run_is_blanked(tmp_path: Path) -> None:
    """Rescue clears the line of the run that it settles."""
    one, two = _desks(tmp_path, 2, mail=Queue(slots=1))
    one.start(one.enqueue(id="a1", queue="mail"))
    one.die()
    two.orphans.rescue("a1.json")
    assert _inside(one.spool) == []


def test_a_failed_start_gives_the_place_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the start cannot be recorded, no line stays behind."""
    one, two = _desks(tmp_path, 2, mail=Queue(slots=1))
    name = one.enqueue(id="a1", queue="mail")
    with monkeypatch.context() as patch:

        def refuse(*_args: object, **_options: object) -> int:
            raise BlockingIOError

        patch.setattr(disk, "append", refuse)
        one.decline(name)
    assert _inside(one.spool) == []
    assert isinstance(two.claim(name), Claimed)


def test_a_retry_and_a_dead_job_leave(tmp_path: Path) -> None:
    """Whatever the outcome, the place is free: a retry waits outside the gate."""
    (one,) = _desks(tmp_path, 1, mail=Queue(slots=1))
    for retries, to in ((1, PENDING), (0, DLQ)):
        name = one.enqueue(id=f"a{retries}", queue="mail", max_retries=retries)
        assert one.run(name, Outcome("failed", 1, "", 0.01)).to == to
        assert _inside(one.spool) == []


# ------------------------------------------------------------------------------------------------------ lost boards


_FOLDER = pytest.param(
    "folder deleted", marks=pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be deleted")
)


@pytest.mark.parametrize("damage", ["deleted", "torn", "garbage", _FOLDER])
def test_lost_board_is_made_again(tmp_path: Path, damage: str) -> None:
    """A board that is gone or broken is made from running/: nobody gets in twice (P12)."""
    one, two, three = _desks(tmp_path, 3, mail=Queue(slots=2))
    one.start(one.enqueue(id="a1", queue="mail"))
    second = two.start(two.drop("a2.json", {"command": "true", "queue": "mail"}))
    one.enqueue(id="other")
    path = Path(one.spool.gate_path("mail"))
    if damage == "deleted":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "garbage":
        path.write_bytes(b"x" * 512)
    else:
        path.unlink()
        Path(one.spool.gate_lock_path("mail")).unlink()
        os.rmdir(one.spool.gate_dir)
    name = three.enqueue(id="a3", queue="mail")
    assert isinstance(three.decline(name), Gated)
    two.settlements.settle(second, OK)
    assert _inside(one.spool) == ["a1"]
    assert isinstance(three.claim(name), Claimed)


def test_drop_that_just_started_is_in_a_board_made_again(tmp_path: Path) -> None:
    """The record of a drop whose command runs may still be in tmp/: it counts (P12)."""
    one, two = _desks(tmp_path, 2, mail=Queue(slots=1))
    one.drop("a1.json", {"command": "true", "queue": "mail"})
    claimed = one.claim("a1.json")
    assert isinstance(claimed, Claimed)
    assert claimed.copy or sys.platform == "win32"
    os.unlink(one.spool.gate_path("mail"))
    assert isinstance(two.decline(two.enqueue(id="b2", queue="mail")), Gated)


def test_who_leaves_finds_his_line_in_a_new_board(tmp_path: Path) -> None:
    """A board that was made again has other places: no place stays taken for as long as its worker lives (P12)."""
    one, two, three = _desks(tmp_path, 3, mail=Queue(slots=3))
    first = one.start(one.enqueue(id="z1", queue="mail"))
    second = two.start(two.enqueue(id="a1", queue="mail"))
    os.unlink(one.spool.gate_path("mail"))
    three.start(three.enqueue(id="m1", queue="mail"))
    one.settlements.settle(first, OK)
    assert sorted(_inside(one.spool)) == ["a1", "m1"]
    two.settlements.settle(second, OK)
    assert _inside(one.spool) == ["m1"]


def test_jobs_that_started_before_the_limit_count_until_they_end(tmp_path: Path) -> None:
    """A new limit counts what runs; when that ends, its place is free although its worker lives on (P12)."""
    one, two = _desks(tmp_path, 2)
    first = one.start(one.enqueue(id="a1", queue="mail"))
    assert first.gate is None
    limited = Desk(
        one.spool, worker="w3", clock=one.clock, settings=one.settings._replace(queues={"mail": Queue(slots=1)})
    )
    assert isinstance(limited.decline(two.enqueue(id="a2", queue="mail")), Gated)
    assert boards.alive(one.spool, boards.read(one.spool, "mail")) == [
        boards.Entry(one.lease.name, "", "a1", is_found=True)
    ]
    one.settlements.settle(first, OK)
    assert isinstance(limited.claim("a2,q=mail.json"), Claimed)


def test_board_made_again_has_only_what_counts(tmp_path: Path) -> None:
    """A queue without slots counts keys only: a job without one is in no line."""
    one, two = _desks(tmp_path, 2)
    one.start(one.enqueue(id="free"))
    two.start(two.enqueue(id="a1", key="a"))
    assert _inside(one.spool, "default") == ["a1"]


def test_board_is_cleared_of_the_dead_as_it_grows(tmp_path: Path) -> None:
    """A queue with keys only never asks for its dead: its board stays small all the same."""
    (one,) = _desks(tmp_path, 1)
    made = Gates(one.session)
    for number in range(200):
        passage = made.enter(Place("mail", f"k{number}", 0, 1), f"gone-{number}", f"j{number}")
        assert isinstance(passage, Passage)
        passage.open()
    assert os.path.getsize(one.spool.gate_path("mail")) <= 70 * boards.LINE_BYTES


# ------------------------------------------------------------------------------------------------------------- storm


@posix_only
def test_no_limit_is_exceeded_whoever_is_killed(tmp_path: Path) -> None:
    """Processes pass one gate while others are killed at random: never more inside than places (P12)."""
    storm(tmp_path, seconds=0.6, workers=5)


@posix_only
@pytest.mark.slow
def test_no_limit_is_exceeded_in_a_long_storm(tmp_path: Path) -> None:
    """The same for longer, with more processes (P12)."""
    storm(tmp_path, seconds=float(os.environ.get("QUEUECTL_STORM_S", "20")), workers=8)


PLACES = 2


def storm(tmp_path: Path, *, seconds: float, workers: int) -> int:
    """Let processes go through a gate and kill them; return how often one was in."""
    spool = make_spool(tmp_path / "spool")
    witness = tmp_path / "witness"
    rng = random.Random(7)
    alive: dict[int, None] = {}
    killed: dict[int, float] = {}
    until_s = time.monotonic() + seconds
    number = 0
    try:
        while time.monotonic() < until_s or is_slow(witness, 50, until_s):
            while len(alive) < workers:
                number += 1
                alive[_start_worker(spool, witness, f"w{number}")] = None
            time.sleep(rng.uniform(0.001, 0.03))
            pid = rng.choice(list(alive))
            del alive[pid]
            killed[pid] = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    finally:
        for pid in alive:
            killed[pid] = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return _most_inside(witness, killed)


def is_slow(witness: Path, lines: int, until_s: float) -> bool:
    """True while fewer lines are there than a storm needs, as on a busy machine; a minute after its end it fails."""
    has_few = not witness.exists() or witness.read_bytes().count(b"\n") < lines
    return has_few and time.monotonic() < until_s + 60


def _start_worker(spool: SpoolDir, witness: Path, name: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(BaseException):
        _go_in_and_out(spool, witness, name)
    os._exit(1)


def _go_in_and_out(spool: SpoolDir, witness: Path, name: str) -> None:
    made = Gates(Session(spool, defaults(), Clock(), random.Random(name)))
    lease = Lease(spool, name)
    told = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    place = Place("mail", "", PLACES, 1)
    for number in range(1_000_000):
        passage = made.enter(place, lease.name, f"{name}-{number}")
        if isinstance(passage, Shut):
            time.sleep(0.0005)
            continue
        passage.open()
        os.write(told, f"S {os.getpid()} {time.monotonic():.6f}\n".encode())
        time.sleep(0.001)
        os.write(told, f"E {os.getpid()} {time.monotonic():.6f}\n".encode())
        passage.leave()


def _most_inside(witness: Path, killed: dict[int, float]) -> int:
    """Check the intervals; return their number. One that was cut off lasted at least until its kill began."""
    began: dict[str, float] = {}
    changes: list[tuple[float, int]] = []
    entries = 0
    for line in witness.read_text().splitlines():
        what, pid, at = line.split()
        if what == "S":
            began[pid] = float(at)
            entries += 1
        else:
            changes += [(began.pop(pid), 1), (float(at), -1)]
    for pid, since in began.items():
        changes += [(since, 1), (max(since, killed[int(pid)]), -1)]
    inside = most = 0
    for _, change in sorted(changes):
        inside += change
        most = max(most, inside)
    print(f"{entries} entries, {len(killed)} kills, at most {most} inside")
    assert most <= PLACES
    assert entries > 20
    return entries


def test_the_storm_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that counts one line less lets a third in, and the storm sees it."""
    if sys.platform == "win32":
        pytest.skip("fork is POSIX")

    def judge(place: Place, keys: list[bytes]) -> Shut | None:
        return Shut(FULL) if len(keys) - keys.count(b"") > place.slots else None

    monkeypatch.setattr(gates, "_judge", judge)
    with pytest.raises(AssertionError):
        storm(tmp_path, seconds=0.4, workers=5)


def test_outcomes_of_gated_runs_are_as_ever(tmp_path: Path) -> None:
    """A job behind a gate ends in done/ with its record whole."""
    (one,) = _desks(tmp_path, 1, mail=Queue(slots=1))
    one.run(one.enqueue(id="a", queue="mail", key="k"), OK)
    assert one.events(DONE, "a.json") == ["enqueued", "started", "succeeded"]
    assert not names_in(one.spool, RUNNING)
    wait_until(lambda: _inside(one.spool) == [])
