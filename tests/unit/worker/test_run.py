"""run: how a command is started, and how it is ended. (The checks of one that lasts are in test_worker.)"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from queuectl.model.lifecycle import FAILED, RELEASED, SUCCEEDED, TIMED_OUT, Outcome
from queuectl.worker.executors.base import CannotEnterError, CannotStartError, Ended, Process, Spec
from queuectl.worker.run import End, Run, Starter, not_started
from queuectl.worker.slot import Slot
from tests.helpers import Desk


class OneProcess:
    """An executor, and the process that it starts."""

    def __init__(self) -> None:
        self.specs: list[Spec] = []
        self.error: Exception | None = None
        self.grace_s = -1.0
        self.sources: list[int] = []

    def wake(self) -> None:
        """Not called."""

    def start(self, spec: Spec) -> Process:
        """Start nothing."""
        if self.error is not None:
            raise self.error
        self.specs.append(spec)
        return self

    def ended(self) -> list[tuple[Process, Ended]]:
        """It runs."""
        return []

    def terminate(self, grace_s: float) -> Generator[float, object, Ended]:
        """End it in two steps."""
        self.grace_s = grace_s
        yield 0.02
        return Ended(143, "ended by SIGTERM", killed=(5,), left=(6,))


def test_a_command_gets_its_folder_its_variables_and_its_slot(
    desk: Desk, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's own variables come on top of the worker's, and the facts of the run on top of these."""
    monkeypatch.setenv("OURS", "worker")
    monkeypatch.setenv("BOTH", "worker")
    executor = OneProcess()
    starter = Starter(executor, desk.spool, os.path.join(desk.spool.root, "home"))
    env = {"BOTH": "job", "QUEUECTL_ATTEMPT": "9"}
    starter.start(desk.start(desk.enqueue(id="job", cwd="sub", env=env)), slot)
    (spec,) = executor.specs
    assert spec.cwd == os.path.join(desk.spool.root, "home", "sub")
    wanted = {"OURS": "worker", "BOTH": "job", "QUEUECTL_JOB_ID": "job", "QUEUECTL_ATTEMPT": "1"}
    assert wanted.items() <= {**spec.env, **spec.marks}.items() and spec.env["QUEUECTL_SPOOL"] == desk.spool.root
    assert (spec.output_fd, spec.lease_fd, spec.lease_path) == (slot.output_fd, slot.lease.fd, slot.lease.path)


def test_a_run_keeps_its_own_variables_while_others_start(desk: Desk, slot: Slot) -> None:
    """P3: a process is known as one of a run by the variables of that run, not by those of a run that started later."""
    executor = OneProcess()
    starter = Starter(executor, desk.spool, desk.spool.root)
    for job_id in ("first", "second"):
        starter.start(desk.start(desk.enqueue(id=job_id)), slot)
    assert [{**spec.env, **spec.marks}["QUEUECTL_JOB_ID"] for spec in executor.specs] == ["first", "second"]


def test_a_pool_without_its_folder_is_in_trouble_until_the_folder_is_back(
    desk: Desk, slot: Slot, tmp_path: Path
) -> None:
    """P9: the job named no folder, so it is not at fault, and no other job is claimed before a look."""
    home = tmp_path / "home"
    executor = OneProcess()
    starter = Starter(executor, desk.spool, str(home))
    starter.check_folder()
    executor.error = CannotEnterError(str(home))
    claimed = desk.start(desk.enqueue(id="job"))
    for act in (lambda: starter.start(claimed, slot), starter.check_folder):
        with pytest.raises(OSError, match="the folder in which this pool runs"):
            act()
    home.mkdir()
    starter.check_folder()


def test_a_folder_that_the_job_names_is_the_job_s_fault(desk: Desk, slot: Slot, tmp_path: Path) -> None:
    """An absolute one, or one below the pool's folder while that is there."""
    executor = OneProcess()
    starter = Starter(executor, desk.spool, str(tmp_path))
    executor.error = CannotEnterError("gone")
    for number, cwd in enumerate((str(tmp_path / "gone"), "gone")):
        with pytest.raises(CannotEnterError):
            starter.start(desk.start(desk.enqueue(id=f"job{number}", cwd=cwd)), slot)
    starter.check_folder()


def test_the_outcome_of_an_end(desk: Desk, slot: Slot) -> None:
    """By its exit code; released if everything had to stop."""
    run = Run(desk.session, slot, desk.start(desk.enqueue(id="job")), OneProcess(), started_s=desk.clock.monotonic())
    desk.clock.advance(2.5)
    assert run.duration_s() == 2.5
    assert run.outcome(Ended(0, ""), 2.5) == Outcome(SUCCEEDED, 0, "", 2.5)
    assert run.outcome(Ended(7, "why", left=(8,)), 2.5) == Outcome(FAILED, 7, "why", 2.5, left=(8,))
    stopped = run.outcome(Ended(143, "ended by SIGTERM", is_shutdown=True), 2.5, is_stop=True)
    assert stopped == Outcome(RELEASED, 143, "ended by SIGTERM because the pool was asked to stop", 2.5)
    assert (
        run.outcome(Ended(143, ""), 1, is_stop=True).reason
        == "its command was ended because the pool was asked to stop"
    )


def _end(run: Run, why: End) -> Outcome:
    """End a run; its outcome. It takes one step of 20 ms."""
    steps = run.end(why)
    assert next(steps) == 0.02
    with pytest.raises(StopIteration) as over:
        next(steps)
    outcome: Outcome = over.value.value
    return outcome


def test_an_end_is_given_the_time_of_the_setting_at_most(desk: Desk, slot: Slot) -> None:
    """`kill_grace_s`, or less if the reason of the end wants less."""
    process = OneProcess()
    run = Run(desk.session, slot, desk.start(desk.enqueue(id="job")), process, started_s=0)
    outcome = _end(run, End(TIMED_OUT, "timed out after 1 s"))
    assert process.grace_s == desk.session.settings.kill_grace_s
    wanted = Outcome(TIMED_OUT, 143, "timed out after 1 s", outcome.duration_s, killed=(5,), left=(6,))
    assert outcome == wanted
    outcome = _end(run, End(FAILED, "", 0.5, has_code=False))
    assert process.grace_s == 0.5 and outcome.exit_code is None


def test_a_command_that_cannot_be_started_is_a_failed_attempt() -> None:
    """With the code of a shell; a final one is not tried again."""
    outcome = not_started(CannotStartError(126, "one line only", is_final=True), 0.25)
    assert outcome == Outcome(FAILED, 126, "one line only", 0.25, is_final=True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no text for the next child")
def test_a_job_without_parents_finds_nothing_about_those_of_another(desk: Desk, slot: Slot) -> None:
    """The text stays on the desk for the next child only."""
    executor = OneProcess()
    starter = Starter(executor, desk.spool, desk.spool.root)
    desk.run(desk.enqueue(id="p"), Outcome("succeeded", 0, "", 0.01))
    for job_id in ("one", "two"):
        starter.start(desk.start(desk.enqueue(id=job_id, after="p")), slot)
        assert os.path.exists(executor.specs[-1].marks["QUEUECTL_PARENT_RESULTS"])
    path = executor.specs[-1].marks["QUEUECTL_PARENT_RESULTS"]
    starter.start(desk.start(desk.enqueue(id="plain")), slot)
    assert "QUEUECTL_PARENT_RESULTS" not in executor.specs[-1].marks and not os.path.exists(path)
