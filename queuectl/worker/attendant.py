"""Handle a run from the start of its command to its record, step by step, so that one worker handles many runs.

Each run is a generator. It yields the number of seconds until its next step is due. The worker resumes it then or
earlier: with the end of its command, or with None if the supervisor has sent an order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from queuectl.jobs.settle import Settlements
from queuectl.jobs.verdict import Claimed
from queuectl.model.lifecycle import CANCELLED, RELEASED, Outcome
from queuectl.model.text import command_text
from queuectl.worker.executors.base import CannotStartError, Ended, Process
from queuectl.worker.link import STOP_WITHIN_S, Link
from queuectl.worker.messages import Started
from queuectl.worker.recorder import Recorder
from queuectl.worker.run import End, Run, Starter, not_started
from queuectl.worker.slot import Slot
from queuectl.worker.unsettled import EndedRun

# A command that runs longer than this gets its own report; shorter ones are reported together.
_REPORT_AFTER_S = 0.012
# The record of a drop is forced to the disk this long after the start of its command: a shell takes 1 ms to start the
# program, and 0.4 ms longer beside an fsync.
_SECURE_AFTER_S = 0.004

Steps = Generator[float, Ended | None, None]


class Attended:
    """A run in progress in a slot."""

    def __init__(self, slot: Slot, name: str, claimed: Claimed) -> None:
        self.slot = slot
        self.name = name
        """The name that was suggested."""
        self.claimed = claimed
        self.steps: Steps
        self.process: Process | None = None
        """The command, while the run waits for its end."""
        self.is_ending = False
        """True while the command is being ended; a step is then due whenever any command has ended."""
        self.is_given_up = False
        """True after a defect of queuectl: nothing is recorded any more."""
        self.due_s = 0.0
        """When the next step is due (monotonic)."""


class Attendant:
    """Handles the runs of one worker.

    `give_up` is called after a run that ended because of a problem of the machine.
    """

    def __init__(
        self,
        settlements: Settlements,
        starter: Starter,
        recorder: Recorder,
        link: Link,
        *,
        give_up: Callable[[Slot, OSError], None],
        run_type: type[Run] = Run,
    ) -> None:
        self._session = recorder.session
        self._clock = recorder.session.clock
        self._settlements = settlements
        self._starter = starter
        self._recorder = recorder
        self._link = link
        self._give_up = give_up
        self._run_type = run_type

    def attend(self, slot: Slot, name: str, claimed: Claimed) -> Attended:
        """Return the run of a claimed job, before its first step."""
        attended = Attended(slot, name, claimed)
        attended.steps = self._steps(attended, name, claimed)
        return attended

    def give_up(self, attended: Attended) -> None:
        """From the next step on, which is due now, end the command at once, and leave the run without an outcome."""
        process, attended.process = attended.process, None
        assert process is not None

        def steps() -> Steps:
            yield from process.terminate(0)
            self.leave(attended)

        attended.steps, attended.is_ending, attended.due_s = steps(), True, 0.0

    def leave(self, attended: Attended) -> None:
        """Leave a run whose command has ended to the rescuer, as if its worker had died."""
        attended.slot.abandon()
        self._settlements.leave(attended.claimed)

    def _steps(self, attended: Attended, name: str, claimed: Claimed) -> Steps:
        slot = attended.slot
        started_s = self._clock.monotonic()
        is_told = False
        trouble: OSError | None = None
        is_last = False
        try:
            process = self._starter.start(claimed, slot)
        except CannotStartError as error:
            outcome = not_started(error, self._clock.monotonic() - started_s)
        except OSError as error:
            outcome, trouble = Outcome(RELEASED, reason=f"could not start: {error.strerror or error}"), error
        else:
            after_s = _REPORT_AFTER_S
            if claimed.copy and self._link.names:
                self._secure(claimed)
            elif claimed.copy:
                # Nothing waits for this worker, so let the command start before the disk has something to do.
                self._settlements.part(claimed)
                after_s = _SECURE_AFTER_S
            run = self._run_type(self._session, slot, claimed, process, started_s=started_s)
            attended.process = process
            try:
                ended = yield after_s
                if ended is not None and not ended.is_shutdown:  # the usual end
                    attended.process = None
                    is_last = ended.is_last
                    outcome = run.outcome(ended, run.duration_s())
                else:
                    if claimed.copy:
                        self._secure(claimed)
                    if ended is None:
                        command = _preview(claimed.record.command)
                        self._link.report(Started(name, claimed.job_id, claimed.attempt, command))
                        self._link.return_behind(name)
                        self._link.flush()
                        is_told = True
                    outcome = yield from self._watch(attended, run, ended)
            except OSError as error:
                # The machine's fault, so uncounted (P9). End the run, because runs never overlap (P3).
                why = End(RELEASED, f"could not be watched: {error.strerror or error}")
                outcome, trouble = (yield from self._end(attended, run, why)), error
            attended.process = None
        command = "" if is_told else _preview(claimed.record.command)
        run_ended = EndedRun(name, claimed, outcome, started_s, command, is_last)
        yield from self._recorder.record(run_ended, slot)
        if trouble is not None:
            self._give_up(slot, trouble)

    def _secure(self, claimed: Claimed) -> None:
        """Fsync the record of a drop. If that fails, settling the run tries again and reports the failure."""
        try:
            self._settlements.secure(claimed)
        except OSError:
            self._settlements.part(claimed)

    def _watch(self, attended: Attended, run: Run, ended: Ended | None) -> Generator[float, Ended | None, Outcome]:
        """Wait for the running command, and end it if it must not continue."""
        while ended is None:
            why = self._ordered(run) or run.check()
            if why is not None:
                return (yield from self._end(attended, run, why))
            ended = yield run.wait_s()
        attended.process = None
        duration_s = run.duration_s()
        is_stop = ended.is_shutdown and (yield from self._is_asked_to_stop())
        return run.outcome(ended, duration_s, is_stop=is_stop)

    def _end(self, attended: Attended, run: Run, why: End) -> Generator[float, Ended | None, Outcome]:
        attended.process = None
        attended.is_ending = True
        outcome = yield from run.end(why)
        attended.is_ending = False
        return outcome

    def _ordered(self, run: Run) -> End | None:
        """Return why the run must end, if the supervisor has ordered that."""
        if (cancel := self._link.cancels(run.claimed)) is not None:
            return End(CANCELLED, cancel.reason)
        if self._link.is_abandoning:
            return End(CANCELLED, "the spool was moved or deleted")
        if self._link.is_killing:
            return End(RELEASED, "the worker was stopped")
        return None

    def _is_asked_to_stop(self) -> Generator[float, object, bool]:
        """Return whether a request to stop came within the last second, or comes within the next; wait until then.

        A shutdown of the system signals all processes at once: this worker, its supervisor and the command, which may
        receive its signal first (P9).
        """
        ended_s = self._clock.monotonic()
        while self._link.stop_asked_s < ended_s - STOP_WITHIN_S:
            left_s = ended_s + STOP_WITHIN_S - self._clock.monotonic()
            if left_s <= 0:
                return False
            yield left_s
        return True


def _preview(command: str | list[str]) -> str:
    """Return the command as one line of text."""
    text = command_text(command)
    return text if len(text) <= 200 else text[:199] + "…"
