"""worker: how it looks after the file of a command that lasts. (The rest of it is in e2e/ and crash/.)"""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import pytest

from queuectl.jobs.verdict import Busy, Claimed, Foreign, Returned, Settled
from queuectl.maintenance.rescuer import Rescue
from queuectl.model import names, settings
from queuectl.model.lifecycle import Outcome
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import Lease, is_alive
from queuectl.system import files
from queuectl.system.clock import Clock
from queuectl.system.locks import FileLock
from queuectl.worker import worker as worker_module
from queuectl.worker.channel import Channel
from queuectl.worker.executors import choose
from queuectl.worker.executors.base import Ended, Spec
from queuectl.worker.messages import Cancel, Defect, Feed, Finished, Passed, Report, Trouble, Vanished
from queuectl.worker.output import OutputSlot
from queuectl.worker.run import Run
from queuectl.worker.worker import Worker
from tests.helpers import Desk, FakeClock, listing, wait_until, work_off
from tests.pool import PYTHON, SLEEP, kill

# A command that lasts until there is a file.
UNTIL = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.02)"


class FakeExecutor:
    """A command that lasts for `lasts_s` on a clock that only its waits move; `at` says what happens meanwhile."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.lasts_s = 10.0
        self.ends = Ended(0, "")
        self.waited_after_s = 0.0
        self.at: list[tuple[float, Callable[[], object]]] = []
        self.terminated_s: float | None = None
        self.channel: Channel
        """Whose waits these are."""
        self._began_s = 0.0
        self._is_running = False

    sources: ClassVar[list[int]] = []

    def start(self, _spec: Spec) -> FakeExecutor:
        """Begin; this is the process as well."""
        self._began_s = self.clock.monotonic()
        self._is_running = True
        return self

    def wake(self) -> None:
        """Nothing to do."""

    def ended(self) -> list[tuple[FakeExecutor, Ended]]:
        """It, once, when its time is over."""
        if not self._is_running or self.clock.monotonic() < self._began_s + self.lasts_s:
            return []
        self._is_running = False
        return [(self, self.ends)]

    def wait(self, timeout_s: float | None) -> bool:
        """Let time pass, at most up to the end or the next thing that happens; the supervisor is silent."""
        self.channel._is_woken = True
        assert timeout_s is not None, "it would not look again"
        now_s = self.clock.monotonic()
        end_s = self._began_s + self.lasts_s
        has_ended = now_s >= end_s
        until_s = now_s + timeout_s
        if not has_ended:
            while self.at and timeout_s and self._began_s + self.at[0][0] <= until_s:
                after_s, act = self.at.pop(0)
                self.clock.advance(max(0.0, self._began_s + after_s - self.clock.monotonic()))
                act()
            self.clock.advance(max(0.0, min(until_s, end_s) - self.clock.monotonic()))
            return False
        if self.at and timeout_s and self._began_s + self.at[0][0] <= until_s:
            after_s, act = self.at.pop(0)
            self.clock.advance(self._began_s + after_s - now_s)
            act()
        else:
            self.clock.advance(timeout_s)
        self.waited_after_s += self.clock.monotonic() - now_s
        return False

    def terminate(self, _grace_s: float) -> Generator[float, object, Ended]:
        """End it now."""
        self._is_running = False
        self.terminated_s = self.clock.monotonic() - self._began_s
        yield from ()
        return Ended(143, "ended by SIGTERM")


class Rig:
    """A worker with a job to run, and its command."""

    def __init__(self, desk: Desk, command: FakeExecutor, conn: Connection) -> None:
        self.spool: SpoolDir = desk.spool
        self.command = command
        self.desk = desk
        self.name = desk.enqueue(id="job")
        self.running = self.spool.path("running", "job.json")
        self.aside = os.path.join(self.spool.root, "aside.json")
        self.worker = Worker(
            conn, desk.session._replace(settings=settings.defaults()), worker="w9", cwd=self.spool.root
        )
        command.channel = self.worker._link.channel
        command.channel.wait = command.wait  # type: ignore[method-assign]
        self.slot = self.worker._free[0]
        self.reports: list[Report] = []

    def set(self, **settings: Any) -> None:
        """Change settings."""
        session = self.worker._session
        self.worker._attendant._session = session._replace(settings=session.settings._replace(**settings))

    def flush(self) -> None:
        """Take what is reported."""
        self.reports += self.worker._link._reports
        self.worker._link._reports.clear()
        self.worker._link.flush_by_s = math.inf

    def run(self) -> Finished | Vanished:
        """Run the job; the report of its end."""
        work_off(self.worker, self.name)
        self.flush()
        (ended,) = [item for item in self.reports if isinstance(item, Finished | Vanished)]
        return ended


@pytest.fixture
def rig(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """See `Rig`."""
    command = FakeExecutor(desk.clock)
    monkeypatch.setattr(choose, "make", lambda _shell: command)
    ours, theirs = Pipe()
    made = Rig(desk, command, theirs)
    made.worker._link.flush = made.flush  # type: ignore[method-assign]
    yield made
    made.slot.close()
    made.worker._stripes.close()
    ours.close()
    theirs.close()


def test_a_file_that_is_gone_at_two_looks_ends_the_command(rig: Rig) -> None:
    """Within about a second, whatever its timeout; the outcome is told and written nowhere."""
    rig.command.at = [(0.5, lambda: os.remove(rig.running))]
    ended = rig.run()
    assert isinstance(ended, Vanished)
    assert (ended.outcome.kind, ended.outcome.exit_code) == ("cancelled", 143)
    assert rig.command.terminated_s == pytest.approx(1.0, abs=0.1)
    assert listing(rig.spool) == {}


def test_steps_of_many_runs_are_due_together(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with thousands of runs wakes at multiples of a short time, not once for each look at each file."""
    monkeypatch.setattr(worker_module, "_MANY_RUNS", 0)
    monkeypatch.setattr(worker_module, "_TOGETHER_S", 0.5)
    rig.command.at = [(0.5, lambda: os.remove(rig.running))]
    rig.run()
    assert rig.command.terminated_s == pytest.approx(1.5, abs=0.1)  # the looks are due after 0.76 and 1.01 s


def test_an_editor_that_saves_by_taking_the_file_away_first_ends_nothing(rig: Rig) -> None:
    """Gone at one look and back at the next: the run goes on to its end, and its outcome is on record (P4)."""
    rig.command.at = [
        (0.74, lambda: os.rename(rig.running, rig.aside)),
        (0.78, lambda: os.rename(rig.aside, rig.running)),
        (3.0, lambda: os.rename(rig.running, rig.aside)),
        (3.1, lambda: os.rename(rig.aside, rig.running)),
    ]
    ended = rig.run()
    assert isinstance(ended, Finished) and ended.outcome.kind == "succeeded"
    assert rig.command.terminated_s is None
    assert listing(rig.spool) == {"done": ["job.json"]}


def test_a_spool_that_is_out_of_reach_ends_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: a share that is gone for a while, with or without an error, is no wish of a person."""
    folder = rig.spool.folder("running")
    real = files.sig_of

    def stale(path: str) -> files.FileSig | None:
        if path == rig.running:
            raise OSError(116, "Stale file handle")
        return real(path)

    rig.command.at = [
        (0.5, lambda: os.rename(folder, folder + ".away")),
        (3.0, lambda: os.rename(folder + ".away", folder)),
        (4.0, lambda: monkeypatch.setattr(files, "sig_of", stale)),
        (8.0, lambda: monkeypatch.setattr(files, "sig_of", real)),
    ]
    ended = rig.run()
    assert isinstance(ended, Finished) and ended.outcome.kind == "succeeded"


def test_an_output_that_is_out_of_reach_ends_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: the size of what was printed is looked at again later; the limit counts as soon as it can be seen."""
    rig.name = rig.desk.enqueue(id="far", output_max=10, max_retries=0)
    real = OutputSlot.size

    def stale(_slot: OutputSlot) -> int:
        raise OSError(116, "Stale file handle")

    rig.command.at = [
        (0.5, lambda: monkeypatch.setattr(OutputSlot, "size", property(stale))),
        (1.0, lambda: _prints(rig, 11)),
        (4.0, lambda: monkeypatch.setattr(OutputSlot, "size", real)),
    ]
    ended = rig.run()
    assert isinstance(ended, Finished) and "output_max" in ended.outcome.reason
    assert rig.command.terminated_s == pytest.approx(4.2, abs=0.2)


def test_a_command_that_cannot_be_watched_is_ended_and_its_job_goes_back(rig: Rig) -> None:
    """P9: no try is counted; P3: no command runs on while its job waits for another run."""
    rig.command.lasts_s = 10.0

    def fail() -> None:
        raise OSError(12, "Cannot allocate memory")

    rig.command.at = [(0.5, fail)]
    ended = rig.run()
    assert isinstance(ended, Finished)
    assert (ended.outcome.kind, ended.outcome.reason) == (
        "released",
        "could not be watched: Cannot allocate memory",
    )
    assert rig.command.terminated_s == pytest.approx(0.5, abs=0.01)
    assert isinstance(rig.reports[-1], Trouble)
    assert list(listing(rig.spool)) == ["pending"]


def test_a_file_that_comes_back_after_the_end_is_a_cancelled_job(rig: Rig) -> None:
    """Whoever undoes the move too late finds the job in dlq/, with the reason (P4)."""
    rig.command.at = [(0.5, lambda: os.rename(rig.running, rig.aside))]
    terminate = rig.command.terminate

    def undone(grace_s: float) -> Generator[float, object, Ended]:
        os.rename(rig.aside, rig.running)
        return terminate(grace_s)

    rig.command.terminate = undone  # type: ignore[method-assign]
    ended = rig.run()
    assert isinstance(ended, Finished)
    assert (ended.settled.to, ended.settled.reason) == (
        "dlq",
        "its file was moved out of running/ while it ran; cancelled",
    )
    assert listing(rig.spool) == {"dlq": ["job.cancelled.txt", "job.json"]}


def test_a_short_command_costs_no_look(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a job that is over at once is as it was."""
    rig.command.lasts_s = 0.5
    looked: list[object] = []
    monkeypatch.setattr(SpoolDir, "lacks", lambda *_args: looked.append(1))
    assert isinstance(rig.run(), Finished)
    assert looked == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no file that is open")
def test_nothing_is_started_under_a_lease_that_was_deleted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: it is looked for before a claim, but not again just after a run, whose end has looked for it already."""
    looked: list[object] = []
    check = Lease.check
    monkeypatch.setattr(Lease, "check", lambda lease: (looked.append(1), check(lease)))
    rig.run()
    assert looked == [1]
    next_name = rig.desk.enqueue(id="next")
    rig.slot.check(rig.command.clock.monotonic())
    rig.command.clock.advance(0.02)
    os.remove(rig.slot.lease.path)
    rig.reports.clear()
    rig.worker._work(next_name)
    rig.flush()
    assert looked == [1, 1]
    assert [type(each) for each in rig.reports] == [Passed, Trouble]
    assert listing(rig.spool)["pending"] == [next_name]


def _prints(rig: Rig, size: int) -> None:
    """Have the command print so many bytes more (the handle is where it writes)."""
    os.write(rig.slot.output.fd, b"x" * size)


def test_a_run_that_prints_too_much_is_ended_and_fails(rig: Rig) -> None:
    """It ends within a quarter of a second, and its record says how much it may print."""
    rig.name = rig.desk.enqueue(id="loud", output_max=1000, max_retries=0)
    rig.command.at = [(0.3, lambda: _prints(rig, 900)), (3.0, lambda: _prints(rig, 101))]
    ended = rig.run()
    assert isinstance(ended, Finished) and ended.settled.to == "dlq"
    assert (ended.outcome.kind, ended.outcome.exit_code) == ("failed", None)
    assert "1000 bytes" in ended.outcome.reason and "output_max" in ended.outcome.reason
    assert rig.command.terminated_s is not None and 3.0 < rig.command.terminated_s <= 3.26


def test_what_a_run_gives_back_counts_too(rig: Rig) -> None:
    """Output and result together have one limit: a result of 2 GiB fills the disk as output does."""
    rig.name = rig.desk.enqueue(id="large", output_max=1000, max_retries=0)

    def give(size: int) -> None:
        with open(os.path.join(rig.desk.spool.desk_path(rig.slot.lease.name), "result"), "ab") as file:
            file.write(b"x" * size)

    rig.command.at = [(0.3, lambda: _prints(rig, 500)), (1.0, lambda: give(500)), (3.0, lambda: give(1))]
    ended = rig.run()
    assert isinstance(ended, Finished) and ended.settled.to == "dlq"
    assert rig.command.terminated_s is not None and 3.0 < rig.command.terminated_s <= 3.26


def test_a_run_that_prints_as_much_as_it_may_goes_on(rig: Rig) -> None:
    """The limit itself is allowed, and a job's own limit counts in place of the setting."""
    rig.set(output_max=10)
    rig.name = rig.desk.enqueue(id="loud", output_max=1000)
    rig.command.at = [(0.3, lambda: _prints(rig, 1000))]
    ended = rig.run()
    assert isinstance(ended, Finished) and ended.outcome.kind == "succeeded"


def test_the_faster_a_run_prints_the_sooner_it_is_looked_at(rig: Rig) -> None:
    """What goes over the limit is small beside the limit: 1000 bytes in 50 ms are noticed before 0.2 s."""
    rig.set(output_max=1000)
    rig.command.at = [(at_ms / 1000, lambda: _prints(rig, 20)) for at_ms in range(10, 400)]
    ended = rig.run()
    assert isinstance(ended, Finished) and ended.outcome.kind == "failed"
    assert rig.command.terminated_s is not None and rig.command.terminated_s < 0.2


@pytest.mark.parametrize(("own", "setting", "ends_at_s"), [(None, 4.0, 4.0), (6.0, 4.0, 6.0), (3.0, None, 3.0)])
def test_the_timeout_of_the_settings_is_for_jobs_without_one(
    rig: Rig, own: float | None, setting: float | None, ends_at_s: float
) -> None:
    """A job's own timeout counts, whether it is longer or shorter."""
    rig.set(timeout=setting)
    rig.name = rig.desk.enqueue(id="slow", **({} if own is None else {"timeout": own}))
    ended = rig.run()
    assert isinstance(ended, Finished) and ended.outcome.kind == "timed_out"
    assert rig.command.terminated_s == pytest.approx(ends_at_s, abs=0.01)


@pytest.mark.parametrize(
    ("asked_s", "kind", "waited_s"),
    [(8.9, "failed", 1.0), (9.1, "released", 0.0), (10.4, "released", 0.4), (None, "failed", 1.0)],
)
def test_a_command_that_ends_by_a_signal_around_a_stop_is_released(
    rig: Rig, asked_s: float | None, kind: str, waited_s: float
) -> None:
    """P9: a second before a request to stop or after it; else it has failed, a second later."""
    rig.command.ends = Ended(143, "ended by SIGTERM", is_shutdown=True)
    rig.command.at = [] if asked_s is None else [(asked_s, rig.worker.note_stop)]
    ended = rig.run()
    assert isinstance(ended, Finished)
    assert (ended.outcome.kind, ended.outcome.exit_code) == (kind, 143)
    assert rig.command.waited_after_s == pytest.approx(waited_s)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows renames no folder that is in use")
def test_a_worker_starts_while_the_spool_is_out_of_reach(desk: Desk) -> None:
    """P9: one that was started just before the spool went away is there when the spool is back, and takes drops."""
    root = desk.spool.root
    os.rename(root, f"{root}.away")
    ours, theirs = Pipe()
    worker = Worker(theirs, desk.session, worker="w9", cwd=os.path.dirname(root))
    os.rename(f"{root}.away", root)
    work_off(worker, desk.drop("job.json", {"command": "exit 0"}))
    assert listing(desk.spool) == {"done": ["job.json"]}
    worker._free[0].close()
    worker._stripes.close()
    ours.close()
    theirs.close()


def test_no_name_is_claimed_in_the_second_after_a_request_to_stop(rig: Rig) -> None:
    """P9: the supervisor may get its signal last. A job that this system's end gave back must not start once more."""
    rig.worker._link.names.append(rig.name)
    rig.worker.note_stop()
    began_s, started_s = rig.desk.clock.monotonic(), []
    rig.command.lasts_s = 0
    start = rig.command.start

    def note(spec: Spec) -> FakeExecutor:
        started_s.append(rig.desk.clock.monotonic() - began_s)
        rig.worker.stop()
        return start(spec)

    rig.command.start = note  # type: ignore[method-assign]
    rig.worker.run()
    assert started_s == [pytest.approx(1.0)]


def test_a_failure_by_exit_code_waits_for_no_stop(rig: Rig) -> None:
    """An ordinary failure costs no time, and a stop makes no other end uncounted."""
    rig.command.ends = Ended(1, "")
    rig.command.at = [(9.9, rig.worker.note_stop)]
    ended = rig.run()
    assert isinstance(ended, Finished) and ended.outcome.kind == "failed"
    assert rig.command.waited_after_s == 0


class TwoJobs:
    """A worker with two slots whose commands are real, and one job for each."""

    def __init__(self, desk: Desk, conn: Connection) -> None:
        self.desk = desk
        session = desk.session._replace(settings=settings.defaults(), clock=Clock())
        self.worker = Worker(conn, session, worker="w9", cwd=desk.spool.root, slots=2)
        self.settlements = self.worker._attendant._settlements
        self.reports: list[Report] = []
        self.worker._link.flush = self._flush  # type: ignore[method-assign]

    def _flush(self) -> None:
        self.reports += self.worker._link._reports
        self.worker._link._reports.clear()
        self.worker._link.flush_by_s = math.inf

    def go_on(self, until: Callable[[], object]) -> None:
        """Let the loop go round until something holds."""
        wait_until(lambda: until() or (self._flush(), self.worker._wait(0.05))[0])

    def rescue(self) -> list[Settled]:
        """Rescue what has no worker."""
        return [rescued.settled for rescued in Rescue(self.desk.session, self.desk.stripes).rescue_all(set())]

    def ended(self) -> list[str]:
        """The ids of the jobs whose ends are reported."""
        self._flush()
        return [report.job_id for report in self.reports if isinstance(report, Finished)]


@pytest.fixture
def two(desk: Desk) -> Iterator[TwoJobs]:
    """See `TwoJobs`."""
    before = signal.getsignal(signal.SIGCHLD) if sys.platform != "win32" else None
    ours, theirs = Pipe()
    made = TwoJobs(desk, theirs)
    yield made
    for slot in made.worker._free:
        slot.close()
    made.worker._stripes.close()
    ours.close()
    theirs.close()
    if sys.platform != "win32":
        os.close(signal.set_wakeup_fd(-1))
        signal.signal(signal.SIGCHLD, before)


def test_an_outcome_that_a_full_disk_does_not_take_holds_up_no_other_slot(
    two: TwoJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: it is tried again and again, while the run in the other slot times out, is recorded, and the next starts."""
    settle, is_full = two.settlements.settle, [True]

    def full(claimed: Claimed, outcome: Outcome) -> Settled:
        if claimed.job_id == "first" and is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return settle(claimed, outcome)

    monkeypatch.setattr(two.settlements, "settle", full)
    two.worker._work(two.desk.enqueue(id="first", command="exit 0"))
    two.worker._work(two.desk.enqueue(id="second", command=SLEEP, timeout=0.1, max_retries=0))
    assert not two.worker._free
    two.go_on(lambda: two.ended() == ["second"])
    assert len(two.worker._free) == 1 and len(two.worker._runs) == 1
    two.worker._work(two.desk.enqueue(id="third", command="exit 0"))
    two.go_on(lambda: two.ended() == ["second", "third"])
    is_full.clear()
    two.go_on(lambda: not two.worker._runs)
    assert two.ended() == ["second", "third", "first"]
    assert listing(two.desk.spool) == {"done": ["first.json", "third.json"], "dlq": ["second.error.txt", "second.json"]}


@pytest.mark.skipif(sys.platform == "win32", reason="a text for sh")
def test_a_command_that_ignores_its_end_holds_up_no_other_slot(two: TwoJobs) -> None:
    """During its grace a run in the other slot starts, prints, ends and is recorded; each has what it printed."""
    two.worker._attendant._session = two.worker._session._replace(
        settings=two.worker._session.settings._replace(kill_grace_s=3600.0)
    )
    ready = Path(two.desk.spool.root, "ready")
    text = f"trap '' TERM; echo mine; echo $$ > {ready}; while :; do sleep 0.05; done"
    two.worker._work(two.desk.enqueue(id="first", command=text))
    (first,) = two.worker._runs
    two.go_on(lambda: ready.exists() and ready.read_text().endswith("\n"))
    two.worker._link._take_in(Cancel("first", 1, "enough"))
    two.go_on(lambda: first.is_ending)
    two.worker._work(two.desk.enqueue(id="second", command="echo yours"))
    two.go_on(lambda: two.ended() == ["second"])
    assert first.is_ending
    kill(int(ready.read_text()))  # however slow this machine is, its grace is not over before
    two.go_on(lambda: two.ended() == ["second", "first"])
    assert two.desk.record("dlq", "first.json").history[-1].exit_code == 137
    logs = [Path(two.desk.spool.log_path(job_id, 1)).read_text() for job_id in ("first", "second")]
    assert logs == ["mine\n", "yours\n"]


@pytest.mark.skipif(sys.platform == "win32", reason="a drop is recorded before its command starts there")
def test_a_drop_that_is_not_on_disk_yet_keeps_its_stripe_from_the_other_slot(
    two: TwoJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3, P7: a lock that this process holds already must not be taken, and given back, by its next claim."""
    secure, is_full = two.settlements.secure, [True]

    def full(claimed: Claimed) -> None:
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        secure(claimed)

    monkeypatch.setattr(two.settlements, "secure", full)
    spool = two.desk.spool
    other = next(f"other{n}" for n in range(999) if names.stripe_of(f"other{n}") == names.stripe_of("drop"))
    for job_id in ("drop", other):
        Path(spool.path("pending", f"{job_id}.json")).write_text(json.dumps({"command": "exit 0"}))
    two.worker._work("drop.json")
    two.worker._work(f"{other}.json")
    two._flush()
    assert [type(each.declined) for each in two.reports if isinstance(each, Passed)] == [Busy]
    assert FileLock(spool.stripe_path(names.stripe_of("drop"))).try_acquire() is False
    is_full.clear()
    two.go_on(lambda: not two.worker._runs)
    two.worker._work(f"{other}.json")
    two.go_on(lambda: not two.worker._runs)
    assert listing(spool) == {"done": sorted(["drop.json", f"{other}.json"])}


@pytest.mark.skipif(sys.platform == "win32", reason="a drop is recorded before its command starts there")
@pytest.mark.parametrize("ends", ["lasts", "is over at once", "is cancelled"])
def test_a_drop_that_nothing_waits_behind_starts_before_the_disk_is_busy(two: TwoJobs, ends: str) -> None:
    """P4: its record comes to the disk just after the start, or with the end; an order is obeyed in between, too."""
    spool, link = two.desk.spool, two.worker._link

    def is_drop(job_id: str) -> bool:
        return b"history" not in Path(spool.path("running", f"{job_id}.json")).read_bytes()

    drop = Path(spool.path("pending", "drop.json"))
    drop.write_text(json.dumps({"command": "exit 0" if ends == "is over at once" else SLEEP}))
    two.worker._work("drop.json")
    (run,) = two.worker._runs
    assert is_drop("drop") and run.due_s < two.worker._clock.monotonic() + 0.01
    if ends == "is cancelled":
        link._take_in(Cancel("drop", 1, "enough"))
    elif ends == "lasts":
        two.go_on(lambda: not is_drop("drop"))
        stripe = FileLock(spool.stripe_path(names.stripe_of("drop")))
        assert stripe.try_acquire()
        stripe.close()
        link._take_in(Cancel("drop", 1, "enough"))
    two.go_on(lambda: not two.worker._runs)
    found = spool.find("drop")
    assert found is not None
    events = [event.event for event in two.desk.record(found.state, found.name).history]
    assert events == ["enqueued", "started", "succeeded" if ends == "is over at once" else "cancelled"]
    drop.with_name("next.json").write_text(json.dumps({"command": SLEEP}))
    link.names.append("other.json")
    two.worker._work("next.json")
    assert not is_drop("next"), "a name waits that may need the stripe"
    link._take_in(Cancel("next", 1, "enough"))
    two.go_on(lambda: not two.worker._runs)


def test_a_defect_in_the_record_of_an_end_costs_the_run_of_its_slot_alone(
    two: TwoJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3, P5: its lease is free, so its job is rescued; the other run is recorded; no other name is claimed."""
    settle = two.settlements.settle

    def broken(claimed: Claimed, outcome: Outcome) -> Settled:
        if claimed.job_id == "first":
            raise TypeError("no such thing")
        return settle(claimed, outcome)

    monkeypatch.setattr(two.settlements, "settle", broken)
    two.worker._work(two.desk.enqueue(id="first", command="exit 0"))
    two.worker._work(two.desk.enqueue(id="second", command=SLEEP, timeout=0.3, max_retries=0))
    two.worker._link._take_in(Feed([two.desk.enqueue(id="third")]))
    two.go_on(lambda: two.ended() == ["second"] and not two.worker._runs)
    (defect,) = [report for report in two.reports if isinstance(report, Defect)]
    assert defect.job_id == "first"
    assert defect.text.startswith("TypeError: no such thing (test_worker.py:")
    assert two.worker._link.is_stopping and not two.worker._link.names
    assert [settled.to for settled in two.rescue()] == ["pending"]
    assert two.desk.events("pending", "first.json") == ["enqueued", "started", "abandoned"]
    assert listing(two.desk.spool)["dlq"] == ["second.error.txt", "second.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="a drop is recorded before its command starts there")
@pytest.mark.parametrize("command", ["exit 0", SLEEP])
def test_a_defect_gives_the_stripe_of_a_drop_back(
    two: TwoJobs, monkeypatch: pytest.MonkeyPatch, command: str | list[str]
) -> None:
    """P5: the job is rescued while the worker still has another run, also if its record was not on disk."""
    broken = "settle" if command == "exit 0" else "secure"
    monkeypatch.setattr(two.settlements, broken, lambda *_: {}["no such thing"])
    Path(two.desk.spool.path("pending", "drop.json")).write_text(json.dumps({"command": command}))
    two.worker._work("drop.json")
    two.go_on(lambda: not two.worker._runs)
    assert [report.job_id for report in two.reports if isinstance(report, Defect)] == ["drop"]
    assert [settled.to for settled in two.rescue()] == ["pending"]
    assert two.desk.events("pending", "drop.json") == ["enqueued", "started", "abandoned"]


def test_a_defect_while_a_command_runs_ends_the_command(two: TwoJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: the job runs again, so nothing of this run may go on; the other run does."""
    over = Path(two.desk.spool.root, "over")
    check = Run.check

    def broken(run: Run) -> object:
        if run.claimed.job_id == "first":
            raise KeyError("no such thing")
        return check(run)

    monkeypatch.setattr(Run, "check", broken)
    two.worker._work(two.desk.enqueue(id="first", command=SLEEP))
    two.worker._work(two.desk.enqueue(id="second", command=[*PYTHON, UNTIL, str(over)]))
    (first, second) = two.worker._runs
    process, lease = first.process, first.slot.lease.name
    two.go_on(lambda: first not in two.worker._runs)
    assert list(two.worker._runs) == [second] and process not in two.worker._by_process
    assert not is_alive(two.desk.spool, lease)
    over.touch()
    two.go_on(lambda: two.ended() == ["second"])
    assert [settled.to for settled in two.rescue()] == ["pending"]
    assert listing(two.desk.spool)["done"] == ["second.json"]


def test_a_defect_at_the_end_of_a_command_keeps_its_lease(two: TwoJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: the command may still run, so the job waits for the end of this process."""

    def broken(_run: Run, _why: object) -> object:
        raise KeyError("no such thing")

    monkeypatch.setattr(Run, "end", broken)
    two.worker._work(two.desk.enqueue(id="first", command=SLEEP, timeout=0.05))
    (run,) = two.worker._runs
    process = run.process
    two.go_on(lambda: not two.worker._runs)
    try:
        assert is_alive(two.desk.spool, run.slot.lease.name) and two.rescue() == []
        assert len(two.worker._free) == 1
    finally:
        assert process is not None
        for _ in process.terminate(0):
            pass
        run.slot.close()


def test_a_defect_in_a_claim_leaves_the_file_alone(two: TwoJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """P6: one file does not end one worker after the other; a lack of memory is the machine's trouble (P9)."""
    claim = two.worker._claims.claim
    errors: dict[str, Exception] = {"bad.json": AttributeError("no such thing"), "big.json": MemoryError()}

    def broken(name: str, lease: str) -> object:
        if name in errors:
            raise errors[name]
        return claim(name, lease)

    monkeypatch.setattr(two.worker._claims, "claim", broken)
    two.worker._work("bad.json")
    two.worker._work(two.desk.enqueue(id="good", command="exit 0"))
    two.go_on(lambda: two.ended() == ["good"])
    two.worker._work("big.json")
    two._flush()
    passed = {each.name: each.declined for each in two.reports if isinstance(each, Passed)}
    assert isinstance(passed["bad.json"], Foreign) and passed["bad.json"].why.startswith("AttributeError: no such")
    assert isinstance(passed["big.json"], Returned) and isinstance(two.reports[-1], Trouble)
