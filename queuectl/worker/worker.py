"""A worker process: takes names from the supervisor, claims, runs one command at a time, settles, reports.

It never decides what is next and never looks for work; a name is only a suggestion, the claim proves it. If the
supervisor is gone (its end of the pipe closes) the worker ends after its job. Everything that goes wrong with the
machine is reported, and nothing of it is held against a job (promise P9).
"""

from __future__ import annotations

import contextlib
from multiprocessing.connection import Connection

from queuectl.errors import QueuectlError
from queuectl.jobs import error_text
from queuectl.jobs.claim import Claims
from queuectl.jobs.settle import Settlements
from queuectl.jobs.verdict import Claimed, Dead, Declined, Foreign, Paused, Returned
from queuectl.model.lifecycle import CANCELLED, RELEASED, Outcome
from queuectl.model.text import command_text
from queuectl.spool import batch, pause
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.worker.executors import choose
from queuectl.worker.executors.base import CannotStartError
from queuectl.worker.link import Link
from queuectl.worker.messages import Passed, Started, Trouble
from queuectl.worker.recorder import Recorder
from queuectl.worker.run import Run, Starter, not_started
from queuectl.worker.slot import Slot
from queuectl.worker.unsettled import EndedRun

# A command that runs for longer than this is worth a report of its own; shorter ones are reported together.
_REPORT_AFTER_S = 0.012
# How long a worker may take to see the file PAUSED, or that its lease was deleted: short jobs share a look.
_PAUSED_WITHIN_S = 0.005
# A command that ends by a signal within this time of a request to stop was ended by the same event.
_STOP_WITHIN_S = 1.0


class Worker:
    """The loop of one worker process."""

    def __init__(self, conn: Connection, session: Session, *, worker: str, cwd: str) -> None:
        self._session = session
        self._spool = session.spool
        self._clock = session.clock
        self._stripes = Stripes(session.spool)
        self._claims = Claims(session, self._stripes, worker=worker)
        self._settlements = Settlements(session, self._stripes)
        executor = choose.make(session.settings.shell)
        self._link = Link(conn, executor, session.clock)
        self._slot = Slot(session, worker)
        self._starter = Starter(executor, session.spool.root, cwd)
        self._recorder = Recorder(session, self._settlements, self._claims.blame, slot=self._slot, link=self._link)
        self._unpaused_s = -_PAUSED_WITHIN_S
        """When PAUSED was last looked for and not there (monotonic)."""

    def run(self) -> None:
        """Work until the supervisor orders a stop or is gone."""
        link, recorder = self._link, self._recorder
        link.flush()
        while not link.is_stopping:
            if not link.names:
                link.receive(wait_s=recorder.wait_s())
            elif link.channel.has_message:
                link.receive()
            if link.names and not link.is_stopping:
                self._work(link.names.popleft())
                link.flush_in_time()
            if recorder.has_unsettled:
                recorder.try_again()
        recorder.close()
        link.flush()
        self._slot.close()

    def stop(self) -> None:
        """Claim nothing more; end after the job that runs."""
        self._link.stop()

    def note_stop(self) -> None:
        """Remember that somebody has asked this pool, or everything that runs on this machine, to stop."""
        self._link.note_stop()

    # --------------------------------------------------------------------------------------------------- claim

    def _work(self, name: str) -> None:
        """Claim a name and run its job to the end, or report why not."""
        try:
            if self._is_paused():
                self._hand_back(name, Paused())
                return
        except OSError as error:
            self._give_up(name, error)
            return
        # The folder and the slot before the claim: a job would have each try on its record.
        try:
            self._starter.check_folder()
        except OSError as error:
            self._hand_back(name, Returned())
            self._link.report(Trouble(_line(error)))
            return
        try:
            self._slot.open()
        except OSError as error:
            self._give_up(name, error)
            return
        claimed = self._claim(name)
        if claimed is not None:
            self._run(name, claimed)

    def _is_paused(self) -> bool:
        """Return whether nothing may be started now. Raises OSError if the lease proves nothing any more."""
        now_s = self._clock.monotonic()
        if now_s - self._unpaused_s < _PAUSED_WITHIN_S:
            return False
        paused = pause.is_paused(self._spool)
        if not paused:
            self._unpaused_s = now_s
            self._slot.check()
        return paused

    def _claim(self, name: str) -> Claimed | None:
        """Claim a name; if it is not ours to run, report why and return None."""
        link = self._link
        try:
            if name in link.to_split:
                link.to_split.discard(name)
                claimed: Claimed | Declined = self._claims.splits.split(name)
            elif name.startswith(batch.IN_TAKEN):
                claimed = self._claims.splits.go_on(name)
            else:
                claimed = self._claims.claim(name, self._slot.lease.name)
        except OSError as error:
            stuck = self._claims.stuck(name, error)
            if stuck is None:
                self._give_up(name, error)
            else:
                link.report(Passed(name, stuck))
                self._slot.change()
            return None
        except (QueuectlError, ValueError, RecursionError) as error:
            # A file that we misjudge must not end one worker after the other (P6): it is reported and left alone.
            link.report(Passed(name, Foreign(None, f"{type(error).__name__}: {error}")))
            return None
        if isinstance(claimed, Claimed):
            return claimed
        if isinstance(claimed, Dead):
            error_text.write(self._session, claimed.name)
        link.report(Passed(name, claimed))
        return None

    def _give_up(self, name: str, error: OSError) -> None:
        """Hand everything back: this machine cannot work just now."""
        self._slot.abandon()
        self._hand_back(name, Returned())
        self._link.report(Trouble(_line(error)))

    def _hand_back(self, name: str, why: Paused | Returned) -> None:
        """Return this name and all queued ones, in reverse: each return goes to the front of the pool's queue."""
        for other in reversed([name, *self._link.names]):
            if other:
                self._link.report(Passed(other, why))
        self._link.names.clear()

    # ----------------------------------------------------------------------------------------------------- run

    def _run(self, name: str, claimed: Claimed) -> None:
        """Run the command of a claimed job to its end, and record that."""
        started_s = self._clock.monotonic()
        trouble: OSError | None = None
        self._link.report(Started(name, claimed.job_id, claimed.attempt, _preview(claimed.record.command)))
        try:
            process = self._starter.start(claimed, self._slot)
        except CannotStartError as error:
            outcome = not_started(error, self._clock.monotonic() - started_s)
        except OSError as error:
            outcome, trouble = Outcome(RELEASED, reason=f"could not start: {error.strerror or error}"), error
        else:
            if claimed.copy:
                with contextlib.suppress(OSError):  # tried again, and reported, when the run is settled
                    self._settlements.secure(claimed)
            run = Run(self._session, self._slot, claimed, process, started_s=started_s)
            try:
                outcome = self._attend(run)
            except OSError as error:  # the machine's, so it is not counted (P9); the job is to run once at a time (P3)
                outcome, trouble = run.end(RELEASED, f"could not be watched: {error.strerror or error}"), error
        self._recorder.record(EndedRun(name, claimed, outcome))
        if trouble is not None:
            self._give_up("", trouble)

    def _attend(self, run: Run) -> Outcome:
        """Wait for the running command. Most are over before there is anything to see to."""
        link = self._link
        ended = link.channel.wait_for(run.process, _REPORT_AFTER_S)
        while ended is None:
            link.flush()
            link.receive()
            outcome = self._end_by_order(run) or run.check()
            if outcome is not None:
                return outcome
            ended = link.channel.wait_for(run.process, run.wait_s())
        duration_s = run.duration_s()
        return run.outcome(ended, duration_s, is_stop=ended.is_shutdown and self._is_asked_to_stop())

    def _end_by_order(self, run: Run) -> Outcome | None:
        """End the run if the supervisor has ordered that; return the outcome."""
        if (cancel := self._link.cancels(run.claimed)) is not None:
            return run.end(CANCELLED, cancel.reason)
        if self._link.is_abandoning:
            return run.end(CANCELLED, "the spool was taken away")
        if self._link.is_killing:
            return run.end(RELEASED, "the worker was stopped")
        return None

    def _is_asked_to_stop(self) -> bool:
        """Return whether a request to stop came within the last second, or comes within the next; wait for that.

        A system that stops signals everything at once: this worker, its supervisor and the command, which may be the
        first that is hit (P9).
        """
        ended_s = self._clock.monotonic()
        while self._link.stop_asked_s < ended_s - _STOP_WITHIN_S:
            left_s = ended_s + _STOP_WITHIN_S - self._clock.monotonic()
            if left_s <= 0:
                return False
            self._link.pause(left_s)
        return True


def _line(error: OSError) -> str:
    """Return an error of the system as a line."""
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"


def _preview(command: str | list[str]) -> str:
    """Return the command as a line for a screen."""
    text = command_text(command)
    return text if len(text) <= 200 else text[:199] + "…"
