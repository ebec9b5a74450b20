"""recorder: an outcome is recorded, or kept until it can be (P4, P9)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from multiprocessing import Pipe

import pytest

from queuectl.jobs.verdict import Claimed, Settled, Unrecorded
from queuectl.model.lifecycle import FAILED, SUCCEEDED, Outcome
from queuectl.spool.blame import Fault
from queuectl.system.locks import is_held
from queuectl.worker.link import Link
from queuectl.worker.messages import Finished, Passed, Report, Trouble, Vanished
from queuectl.worker.recorder import Recorder
from queuectl.worker.slot import Slot
from queuectl.worker.unsettled import EndedRun
from tests.helpers import Desk, listing
from tests.unit.worker.test_link import NoCommands

DONE = Outcome(SUCCEEDED, 0, "", 1.0)


class Ledger:
    """A recorder with a job that has run; `errors` are raised by the next attempts to settle."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk = desk
        self.ours, theirs = Pipe()
        self.link = Link(theirs, NoCommands(), desk.clock)  # type: ignore[arg-type]  # an empty tuple is as good
        self.link.flush = lambda: None  # type: ignore[method-assign]
        self.link.channel.wait = self._wait  # type: ignore[method-assign]
        self.slot = Slot(desk.session, "w9")
        self.slot.open()
        self.waits: list[float | None] = []
        self.errors: list[OSError] = []
        self.fault: Fault | None = None
        self.recorder = Recorder(desk.session, desk.settlements, desk.claims.blame, link=self.link)
        monkeypatch.setattr(desk.claims.blame, "fault", lambda _error, _path: self.fault)
        settle = desk.settlements.settle

        def failing(claimed: Claimed, outcome: Outcome) -> Settled:
            if self.errors:
                raise self.errors.pop(0)
            return settle(claimed, outcome)

        monkeypatch.setattr(desk.settlements, "settle", failing)
        name = desk.enqueue(id="job", max_retries=2)
        claimed = desk.claims.claim(name, self.slot.lease.name)
        assert isinstance(claimed, Claimed)
        self.claimed, self.name = claimed, name

    def _wait(self, timeout_s: float | None) -> bool:
        self.waits.append(timeout_s)
        self.desk.clock.advance(timeout_s or 0)
        return False

    def record(self, outcome: Outcome = DONE, command: str = "") -> list[Report]:
        """Record the end of the run; what is reported."""
        for wait_s in self.recorder.record(EndedRun(self.name, self.claimed, outcome, 0.0, command), self.slot):
            self._wait(wait_s)
        return self.reports()

    def reports(self) -> list[Report]:
        """What was reported since the last call."""
        reports, self.link._reports = self.link._reports, []
        return reports


@pytest.fixture
def ledger(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """See `Ledger`."""
    made = Ledger(desk, monkeypatch)
    yield made
    made.recorder.unsettled.close()
    made.slot.close()
    made.ours.close()


def test_an_end_is_one_report_with_the_start(ledger: Ledger) -> None:
    """A short run is reported once; a plain success keeps the lease."""
    lease = ledger.slot.lease.name
    (report,) = ledger.record(command="true")
    assert isinstance(report, Finished)
    assert (report.settled.to, report.runs_left, report.command) == ("done", 2, "true")
    assert listing(ledger.desk.spool) == {"done": ["job.json"]}
    assert ledger.slot.lease.name == lease


def test_a_failure_counts_and_changes_the_lease(ledger: Ledger) -> None:
    """P5: the job waits for its next run, and must not look alive."""
    lease = ledger.slot.lease.path
    (report,) = ledger.record(Outcome(FAILED, 1, "", 1.0))
    assert isinstance(report, Finished)
    assert (report.settled.to, report.runs_left, report.max_retries) == ("pending", 1, 2)
    assert not is_held(lease)


def test_trouble_of_the_machine_is_reported_once_and_tried_again(ledger: Ledger) -> None:
    """P9: the outcome is on record as soon as the disk takes it, after ever longer waits."""
    ledger.errors = [OSError(errno.ENOSPC, "No space left on device") for _ in range(3)]
    trouble, report = ledger.record()
    assert trouble == Trouble("cannot record how job ended: No space left on device")
    assert isinstance(report, Finished) and ledger.waits == [0.1, 0.25, 0.5]
    assert listing(ledger.desk.spool) == {"done": ["job.json"]}


def test_a_worker_that_is_killed_leaves_the_run_to_rescue(ledger: Ledger) -> None:
    """Its lease goes with it, so the run counts as abandoned."""
    ledger.errors = [OSError(errno.ENOSPC, "No space left on device") for _ in range(9)]
    ledger.link.is_killing = True
    assert [type(report) for report in ledger.record()] == [Trouble]
    assert ledger.waits == [] and listing(ledger.desk.spool) == {"running": ["job.json"]}


def test_a_file_that_takes_no_outcome_is_kept_with_its_lease(ledger: Ledger) -> None:
    """P6: the worker goes on under another lease, and the outcome is recorded when the file can be written."""
    lease = ledger.slot.lease.path
    ledger.fault = Fault("running/job.json", "it is read-only", "make it writable")
    ledger.errors = [PermissionError(errno.EACCES, "Permission denied") for _ in range(4)]
    (report,) = ledger.record()
    assert isinstance(report, Passed) and isinstance(report.declined, Unrecorded)
    ledger.slot.open()
    assert ledger.slot.lease.path != lease and is_held(lease)
    assert ledger.recorder.unsettled.runs
    while ledger.recorder.unsettled.runs:
        ledger.desk.clock.advance(ledger.recorder.wait_s() or 0)
        ledger.recorder.try_again()
    (report,) = ledger.reports()
    assert isinstance(report, Finished) and not is_held(lease)
    assert listing(ledger.desk.spool) == {"done": ["job.json"]}


def test_a_file_that_was_taken_away_is_reported_and_not_made_again(ledger: Ledger) -> None:
    """Whoever deletes a running job's file means it."""
    os.remove(ledger.desk.spool.path("running", "job.json"))
    assert ledger.record() == [Vanished("job.json", "job", DONE)]
    assert listing(ledger.desk.spool) == {}


def test_nothing_is_written_into_a_spool_that_is_another_one(ledger: Ledger) -> None:
    """The outcome is only in the report."""
    ledger.link.is_abandoning = True
    assert ledger.record() == [Vanished("job.json", "job", DONE)]
    assert listing(ledger.desk.spool) == {"running": ["job.json"]}


def test_a_worker_that_ends_goes_on_trying(ledger: Ledger) -> None:
    """Until every outcome is on record."""
    ledger.fault = Fault("running/job.json", "it is read-only", "make it writable")
    ledger.errors = [PermissionError(errno.EACCES, "Permission denied") for _ in range(6)]
    ledger.record()
    ledger.recorder.close()
    assert not ledger.recorder.unsettled.runs
    assert listing(ledger.desk.spool) == {"done": ["job.json"]}
