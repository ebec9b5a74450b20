"""Deleting what is old: only that, whatever else happens to the files, and never by a clock that has jumped."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from queuectl.jobs import reject
from queuectl.maintenance import check, doctor
from queuectl.maintenance.retention import Retention
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, Outcome
from queuectl.model.notice import Notice
from queuectl.model.settings import Settings
from queuectl.monitor import page, status
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.survey import Survey
from queuectl.spool import clock_note
from queuectl.spool.layout import LOGS, Located
from queuectl.spool.stripes import Stripes
from tests.helpers import Desk, listing, names_in, write_drop

HOUR_S, DAY_S = 3600.0, 86400.0


class Keeper:
    """The retention of one spool, and what it has told."""

    def __init__(self, desk: Desk, settings: Settings) -> None:
        self.desk = desk
        self.told: list[Notice] = []
        self.stripes = Stripes(desk.spool)
        self.retention = Retention(desk.session._replace(settings=settings), self.stripes, notify=self.told.append)

    def run(self) -> int:
        """One pass, an hour after the last."""
        self.desk.clock.monotonic_s += HOUR_S
        return sum(self.retention.step() for _ in range(5))


@pytest.fixture
def keep(desk: Desk, settings: Settings) -> Iterator[Callable[..., Keeper]]:
    """A pool's retention, for settings; the clock's note stands at the time of the test."""
    clock_note.accept(desk.spool, now_at=desk.clock.now())
    made: list[Keeper] = []

    def start(**keys: float) -> Keeper:
        made.append(Keeper(desk, settings._replace(**{"keep_done": 30 * DAY_S, **keys})))
        return made[-1]

    yield start
    for keeper in made:
        keeper.stripes.close()


def finish(desk: Desk, job_id: str, *, runs: int = 1) -> None:
    """A job in done/ that ended now, with a log for each run; its file looks old."""
    desk.enqueue(id=job_id, backoff_base=0)
    for number in range(1, runs + 1):
        name = next(name for name in names_in(desk.spool, PENDING) if name.startswith(job_id))
        claimed = desk.start(name)
        Path(desk.spool.log_path(job_id, number)).write_text("printed")
        desk.settlements.settle(
            claimed, Outcome("succeeded" if number == runs else "failed", exit_code=int(number != runs))
        )
    os.utime(desk.spool.path(DONE, f"{job_id}.json"), (0, 0))


def copy(desk: Desk, job_id: str, name: str, *, state: str = DONE, into: str = DONE) -> None:
    """Copy a record to another name, as a file manager does it."""
    data = Path(desk.spool.path(state, f"{job_id}.json")).read_bytes()
    Path(desk.spool.path(into, name)).write_bytes(data)
    os.utime(desk.spool.path(into, name), (0, 0))


def pass_time(desk: Desk, keeper: Keeper, days: float) -> None:
    """Let days pass beside a pool that looks each hour."""
    for _ in range(int(days * 4)):
        desk.clock.advance(6 * HOUR_S)
        keeper.run()


def test_old_jobs_go_with_their_logs_and_young_ones_stay(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """A finished job is deleted once it is older than keep_done; a dead one stays where keep_dlq says nothing."""
    finish(desk, "old", runs=2)
    keeper = keep(keep_done=2 * DAY_S)
    pass_time(desk, keeper, 1)
    finish(desk, "young")
    assert listing(desk.spool) == {DONE: ["old.json", "young.json"]}
    pass_time(desk, keeper, 1.5)
    assert listing(desk.spool) == {DONE: ["young.json"]}
    assert names_in(desk.spool, LOGS) == ["young.1.log"]
    assert keeper.told == []


def test_files_that_others_delete_under_the_walk_stop_nothing(
    desk: Desk, keep: Callable[..., Keeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: a file that is deleted between the listing and its look ends neither the pass nor the pool's work."""
    for number in range(20):
        finish(desk, f"job{number}")
    desk.clock.advance(40 * DAY_S)
    clock_note.accept(desk.spool, now_at=desk.clock.now())
    real = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        """List the folder, then delete each other file, as a second `purge` does it."""
        with real(path) as entries:
            listed = list(entries)
        for number, entry in enumerate(listed):
            if entry.name.startswith("job") and number % 2:
                os.unlink(entry.path)
        return _Entries(listed)

    monkeypatch.setattr(os, "scandir", scandir)
    keeper = keep()
    assert keeper.run() > 5
    assert [name for name in names_in(desk.spool, DONE) if name.endswith(".json")] == []


class _Entries(Iterator[os.DirEntry[str]]):
    """What `os.scandir` returns, of entries that were read before."""

    def __init__(self, listed: list[os.DirEntry[str]]) -> None:
        self._listed = iter(listed)

    def __next__(self) -> os.DirEntry[str]:
        return next(self._listed)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_folder_that_cannot_be_listed_is_tried_at_the_next_pass(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P9: a refused listing is the machine's trouble, and the pass after it deletes what is old."""
    finish(desk, "old")
    keeper = keep(keep_done=HOUR_S)
    desk.clock.advance(2 * HOUR_S)
    os.rename(desk.spool.folder(DONE), f"{desk.spool.root}/away")
    with pytest.raises(FileNotFoundError):
        keeper.run()
    os.rename(f"{desk.spool.root}/away", desk.spool.folder(DONE))
    desk.clock.advance(HOUR_S)
    assert keeper.run() == 1


def test_a_file_with_a_longer_name_takes_no_logs_of_its_id(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P7: two files have one id; the logs stay until the last of them goes."""
    finish(desk, "job1", runs=2)
    copy(desk, "job1", "job1-7k3f.json")
    os.rename(desk.spool.path(DONE, "job1.json"), desk.spool.path(DLQ, "job1.json"))
    keeper = keep(keep_done=HOUR_S)
    desk.clock.advance(2 * HOUR_S)
    assert keeper.run() == 1
    assert listing(desk.spool) == {DLQ: ["job1.json"]}
    logs = [desk.spool.log_path("job1", number) for number in (1, 2)]
    assert all(map(os.path.exists, logs))
    os.rename(desk.spool.path(DLQ, "job1.json"), desk.spool.path(DONE, "job1-9m2x.json"))
    desk.clock.advance(HOUR_S)
    assert keeper.run() == 1
    assert not any(map(os.path.exists, logs))


def test_a_job_whose_id_another_file_has_keeps_that_one_s_logs(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P7: an old file in done/ takes no logs of a job with its id that waits or is dead."""
    finish(desk, "job1")
    copy(desk, "job1", "job1.json", into=DLQ)
    keeper = keep(keep_done=HOUR_S)
    desk.clock.advance(2 * HOUR_S)
    assert keeper.run() == 1
    assert listing(desk.spool) == {DLQ: ["job1.json"]}
    assert os.path.exists(desk.spool.log_path("job1", 1))


def test_a_file_that_is_just_requeued_under_its_longer_name_is_left(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P1: who requeues a file with a longer name holds the stripe of that name, and retention leaves it."""
    finish(desk, "job1")
    os.rename(desk.spool.path(DONE, "job1.json"), desk.spool.path(DONE, "job1-7k3f.json"))
    keeper = keep(keep_done=HOUR_S)
    desk.clock.advance(2 * HOUR_S)
    stripe = desk.stripes.of("job1-7k3f")
    assert stripe.try_acquire()
    assert keeper.run() == 0
    stripe.release()
    desk.clock.advance(HOUR_S)
    assert keeper.run() == 1


# -------------------------------------------------------------------------------------------------------- the clock


def test_a_clock_that_jumps_ahead_deletes_nothing_for_a_day(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P6: after a jump of 40 days every job is old; all stay for a day, which is told once."""
    finish(desk, "job1")
    desk.clock.now_at += 40 * DAY_S
    keeper = keep()
    pass_time(desk, keeper, 0.75)
    assert names_in(desk.spool, DONE) == ["job1.json"]
    assert [(level, kind) for level, kind, _ in keeper.told] == [("warning", "retention")]
    assert "the clock is 40d06h ahead" in keeper.told[0][2]
    assert "check --repair" in keeper.told[0][2]
    pass_time(desk, keeper, 0.5)
    assert names_in(desk.spool, DONE) == []


def test_the_wait_outlives_its_pool(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P6: a pool that starts within that day waits as well, and tells it too."""
    finish(desk, "job1")
    desk.clock.now_at += 40 * DAY_S
    keep().run()
    desk.clock.advance(HOUR_S)
    second = keep()
    assert second.run() == 0
    assert len(second.told) == 1
    desk.clock.advance(DAY_S)
    assert keep().run() == 1


def test_a_jump_in_the_middle_of_a_pool_s_life_is_seen(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P6: a pool that runs while the clock jumps deletes nothing by it, neither in a pass nor at the next one."""
    for number in range(3):
        finish(desk, f"job{number}")
    keeper = keep()
    walk = keeper.retention
    desk.clock.monotonic_s += HOUR_S
    assert walk._may_start()
    walk._walk = walk._candidates()
    desk.clock.now_at += 40 * DAY_S
    assert walk.step() == 0
    assert keeper.run() == 0
    assert len(names_in(desk.spool, DONE)) == 3


def test_a_clock_that_is_set_right_ends_the_wait(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P6: with the clock set back retention goes on at once by the right time; the next jump is one again."""
    finish(desk, "job1")
    desk.clock.now_at += 40 * DAY_S
    keeper = keep(keep_done=2 * DAY_S)
    keeper.run()
    desk.clock.now_at -= 40 * DAY_S
    pass_time(desk, keeper, 2.5)
    assert names_in(desk.spool, DONE) == []
    finish(desk, "job2")
    desk.clock.now_at += 40 * DAY_S
    assert keeper.run() == 0
    assert len(keeper.told) == 2


def test_a_spool_without_a_note_is_judged_by_its_folders(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P6: a pool that has noted nothing takes the last change of the folders for the last look."""
    finish(desk, "job1")
    keeper = keep()
    os.unlink(desk.spool.clock_path)
    for state in ("pending", "running", DONE, DLQ):
        os.utime(desk.spool.folder(state), (desk.clock.now(), desk.clock.now()))
    desk.clock.now_at += 40 * DAY_S
    assert keeper.run() == 0
    assert len(keeper.told) == 1


def test_the_clock_is_compared_before_the_pool_s_own_jobs_move(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P6: a pool looks at the folders' times before its first job changes them, and makes its first pass later."""
    finish(desk, "job1")
    keeper = keep()
    os.unlink(desk.spool.clock_path)
    for state in ("pending", "running", DONE, DLQ):
        os.utime(desk.spool.folder(state), (desk.clock.now(), desk.clock.now()))
    desk.clock.now_at += 40 * DAY_S
    keeper.retention.compare_clock()
    os.unlink(desk.spool.clock_path)
    os.utime(desk.spool.folder(DONE), (desk.clock.now(), desk.clock.now()))  # a job of this pool is done
    assert keeper.run() == 0
    assert len(keeper.told) == 1


@pytest.mark.parametrize(
    "junk", [b"", b"{", b"[]", b'{"at": 3}', b'{"at": "2027-01-15T08:00:00Z", "jump_s": Infinity}']
)
def test_a_note_that_somebody_broke_is_no_note(desk: Desk, keep: Callable[..., Keeper], junk: bytes) -> None:
    """P6: a broken note stops nothing and protects all the same."""
    finish(desk, "job1")
    keeper = keep()
    Path(desk.spool.clock_path).write_bytes(junk)
    os.utime(desk.spool.folder(DONE), (desk.clock.now(), desk.clock.now()))
    desk.clock.now_at += 400 * DAY_S
    assert keeper.run() == 0
    note = clock_note.read(desk.spool)
    assert note is not None
    assert note.at == desk.clock.now()


def test_a_spool_that_is_used_once_a_week_is_kept_clean(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """A gap that is usual stops nothing: pools that start once a week delete each time but some."""
    deleted = []
    for _ in range(12):
        finish(desk, f"week{len(deleted)}")
        desk.clock.advance(7 * DAY_S)
        deleted.append(keep(keep_done=6 * DAY_S).run())
    assert sum(deleted) >= 10
    assert len(names_in(desk.spool, DONE)) <= 2


def test_a_clock_before_1970_and_one_of_2110_work(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """Retention takes any clock: it waits a day after each jump ahead, and deletes by that time then."""
    for start_at in (-90_000.0, 4_418_000_000.0):
        desk.clock.now_at = start_at
        finish(desk, f"job{start_at:.0f}".replace("-", "m"))
        keeper = keep(keep_done=DAY_S)
        pass_time(desk, keeper, 3.5)
        assert names_in(desk.spool, DONE) == [], start_at


def test_the_wait_is_shown_and_a_repair_ends_it(
    desk: Desk, keep: Callable[..., Keeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check`, `doctor`, `status` and the page say that retention waits; `check --repair` accepts the clock."""
    finish(desk, "job1")
    desk.clock.now_at += 40 * DAY_S
    keeper = keep()
    keeper.run()
    now_at = desk.clock.now()
    assert "deletes nothing until" in status.collect(desk.spool, now_at=now_at).retention_waits
    snapshot = _whole(Survey(desk.spool, is_full=False).take(now_at))
    assert "<strong>Retention</strong> deletes nothing until" in page.render(snapshot, advice=("", ""))
    assert [line.level for line in doctor.retention_lines(desk.spool, now_at=now_at)] == [doctor.WARN]
    looks = {"names_only": False, "clock": desk.clock}
    assert [item.code for item in check.run(desk.spool, repair=False, **looks).findings] == ["clock"]
    assert [item.repaired for item in check.run(desk.spool, repair=True, **looks).findings] == [True]
    assert check.run(desk.spool, repair=True, **looks).findings == []
    assert status.collect(desk.spool, now_at=now_at).retention_waits == ""
    assert keeper.run() == 1


def _whole(steps: Generator[None, None, Snapshot]) -> Snapshot:
    """All steps of a survey at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Snapshot = end.value
            return made


def test_rejected_files_are_deleted_by_the_time_in_their_reasons(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P6: keep_rejected deletes a file with its reason; the file's own time is its writer's, and counts if new."""
    for name in ("old.json", "new.json", "mended.json"):
        path = write_drop(desk.spool, name, "{")
        where = Located(PENDING, name, str(path))
        reject.reject(desk.session, where, name, "no JSON", "mend it")
        for each in (desk.spool.path(REJECTED, name), desk.spool.reason_path(name)):
            os.utime(each, (0, 0))
        if name == "old.json":
            desk.clock.now_at += DAY_S / 2
            desk.clock.monotonic_s += DAY_S / 2
    write_drop(desk.spool, "unexplained.json", "{", REJECTED)
    assert keep().run() == 0
    keeper = keep(keep_rejected=DAY_S)
    desk.clock.advance(DAY_S * 3 / 4)
    os.utime(desk.spool.path(REJECTED, "new.json"), (0, desk.clock.now_at - DAY_S / 2))
    assert keeper.run() == 1
    left = names_in(desk.spool, REJECTED)
    assert "old.json" not in left and "old.json.reason.txt" not in left
    assert {"new.json", "mended.json", "unexplained.json"} <= set(left)
    desk.clock.advance(DAY_S / 2)
    os.utime(desk.spool.path(REJECTED, "mended.json"), (0, desk.clock.now_at))
    os.utime(desk.spool.path(REJECTED, "new.json"), (0, 0))
    assert keeper.run() == 1
    assert sorted(names_in(desk.spool, REJECTED)) == ["mended.json", "mended.json.reason.txt", "unexplained.json"]


def test_what_a_blocked_job_may_still_ask_for_is_spared(desk: Desk, keep: Callable[..., Keeper]) -> None:
    """P13: a parent that was met early is not asked again, but those before the one that a job waits for are."""
    for job_id in ("asked", "met", "other"):
        finish(desk, job_id)
    desk.enqueue(id="slow")
    desk.enqueue(id="child", after=["asked", "slow", "met"])
    desk.clock.advance(40 * DAY_S)
    clock_note.accept(desk.spool, now_at=desk.clock.now())
    keep().run()
    assert [name for name in names_in(desk.spool, DONE) if name.endswith(".json")] == ["asked.json"]
