"""halts: a queue whose runs fail is paused, by a file with the reason, and then tried by one job at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.flows import boards, halts
from queuectl.flows.admission import PAUSED
from queuectl.flows.gates import HALF_OPEN, HALTED
from queuectl.jobs.verdict import Claimed, Gated
from queuectl.model.lifecycle import PENDING, Outcome
from queuectl.model.queues import OUTCOMES_LIMIT, Queue
from queuectl.model.settings import defaults
from queuectl.spool import pause
from queuectl.system import disk
from tests.helpers import Desk, FakeClock, make_spool

OK = Outcome("succeeded", 0, "", 0.01)
BAD = Outcome("failed", 7, "no route", 0.01)


class Trial:
    """A queue `api` with a circuit breaker, and workers that run its jobs."""

    def __init__(self, tmp_path: Path, rules: Queue) -> None:
        self.spool = make_spool(tmp_path / "spool")
        self.clock = FakeClock()
        self.limits = {"api": rules}
        self.desks = [
            Desk(self.spool, worker=f"w{each}", clock=self.clock, settings=defaults()._replace(queues=self.limits))
            for each in range(1, 4)
        ]
        self.count = 0

    def start(self, desk: int = 0) -> Claimed | Gated:
        """Try to start a job; one that may not is deleted."""
        self.count += 1
        name = self.desks[desk].enqueue(id=f"job{self.count}", queue="api", max_retries=0)
        found = self.desks[desk].claim(name)
        if isinstance(found, Gated):
            os.unlink(self.spool.path(PENDING, found.name))
        else:
            assert isinstance(found, Claimed), found
        return found

    def end(self, run: Claimed | Gated, outcome: Outcome, desk: int = 0) -> str:
        """End a run; return the queue that it halted, or ""."""
        assert isinstance(run, Claimed), run
        self.desks[desk].settlements.settle(run, outcome)
        assert run.gate is not None
        return run.gate.halted

    def run(self, *outcomes: Outcome) -> list[str]:
        """Run a job for each outcome; return what each halted."""
        return [self.end(self.start(), outcome) for outcome in outcomes]

    def why(self) -> str:
        """Why a job does not start, or ""."""
        found = self.start(2)
        if isinstance(found, Claimed):
            self.end(found, Outcome("released"), 2)
            return ""
        self.clock.advance(0.006)  # a worker may take so long to notice a pause
        return found.why

    @property
    def outcomes(self) -> str:
        """What the head of the board says."""
        return boards.outcomes(self.spool, "api")

    @property
    def text(self) -> str:
        """What PAUSED-api says."""
        return Path(self.spool.queue_paused_path("api")).read_text()


def test_failures_in_a_row_halt_the_queue(tmp_path: Path) -> None:
    """The third failure in a row publishes PAUSED-QUEUE with the last failure, until when, and by what."""
    trial = Trial(tmp_path, Queue(halt_after=3, halt_for=600.0))
    assert trial.run(BAD, BAD, OK, BAD, BAD) == [""] * 5
    assert trial.why() == ""
    assert trial.run(Outcome("timed_out", None, "timed out after 5s", 5.0)) == ["api"]
    lines = trial.text.split("\n")
    assert lines[0] == "3 runs failed in a row; the last one was job7: timed out after 5s"
    assert lines[1:] == ["until 2027-01-15T08:10:00.000Z", "by halt_after", ""]
    assert pause.halted_by(trial.spool, "api") == "halt_after"
    assert trial.why() in (HALTED, PAUSED)
    assert trial.why() == PAUSED
    assert isinstance(trial.desks[0].claim(trial.desks[0].enqueue(id="other")), Claimed)


def test_share_of_the_last_runs_halts_the_queue(tmp_path: Path) -> None:
    """Half of the last four: not before there are four, and not by a success."""
    trial = Trial(tmp_path, Queue(halt_share=0.5, halt_of=4))
    assert trial.run(BAD, BAD, OK, OK, OK, BAD) == [""] * 6
    assert trial.run(BAD) == ["api"]
    assert trial.text == "2 of the last 4 runs failed; the last one was job7: exit 7: no route\n\nby halt_share\n"
    assert pause.until(trial.spool, "api") is None


def test_snoozes_releases_and_cancels_say_nothing(tmp_path: Path) -> None:
    """Only runs that succeeded or counted as failures are in the head."""
    trial = Trial(tmp_path, Queue(halt_after=2))
    kinds = ("snoozed", "released", "cancelled")
    assert trial.run(BAD, *(Outcome(kind, None, "", 0.01) for kind in kinds)) == [""] * 4
    assert trial.outcomes == "f"
    assert not boards.read(trial.spool, "api")


def test_one_job_tries_a_queue_after_a_pause(tmp_path: Path) -> None:
    """Half-open: one job while none runs; its failure halts again, its success opens the queue."""
    trial = Trial(tmp_path, Queue(halt_after=2, halt_for=60.0))
    trial.run(BAD, BAD)
    os.unlink(trial.spool.queue_paused_path("api"))
    first = trial.start(0)
    second = trial.start(1)
    assert isinstance(second, Gated)
    assert second.why == HALF_OPEN
    assert trial.end(first, BAD) == "api"
    assert trial.text.startswith("3 runs failed in a row; the last one was job3")
    assert pause.resume(trial.spool, "api")
    trial.clock.advance(0.01)
    assert trial.end(trial.start(1), OK, 1) == ""
    assert trial.outcomes == "s"
    runs = [trial.start(desk) for desk in range(3)]
    assert all(isinstance(run, Claimed) for run in runs)


def test_runs_in_flight_go_on_and_count(tmp_path: Path) -> None:
    """A failure while the queue is halted changes no file; a success of a job from before ends the row of failures."""
    trial = Trial(tmp_path, Queue(halt_after=2))
    runs = [trial.start(desk) for desk in range(3)]
    trial.end(runs[0], BAD, 0)
    assert trial.end(runs[1], BAD, 1) == "api"
    before = trial.text
    assert trial.end(runs[2], BAD, 2) == ""
    assert trial.text == before
    assert trial.outcomes == "fff"


def test_no_job_tries_while_one_from_before_runs(tmp_path: Path) -> None:
    """One job at most runs while the head is at the limit; a dead one's place is free (P12)."""
    trial = Trial(tmp_path, Queue(halt_after=1))
    old = trial.start(1)
    trial.run(BAD)
    pause.resume(trial.spool, "api")
    trial.clock.advance(0.01)
    assert trial.why() == HALF_OPEN
    assert isinstance(old, Claimed)
    trial.desks[1].die()
    assert isinstance(trial.start(), Claimed)


def test_success_of_an_old_job_does_not_clear_a_share(tmp_path: Path) -> None:
    """Only the job that was let in alone empties the head."""
    trial = Trial(tmp_path, Queue(halt_share=0.5, halt_of=4))
    old = trial.start(1)
    trial.run(OK, OK, BAD, BAD)
    trial.end(old, OK, 1)
    assert trial.outcomes == "ssffs"
    pause.resume(trial.spool, "api")
    trial.clock.advance(0.01)
    trial.run(OK)
    assert trial.outcomes == "s"


def test_pause_by_a_person_stays(tmp_path: Path) -> None:
    """The circuit breaker replaces no PAUSED-QUEUE, and fires no hook for it."""
    trial = Trial(tmp_path, Queue(halt_after=1))
    run = trial.start()
    pause.pause(trial.spool, "moving", until_at=None, queue="api")
    assert trial.end(run, BAD) == ""
    assert trial.text == "moving\n"
    assert pause.halted_by(trial.spool, "api") == ""


def test_gate_is_shut_before_the_worker_looks_for_a_pause(tmp_path: Path) -> None:
    """A worker that found no pause a moment ago lets no job in: the gate itself looks (P12)."""
    trial = Trial(tmp_path, Queue(halt_after=1))
    trial.end(trial.start(2), OK, 2)
    trial.run(BAD)
    assert trial.why() == HALTED


def test_dead_run_counts(tmp_path: Path) -> None:
    """A run whose worker died is a failure; whoever rescues it halts the queue."""
    trial = Trial(tmp_path, Queue(halt_after=2))
    trial.run(BAD)
    trial.start()
    trial.desks[0].die()
    assert trial.desks[1].orphans.rescue("job2.json") is not None
    assert trial.outcomes == "ff"
    assert trial.desks[1].orphans.halted == ["api"]
    assert "job2: abandoned: its worker died" in trial.text
    assert not boards.read(trial.spool, "api")


def test_refused_pause_is_tried_again_and_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If PAUSED-QUEUE cannot be made, the outcome is settled again, and is in the head once (P9)."""
    trial = Trial(tmp_path, Queue(halt_after=1))
    run = trial.start()

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "publish", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="no space"):
                trial.end(run, BAD)
    assert trial.outcomes == "f"
    assert trial.end(run, BAD) == "api"
    assert trial.outcomes == "f"
    assert not boards.read(trial.spool, "api")


def test_outcomes_outlive_a_broken_board(tmp_path: Path) -> None:
    """A torn board keeps its head; a deleted one begins anew; more outcomes than fit lose the first ones."""
    trial = Trial(tmp_path, Queue(halt_after=4))
    trial.run(OK, BAD, BAD)
    path = Path(trial.spool.gate_path("api"))
    path.write_bytes(path.read_bytes()[:300])
    trial.run(BAD)
    assert trial.outcomes == "sfff"
    path.unlink()
    trial.run(BAD)
    assert trial.outcomes == "f"
    path.write_bytes(boards.head_of("s" * OUTCOMES_LIMIT))
    trial.run(BAD)
    assert trial.outcomes == "s" * (OUTCOMES_LIMIT - 1) + "f"
    assert len(path.read_bytes()) % boards.LINE_BYTES == 0


def test_settings_change_at_once(tmp_path: Path) -> None:
    """A lower limit makes the gate half-open; without one the queue is open, and runs are counted no more."""
    trial = Trial(tmp_path, Queue(halt_after=9))
    trial.run(BAD, BAD, BAD)
    trial.limits["api"] = Queue(halt_after=3)
    first = trial.start()
    assert trial.why() == HALF_OPEN
    trial.limits["api"] = Queue(slots=5)
    assert trial.why() == ""
    assert trial.end(first, BAD) == ""
    assert trial.outcomes == "fff"


def test_long_errors_are_cut_to_a_line(tmp_path: Path) -> None:
    """The reason is one line, however the error looks."""
    trial = Trial(tmp_path, Queue(halt_after=1))
    trial.run(Outcome("failed", 1, "a\nuntil 1999-01-01T00:00:00Z\n" + "x" * 1000, 0.01))
    lines = trial.text.split("\n")
    assert len(lines) == 4
    assert len(lines[0]) < 300
    assert pause.until(trial.spool, "api") is None


@pytest.mark.parametrize(
    ("outcomes", "rules", "wanted"),
    [
        ("", Queue(halt_after=1), ""),
        ("sff", Queue(halt_after=2), "halt_after"),
        ("ffs", Queue(halt_after=2), ""),
        ("sff", Queue(halt_after=3, halt_share=0.6, halt_of=3), "halt_share"),
        ("ff", Queue(halt_share=0.1, halt_of=3), ""),
        ("ffsff", Queue(halt_share=1, halt_of=3), ""),
        ("sffs", Queue(halt_share=0.6, halt_of=3), "halt_share"),
        ("fff", Queue(), ""),
    ],
)
def test_limit(outcomes: str, rules: Queue, wanted: str) -> None:
    """The rules, by themselves."""
    assert halts.limit_reached(outcomes, rules) == wanted
