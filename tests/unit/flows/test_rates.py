"""rates: no window of time holds more starts of a queue or a key than its rate."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.flows import rates
from queuectl.flows.admission import PAUSED
from queuectl.flows.gates import KEY_RATE, RATE, Gates, Passage, Shut
from queuectl.jobs.verdict import Claimed, Gated
from queuectl.model import rate, times
from queuectl.model.lifecycle import DONE, PENDING, Outcome
from queuectl.model.queues import Place, Queue
from queuectl.model.settings import defaults
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import Lease
from queuectl.spool.session import Session
from queuectl.system import disk
from queuectl.system.clock import Clock
from tests.helpers import Desk, FakeClock, make_spool, names_in
from tests.unit.flows.test_gates import is_slow

OK, FAILED = Outcome("succeeded", 0, "", 0.01), Outcome("failed", 1, "", 0.01)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX")


def _desk(tmp_path: Path, **queues: Queue) -> Desk:
    return Desk(make_spool(tmp_path / "spool"), settings=defaults()._replace(queues=queues))


def _try(desk: Desk, number: int, **keys: str) -> Claimed | Gated:
    """Start and end a job, or return why it does not start. Its file is deleted then."""
    name = desk.enqueue(id=f"job{number}", queue="api", **keys)
    found = desk.claim(name)
    if isinstance(found, Claimed):
        desk.settlements.settle(found, OK)
    else:
        assert isinstance(found, Gated), found
        os.unlink(desk.spool.path(PENDING, found.name))
    return found


def _log(spool: SpoolDir, key: str = "") -> list[float]:
    data = Path(spool.starts_path("api", key)).read_bytes()
    assert len(data) % rates.LINE_BYTES == 0
    return [times.from_text(line) for line in data.decode().split()]


def _most(instants: list[float], window_s: float) -> int:
    """The most instants in any window: half-open, so that two that are a window apart are in none together."""
    at = sorted(round(instant * 1000) for instant in instants)
    return max(sum(one <= other < one + round(window_s * 1000) for other in at) for one in at)


# ---------------------------------------------------------------------------------------------------------- the rule


def test_start_waits_until_the_nth_last_is_as_old_as_the_window(tmp_path: Path) -> None:
    """Three starts in ten seconds, the fourth when the first is ten seconds old, to the millisecond (P12)."""
    desk = _desk(tmp_path, api=Queue(rate="3/10s"))
    for number in range(3):
        assert isinstance(_try(desk, number), Claimed)
        desk.clock.advance(2)
    gated = _try(desk, 3)
    assert gated == Gated("job3,q=api.json", "api", "", RATE, pytest.approx(4.0))
    desk.clock.advance(3.999)
    assert isinstance(_try(desk, 4), Gated)
    desk.clock.advance(0.001)
    assert isinstance(_try(desk, 5), Claimed)
    assert isinstance(_try(desk, 6), Gated)


def test_no_window_at_random_times_holds_more(tmp_path: Path) -> None:
    """Whenever jobs come, no window anywhere holds more starts than the rate, and as many start as may (P12)."""
    desk = _desk(tmp_path, api=Queue(rate="4/1s"))
    rng = random.Random(3)
    started: list[float] = []
    for number in range(150):
        desk.clock.advance(rng.choice((0.0, 0.0004, 0.01, 0.2)))
        now_at = desk.clock.now()
        allowed = sum(at > now_at - 1.0 for at in started) < 4
        found = _try(desk, number)
        if isinstance(found, Claimed):
            started.append(now_at)
        assert isinstance(found, Claimed) or not allowed or now_at - started[-4] < 1.002
    assert _most(started, 0.999) <= 4
    assert _most(_log(desk.spool), 1.0) <= 4
    assert len(started) > 20


def test_start_on_record_is_the_start_in_the_log(tmp_path: Path) -> None:
    """`started` has the instant of the log, so records prove the rate; for a drop, too."""
    desk = _desk(tmp_path, api=Queue(rate="9/1s"))
    desk.clock.advance(0.0123456)
    desk.run(desk.enqueue(id="a", queue="api"), OK)
    desk.run(desk.drop("b.json", {"command": "true", "queue": "api"}), OK)
    on_record = [
        event.at
        for name in ("a.json", "b.json")
        for event in desk.record(DONE, name).history
        if event.event == "started"
    ]
    assert [times.from_text(at) for at in on_record] == _log(desk.spool)


def test_retries_are_starts(tmp_path: Path) -> None:
    """Each attempt counts (P12)."""
    desk = _desk(tmp_path, api=Queue(rate="2/1m"))
    name = desk.enqueue(id="a", queue="api", max_retries=5, backoff_base=0)
    for _ in range(2):
        name = desk.run(name, FAILED).name
        desk.clock.advance(1.5)
    assert isinstance(desk.decline(name), Gated)


def test_key_has_a_rate_of_its_own(tmp_path: Path) -> None:
    """`rate_per_key` shuts the gate for a key only; keys that differ in case have two logs (P12)."""
    desk = _desk(tmp_path, api=Queue(rate_per_key="1/1m", rate="4/1m"))
    assert isinstance(_try(desk, 1, key="Berlin"), Claimed)
    assert _try(desk, 2, key="Berlin") == Gated("job2,q=api,key=Berlin.json", "api", "Berlin", KEY_RATE, 60.0)
    assert isinstance(_try(desk, 3, key="berlin"), Claimed)
    assert isinstance(_try(desk, 4, key="CON"), Claimed)
    assert isinstance(_try(desk, 5), Claimed)
    found = _try(desk, 6, key="paris")
    assert isinstance(found, Gated)
    assert (found.key, found.why) == ("paris", RATE)
    stems = {name.partition("~")[0] for name in os.listdir(desk.spool.key_starts_dir("api"))}
    assert stems == {"berlin", "berlin.starts", "con", "paris.starts"}
    assert not _log(desk.spool, "paris")


def test_rate_is_over_all_workers_and_changes_at_once(tmp_path: Path) -> None:
    """Workers share the log, and each look goes by the settings of that moment."""
    limits = {"api": Queue(rate="2/1m")}
    spool, clock = make_spool(tmp_path / "spool"), FakeClock()
    one, two = (
        Desk(spool, worker=name, clock=clock, settings=defaults()._replace(queues=limits)) for name in ("w1", "w2")
    )
    assert isinstance(_try(one, 1), Claimed)
    assert isinstance(_try(two, 2), Claimed)
    assert isinstance(_try(one, 3), Gated)
    limits["api"] = Queue(rate="3/1m")
    assert isinstance(_try(two, 4), Claimed)
    assert isinstance(_try(one, 5), Gated)
    limits["api"] = Queue(slots=3)
    assert isinstance(_try(two, 6), Claimed)


def test_plain_queue_has_no_log(tmp_path: Path) -> None:
    """A queue with slots only writes no starts, and a paused queue is paused whatever its rate."""
    desk = _desk(tmp_path, api=Queue(slots=1), slow=Queue(rate="1/1m"))
    assert isinstance(_try(desk, 1), Claimed)
    assert not os.path.exists(desk.spool.starts_path("api"))
    Path(desk.spool.queue_paused_path("slow")).write_text("")
    assert desk.decline(desk.enqueue(id="a", queue="slow")) == Gated("a,q=slow.json", "slow", "", PAUSED)


# ----------------------------------------------------------------------------------------------------- clocks, damage


def test_clock_set_back_lets_no_more_start_and_waits_one_window_at_most(tmp_path: Path) -> None:
    """A start ahead of the clock counts as one of now: the rate holds in real time, and nothing is stuck (P12)."""
    desk = _desk(tmp_path, api=Queue(rate="3/10s"))
    for number in range(3):
        _try(desk, number)
    desk.clock.now_at -= 3600
    assert _try(desk, 10) == Gated("job10,q=api.json", "api", "", RATE, pytest.approx(10.0, abs=0.002))
    desk.clock.advance(5)
    assert isinstance(_try(desk, 11), Gated)
    desk.clock.advance(5)
    assert isinstance(_try(desk, 12), Claimed)


def test_few_starts_ahead_of_the_clock_count_too(tmp_path: Path) -> None:
    """Also while fewer than n starts are on record, and with more lines than are read at once (P12)."""
    for count in (5, 500):
        desk = _desk(tmp_path / str(count), api=Queue(rate=f"{count}/10s"))
        for number in range(count - 1):
            _try(desk, number)
        desk.clock.now_at -= 3600
        assert isinstance(_try(desk, 1000), Claimed)
        assert isinstance(_try(desk, 1001), Gated)
        desk.clock.advance(10.001)
        assert isinstance(_try(desk, 1002), Claimed)


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
@pytest.mark.parametrize("damage", ["torn", "garbage", "deleted", "zeros"])
def test_damaged_log_stops_nothing(tmp_path: Path, damage: str, is_open: bool) -> None:
    """A torn end is cut; a line that is none counts as a start; a log that is gone begins anew."""
    desk = _desk(tmp_path, api=Queue(rate="2/10s"))
    _try(desk, 1)
    path = Path(desk.spool.starts_path("api"))
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + {"torn": b"2026-11", "garbage": b"x" * 25, "zeros": bytes(25)}[damage])
    if not is_open:
        desk = Desk(desk.spool, worker="w2", clock=desk.clock, settings=desk.settings)
    found = [type(_try(desk, number)) for number in (2, 3, 4)]
    wanted = {
        "torn": [Claimed, Gated, Gated],
        "garbage": [Gated, Gated, Gated],
        "deleted": [Claimed, Claimed, Gated],
        "zeros": [Gated, Gated, Gated],
    }
    assert found == wanted[damage]
    desk.clock.advance(10.01)
    assert isinstance(_try(desk, 5), Claimed)
    assert len(path.read_bytes()) % rates.LINE_BYTES == 0


def test_log_is_trimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of a key has at most 2n lines, that of a queue some more; the last ones are those of the last starts."""
    monkeypatch.setattr(rates, "_LINES", 20)
    desk = _desk(tmp_path, api=Queue(rate="4/1s", rate_per_key="4/1s"))
    sizes = []
    for number in range(30):
        _try(desk, number, key="k")
        sizes.append(len(_log(desk.spool, "k")))
        desk.clock.advance(0.3)
    assert max(sizes) == 8
    assert min(sizes[8:]) == 4
    assert _log(desk.spool, "k")[-1] == _log(desk.spool)[-1] == times.round_up(desk.clock.now() - 0.3)
    assert len(_log(desk.spool)) == 30 - 21 + 4


def test_start_that_is_undone_is_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the start cannot be recorded, the next job has its place in the rate."""
    desk = _desk(tmp_path, api=Queue(rate="1/1m", rate_per_key="1/1m"))
    name = desk.enqueue(id="a", queue="api", key="k")

    def refuse(*_args: object, **_options: object) -> int:
        raise BlockingIOError

    with monkeypatch.context() as patch:
        patch.setattr(disk, "append", refuse)
        desk.decline(name)
    assert _log(desk.spool) == _log(desk.spool, "k") == []
    assert isinstance(desk.claim(name), Claimed)


def test_log_that_cannot_be_written_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves no line on the board and no start in the other log (P9)."""
    desk = _desk(tmp_path, api=Queue(rate="1/1m", rate_per_key="1/1m"))
    name = desk.enqueue(id="a", queue="api", key="k")
    real: Callable[[int, bytes, int], None] = disk.write_at
    writes: list[int] = []

    def write_at(fd: int, data: bytes, offset: int) -> None:
        if len(data) == rates.LINE_BYTES:
            writes.append(fd)
            if len(writes) == 2:
                raise OSError(28, "no space left")
        real(fd, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_at", write_at)
        with pytest.raises(OSError, match="no space"):
            desk.claim(name)
    assert _log(desk.spool) == _log(desk.spool, "k") == []
    assert names_in(desk.spool, PENDING) == [name]
    assert isinstance(desk.claim(name), Claimed)


# --------------------------------------------------------------------------------------------------------------- room


def test_room_says_how_many_may_start_and_when_the_next(tmp_path: Path) -> None:
    """What the gate does is what `room` has said, at any moment."""
    desk = _desk(tmp_path, api=Queue(rate="5/2s"))
    allowed = rate.of("5/2s")
    assert allowed is not None
    rng = random.Random(5)
    number = 0
    for _ in range(40):
        desk.clock.advance(rng.choice((0.1, 0.3, 0.7)))
        room = rates.room(desk.spool, "api", "", allowed, desk.clock.now())
        for place in range(room.free + 1):
            number += 1
            assert isinstance(_try(desk, number), Claimed if place < room.free else Gated), (place, room)
        desk.clock.advance(room.wait_s - 0.002)
        number += 1
        assert isinstance(_try(desk, number), Gated)
        desk.clock.advance(0.002)
        assert rates.room(desk.spool, "api", "", allowed, desk.clock.now()).free >= 1


def test_room_after_the_clock_was_set_back_lets_one_job_try(tmp_path: Path) -> None:
    """A pool only looks at the log, so somebody must try: that puts the log right, and nothing waits for an hour."""
    desk = _desk(tmp_path, api=Queue(rate="2/10s"))
    allowed = rate.Rate(2, 10.0)
    for number in range(2):
        _try(desk, number)
    assert rates.room(desk.spool, "api", "", allowed, desk.clock.now()).free == 0
    desk.clock.now_at -= 3600
    assert rates.room(desk.spool, "api", "", allowed, desk.clock.now()).free == 1
    assert isinstance(_try(desk, 3), Gated)
    assert rates.room(desk.spool, "api", "", allowed, desk.clock.now()).free == 0
    desk.clock.advance(10.001)
    assert rates.room(desk.spool, "api", "", allowed, desk.clock.now()).free == 2


def test_room_of_a_log_that_is_not_there(tmp_path: Path) -> None:
    """Without a log all may start."""
    desk = _desk(tmp_path)
    assert rates.room(desk.spool, "api", "k", rate.Rate(3, 9.0), 1e9) == rates.Room(3, 9.0)


# -------------------------------------------------------------------------------------------------------------- storm

STARTS, WINDOW_S = 10, 0.25


@posix_only
def test_no_window_is_exceeded_whoever_is_killed(tmp_path: Path) -> None:
    """Processes pass one gate while others are killed at random: no window holds more (P12)."""
    storm(tmp_path, seconds=1.2, workers=5)


@posix_only
def test_the_storm_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that looks at one start too far back lets more start, and the storm sees it."""
    monkeypatch.setattr(rates, "_old", lambda now_at, _window_s: f"{times.to_text(now_at)}\n".encode())
    with pytest.raises(AssertionError):
        storm(tmp_path, seconds=0.6, workers=5)


def storm(tmp_path: Path, *, seconds: float, workers: int) -> None:
    """Let processes go through a gate with a rate, and kill them."""
    spool = make_spool(tmp_path / "spool")
    witness = tmp_path / "witness"
    rng = random.Random(7)
    alive: list[int] = []
    until_s = time.monotonic() + seconds
    number = 0
    try:
        while time.monotonic() < until_s or is_slow(witness, 2 * STARTS + 1, until_s):
            while len(alive) < workers:
                number += 1
                alive.append(_start_worker(spool, witness, f"w{number}"))
            time.sleep(rng.uniform(0.001, 0.02))
            _kill(alive.pop(rng.randrange(len(alive))))
    finally:
        for pid in alive:
            _kill(pid)
    seen = [float(line) for line in witness.read_text().split()]
    print(f"{len(seen)} starts, {number} workers, at most {_most(seen, WINDOW_S)} in a window")
    assert len(seen) > 2 * STARTS
    assert _most(seen, WINDOW_S) <= STARTS


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _start_worker(spool: SpoolDir, witness: Path, name: str) -> int:
    pid = os.fork()
    if not pid:
        try:
            _pass_gate(spool, witness, name)
        finally:
            os._exit(1)
    return pid


def _pass_gate(spool: SpoolDir, witness: Path, name: str) -> None:
    made = Gates(Session(spool, defaults(), Clock(), random.Random(name)))
    lease = Lease(spool, name)
    told = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    place = Place("api", "", 0, 1, Queue(rate=f"{STARTS}/{WINDOW_S}s"))
    for number in range(1_000_000):
        before_at = time.time()
        passage = made.enter(place, lease.name, f"{name}-{number}")
        if isinstance(passage, Shut):
            time.sleep(min(passage.wait_s, 0.002))
            continue
        assert isinstance(passage, Passage)
        assert passage.start is not None
        assert before_at <= passage.start.at <= time.time() + 0.002
        os.write(told, f"{passage.start.at:.3f}\n".encode())
        passage.open()
        passage.leave()
