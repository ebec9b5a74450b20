"""A worker process: takes names from the supervisor, claims, runs one command at a time, settles, reports.

It never decides what is next and never looks for work; a name is only a suggestion, the claim proves it. When the
supervisor is gone (its end of the pipe closes) the worker ends after its job. Everything that goes wrong with the
machine is reported and nothing of it is held against a job (promise P9).
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import random
from collections import deque
from multiprocessing.connection import Connection
from typing import assert_never

from queuectl.errors import QueuectlError
from queuectl.jobs import batch, error_text
from queuectl.jobs.claim import Claims
from queuectl.jobs.settle import Settlements
from queuectl.jobs.verdict import Claimed, Dead, Declined, Foreign, Gone, Paused, Returned, Settled, Unrecorded
from queuectl.model import lifecycle, sizes
from queuectl.model.lifecycle import CANCELLED, FAILED, RELEASED, SUCCEEDED, TIMED_OUT, Outcome
from queuectl.model.settings import Settings
from queuectl.model.text import command_text
from queuectl.spool import pause
from queuectl.spool.blame import Fault
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import Lease
from queuectl.spool.output import OutputLimit, OutputSlot
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import environment, rights
from queuectl.system.clock import Clock
from queuectl.worker.channel import Channel
from queuectl.worker.executors import choose
from queuectl.worker.executors.base import CannotEnterError, CannotStartError, Ended, Process, Spec
from queuectl.worker.messages import (
    Abandon,
    Cancel,
    Feed,
    Finished,
    Kill,
    Order,
    Passed,
    Report,
    Restored,
    SplitFile,
    Started,
    Stop,
    Trouble,
    Vanished,
)
from queuectl.worker.unsettled import Ended as EndedRun
from queuectl.worker.unsettled import Unsettled

# A report waits for others for this long at most.
_REPORT_WITHIN_S = 0.04
# A command that runs for longer than this is worth a report of its own; shorter ones are reported together.
_REPORT_AFTER_S = 0.012
# How often a run that lasts looks whether its file is still there, and how soon it looks again where it is not: an
# editor may save by taking the old file away first. Together they are what "within about a second" means.
_LOOK_EVERY_S = 0.75
_LOOK_AGAIN_S = 0.25
# How long a worker may take to see the file PAUSED, or that its lease was deleted: short jobs share a look.
_PAUSED_WITHIN_S = 0.005
# A command that ends by a signal so soon before or after a request to stop was ended by whoever asked.
_STOP_WITHIN_S = 1.0
_RETRY_SETTLE_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
# After so many tries a worker keeps an outcome that one file does not take, and goes on with other jobs.
_KEEP_AFTER_TRIES = 2
# A run that prints too much may go on printing while it is asked to end, so it gets less time for that.
_PRINTING_GRACE_S = 1.0
_TAKEN_AWAY = "its file was taken out of running/ while it ran"


class Worker:
    """The loop of one worker process."""

    def __init__(self, conn: Connection, spool: SpoolDir, settings: Settings, *, worker: str, cwd: str) -> None:
        self._spool = spool
        self._settings = settings
        self._clock = Clock()
        self._rng = random.Random()
        self._session = Session(spool, settings, self._clock, self._rng)
        self._stripes = Stripes(spool)
        self._claims = Claims(self._session, self._stripes, worker=worker)
        self._settlements = Settlements(self._session, self._stripes)
        self._unsettled = Unsettled(self._session, self._settlements)
        self._lease = Lease(spool, worker)
        self._output = OutputSlot(spool)
        self._executor = choose.make(settings.shell)
        self._channel = Channel(conn, self._executor)
        self._cwd = cwd
        self._env = dict(os.environ)
        self._env["QUEUECTL_SPOOL"] = spool.root
        self._minimal_env = {**environment.minimal_here(), "QUEUECTL_SPOOL": spool.root}
        self._names: deque[str] = deque()
        self._quiet: set[str] = set()
        self._few = 0
        """With no more names than this left, what was done is reported, so that more can come in time."""
        self._reports: list[Report] = []
        self._reported_s = self._clock.monotonic()
        self._unpaused_s = -_PAUSED_WITHIN_S
        """When PAUSED was last looked for and not there (monotonic)."""
        self._renewed_s = -_PAUSED_WITHIN_S
        """When the lease was last locked through a new handle, which looks for its file as well (monotonic)."""
        self._is_homeless = False
        """True where the pool's own folder could not be entered when that was last tried."""
        self._stopping = False
        self._killing = False
        self._abandoning = False
        """True where the spool is not the one that this worker began with: nothing is to be written there any more."""
        self._stop_asked_s = -math.inf
        """When somebody asked to stop, last (monotonic)."""
        self._cancel: Cancel | None = None
        """The last request to end a run."""

    def run(self) -> None:
        """Work until told to stop, or until the supervisor is gone."""
        self._flush(force=True)
        while not self._stopping:
            if not self._names:
                self._listen(block=True)
            elif self._channel.has_message:
                self._listen(block=False)
            if self._names and not self._stopping:
                self._work(self._names.popleft())
                self._flush(force=len(self._names) <= self._few)
            if self._unsettled:
                self._settle_again()
        self._settle_last()
        self._flush(force=True)
        self._output.close()
        self._lease.close()

    def stop(self) -> None:
        """Claim nothing more; end after the job that runs."""
        self._stopping = True
        self.note_stop()

    def note_stop(self) -> None:
        """Somebody has asked this pool, or all that runs on this machine, to stop."""
        self._stop_asked_s = self._clock.monotonic()

    # ---------------------------------------------------------------------------------------------------- talk

    def _listen(self, *, block: bool) -> None:
        """Hear what the supervisor says; with `block` wait until it says something."""
        if not self._channel.is_connected:
            self._stopping = True
            return
        try:
            while self._channel.wait(self._unsettled.wait_s() if block and not self._stopping else 0):
                block = False
                self._obey(self._channel.receive())
        except (EOFError, OSError):
            self._channel.disconnect()
            self.stop()

    def _obey(self, order: Order) -> None:
        match order:
            case Feed(names):
                self._names.extend(names)
                self._few = len(self._names) // 2
            case SplitFile(name):
                self._quiet.add(name)
                self._names.append(name)
            case Cancel():
                self._cancel = order
            case Stop():
                self.stop()
            case Kill():
                self._killing = True
                self.stop()
            case Abandon():
                self._abandoning = self._killing = True
                self.stop()
            case _:
                assert_never(order)

    def _flush(self, *, force: bool) -> None:
        """Report what was done; unless forced, only if the last report was a while ago."""
        now_s = self._clock.monotonic()
        if not self._channel.is_connected or not (force or now_s - self._reported_s > _REPORT_WITHIN_S):
            return
        self._reported_s = now_s
        self._few = len(self._names) // 2
        reports, self._reports = self._reports, []
        try:
            self._channel.send(reports)
        except OSError:
            self._stopping = True
            self._channel.disconnect()

    # ---------------------------------------------------------------------------------------------------- work

    def _work(self, name: str) -> None:
        try:
            if self._is_paused():
                self._hand_back(name, Paused())
                return
        except OSError as error:
            self._give_up(name, error)
            return
        if self._is_homeless and (trouble := self._look_for_home()) is not None:
            self._hand_back(name, Returned())
            self._reports.append(Trouble(_told(trouble)))
            return
        try:
            # Before the claim: a job would have each try on its record.
            self._lease.hold()
            output_fd = self._output.open(self._lease.name)
        except OSError as error:
            self._give_up(name, error)
            return
        try:
            if name in self._quiet:
                self._quiet.discard(name)
                claimed: Claimed | Declined = self._claims.splits.split(name)
            elif name.startswith(batch.IN_TAKEN):
                claimed = self._claims.splits.go_on(name)
            else:
                claimed = self._claims.claim(name, self._lease.name)
        except OSError as error:
            stuck = self._claims.stuck(name, error)
            if stuck is None:
                self._give_up(name, error)
            else:
                self._reports.append(Passed(name, stuck))
                if not self._lease.change():  # what may be on record under this one is to count as dead
                    self._output.leave()
            return
        except (QueuectlError, ValueError, RecursionError) as error:
            # A file that we misjudge must not end one worker after the other (P6): it is left alone, and told of.
            self._reports.append(Passed(name, Foreign(None, f"{type(error).__name__}: {error}")))
            return
        if not isinstance(claimed, Claimed):
            if isinstance(claimed, Dead):
                error_text.write(self._session, claimed.name)
            self._reports.append(Passed(name, claimed))
            return
        try:
            outcome = self._run(name, claimed, output_fd)
        except OSError as error:
            outcome = Outcome(RELEASED, reason=f"could not start: {error.strerror or error}")
            self._settle(name, claimed, outcome)
            self._give_up("", error)
        else:
            self._settle(name, claimed, outcome)

    def _is_paused(self) -> bool:
        """True where nothing is to be started now. Raises OSError where the lease proves nothing any more."""
        now_s = self._clock.monotonic()
        if now_s - self._unpaused_s < _PAUSED_WITHIN_S:
            return False
        paused = pause.is_paused(self._spool)
        if not paused:
            self._unpaused_s = now_s
            if now_s - self._renewed_s >= _PAUSED_WITHIN_S:
                self._lease.check()
        return paused

    def _give_up(self, name: str, error: OSError) -> None:
        """Hand everything back: this machine cannot work just now."""
        self._lease.leave()
        self._output.leave()
        self._hand_back(name, Returned())
        self._reports.append(Trouble(_told(error)))

    def _hand_back(self, name: str, why: Paused | Returned) -> None:
        """Give back a name and all that lie ready, the last one first: each is put before what is there already."""
        for other in reversed([name, *self._names]):
            if other:
                self._reports.append(Passed(other, why))
        self._names.clear()

    def _run(self, name: str, claimed: Claimed, output_fd: int) -> Outcome:
        """Run the command of a claimed job to its end. Raises OSError where the machine cannot start it."""
        item = claimed.record
        env = self._minimal_env if item.minimal_env else self._env
        env = {**env, **item.env} if item.env else env
        env["QUEUECTL_JOB_ID"] = item.id
        env["QUEUECTL_ATTEMPT"] = str(claimed.attempt)
        cwd = os.path.join(self._cwd, item.cwd) if item.cwd else self._cwd
        started_s = self._clock.monotonic()
        self._reports.append(Started(name, item.id, claimed.attempt, _preview(item.command)))
        try:
            process = self._executor.start(Spec(item.command, cwd, env, output_fd, self._lease.fd, self._lease.path))
        except CannotStartError as error:
            if isinstance(error, CannotEnterError) and self._names_no_folder(item.cwd):
                self._is_homeless = True
                raise self._no_home() from error
            duration_s = self._clock.monotonic() - started_s
            return Outcome(FAILED, error.exit_code, error.reason, duration_s, error.is_final)
        if claimed.copy:
            with contextlib.suppress(OSError):  # tried again, and told of, when it settles
                self._settlements.secure(claimed)
        return self._attend(process, claimed, started_s)

    def _names_no_folder(self, cwd: str) -> bool:
        """True where a folder that cannot be entered is the pool's own: the job names none, or one below it."""
        return not cwd or (not os.path.isabs(cwd) and not rights.may_enter(self._cwd))

    def _look_for_home(self) -> OSError | None:
        """Look whether the pool's folder is back, before a job is claimed: each try would be on its record."""
        self._is_homeless = not rights.may_enter(self._cwd)
        return self._no_home() if self._is_homeless else None

    def _no_home(self) -> OSError:
        text = "cannot enter the folder that this pool works in; make it again, or start the pool in another one"
        return OSError(errno.ENOENT, text, self._cwd)

    def _attend(self, process: Process, claimed: Claimed, started_s: float) -> Outcome:
        """Wait for the running command. Most are over before there is anything to see to."""
        over: Ended | Outcome | None = self._channel.wait_for(process, _REPORT_AFTER_S)
        if over is None:
            over = self._look_after(process, claimed, started_s)
        if isinstance(over, Outcome):
            return over
        duration_s = self._clock.monotonic() - started_s
        if over.is_shutdown and self._is_asked_to_stop():
            reason = f"{over.reason or 'its command was ended'} as the pool was asked to stop"
            return Outcome(RELEASED, over.exit_code, reason, duration_s, killed=over.killed, left=over.left)
        return _outcome(over, duration_s)

    def _look_after(self, process: Process, claimed: Claimed, started_s: float) -> Ended | Outcome:
        """See to a command that lasts: its limits, its file and what the supervisor says meanwhile.

        Returns its end, or the outcome where the run was ended.
        """
        clock = self._clock
        timeout_s = self._settings.timeout if claimed.record.timeout is None else claimed.record.timeout
        output_max = self._settings.output_max if claimed.record.output_max is None else claimed.record.output_max
        printed = OutputLimit(self._output, output_max, now_s=started_s)
        next_look_s = started_s + _LOOK_EVERY_S
        missing = False
        ended: Ended | None = None
        while ended is None:
            self._flush(force=True)
            self._listen(block=False)
            if self._cancel is not None and self._cancel[:2] == (claimed.job_id, claimed.attempt):
                return self._end(process, CANCELLED, self._cancel.reason, started_s)
            if self._killing:
                if self._abandoning:
                    return self._end(process, CANCELLED, "the spool was taken away", started_s)
                return self._end(process, RELEASED, "the worker was stopped", started_s)
            left_s = None if timeout_s is None else started_s + timeout_s - clock.monotonic()
            if left_s is not None and left_s <= 0:
                return self._end(process, TIMED_OUT, f"timed out after {timeout_s:g} s", started_s)
            if output_max is not None and printed.is_passed(clock.monotonic()):
                reason = f"printed more than output_max, {sizes.to_text(output_max)}, and was ended"
                ended_by_us = self._end(process, FAILED, reason, started_s, grace_s=_PRINTING_GRACE_S)
                return ended_by_us._replace(exit_code=None)
            look_in_s = next_look_s - clock.monotonic()
            if look_in_s <= 0:
                was_missing, missing = missing, self._spool.lacks(lifecycle.RUNNING, claimed.name)
                if missing and was_missing:
                    return self._end(process, CANCELLED, _TAKEN_AWAY, started_s)
                look_in_s = _LOOK_AGAIN_S if missing else _LOOK_EVERY_S
                next_look_s = clock.monotonic() + look_in_s
            look_in_s = min(look_in_s, max(0.0, printed.next_look_s - clock.monotonic()))
            ended = self._channel.wait_for(process, look_in_s if left_s is None else min(left_s, look_in_s))
        return ended

    def _end(self, process: Process, kind: str, reason: str, started_s: float, *, grace_s: float = math.inf) -> Outcome:
        """End the command and everything it started; it gets `grace_s` for that, and no more than the setting says."""
        ended = process.terminate(min(self._settings.kill_grace_s, grace_s))
        duration_s = self._clock.monotonic() - started_s
        return Outcome(kind, ended.exit_code, reason, duration_s, killed=ended.killed, left=ended.left)

    def _is_asked_to_stop(self) -> bool:
        """True where a request to stop came within the last second, or comes within the next.

        A system that stops signals everything at once: this worker, its supervisor and the command, which may be the
        first that is hit (P9).
        """
        ended_s = self._clock.monotonic()
        while self._stop_asked_s < ended_s - _STOP_WITHIN_S:
            left_s = ended_s + _STOP_WITHIN_S - self._clock.monotonic()
            if left_s <= 0:
                return False
            self._channel.wait(left_s)
            self._listen(block=False)
        return True

    def _settle(self, name: str, claimed: Claimed, outcome: Outcome) -> None:
        """Record the outcome and move the job; never drop an outcome because the disk cannot take it now (P9)."""
        tries = 0
        while not self._abandoning:
            try:
                if not self._output.is_empty:
                    self._output.keep(claimed.job_id, claimed.attempt)
                settled = self._settlements.settle(claimed, outcome)
                break
            except OSError as error:
                if self._spool.is_taken_away(error, lifecycle.RUNNING, claimed.name):
                    settled = None
                    break
                fault = self._claims.blame.fault(error, self._spool.path(lifecycle.RUNNING, claimed.name))
                if fault is not None and tries >= _KEEP_AFTER_TRIES and not self._unsettled.is_full:
                    self._keep(EndedRun(name, claimed, outcome), fault)
                    return
                if tries == 0 and fault is None:
                    self._reports.append(Trouble(f"cannot record how {claimed.job_id} ended: {error.strerror}"))
                    self._flush(force=True)
                if self._killing:
                    return  # the lease goes with us, so the run counts as abandoned and is tried again
                wait_s = _RETRY_SETTLE_S[min(tries, len(_RETRY_SETTLE_S) - 1)]
                tries += 1
                if self._channel.wait(wait_s):
                    self._listen(block=False)
        else:
            settled = None
        self._report_end(name, claimed, outcome, settled)
        # A job that may run again names this lease. Held for this worker's next jobs, it would make that job look
        # alive for as long as we live (P5). Only a plain success, the usual case, keeps it: see `lease.outlives`.
        while self._spool.restored:
            self._reports.append(Restored(self._spool.restored.pop()))
        is_plain = outcome.kind == SUCCEEDED and settled is not None and not outcome.left
        if not (self._lease.renew() if is_plain else self._lease.change()):
            self._output.leave()
        self._renewed_s = self._clock.monotonic()

    def _report_end(self, name: str, claimed: Claimed, outcome: Outcome, settled: Settled | None) -> None:
        """Report how a run ended and where that led; `settled` is None where its file was taken away."""
        if settled is None:
            self._reports.append(Vanished(claimed.job_id, outcome))
            return
        if settled.to == lifecycle.DLQ:
            error_text.write(self._session, settled.name)
        runs_left = max(0, claimed.record.max_retries - claimed.failures - (outcome.kind in lifecycle.COUNTED))
        begun = self._reports.pop() if self._reports and isinstance(self._reports[-1], Started) else None
        command = begun.command if isinstance(begun, Started) else ""
        self._reports.append(Finished(name, claimed.job_id, claimed.attempt, outcome, settled, runs_left, command))

    def _keep(self, run: EndedRun, fault: Fault) -> None:
        """Keep an outcome that the job's file does not take, and go on under another lease."""
        self._output.leave()
        self._unsettled.keep(run, self._lease.part())
        text = f"cannot record how {run.claimed.job_id} ended: {fault.text}"
        self._reports.append(Passed(run.name, Unrecorded(fault.path, text, fault.cure)))

    def _settle_again(self, *, at_once: bool = False) -> None:
        """Try the outcomes again that files did not take."""
        if self._abandoning:
            return
        for run, settled in self._unsettled.step(at_once=at_once):
            self._report_end(*run, settled)
            if settled is None:
                self._reports.append(Passed(run.name, Gone()))
            self._flush(force=True)

    def _settle_last(self) -> None:
        """Before the end: go on trying, until the supervisor wants an end at once or is gone."""
        self._settle_again(at_once=True)
        while (wait_s := self._unsettled.wait_s()) is not None and not (
            self._killing or not self._channel.is_connected
        ):
            if self._channel.wait(wait_s):
                self._listen(block=False)
            self._settle_again()
        self._unsettled.close()


def _told(error: OSError) -> str:
    """An error of the system in a line."""
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"


def _outcome(ended: Ended, duration_s: float) -> Outcome:
    kind = SUCCEEDED if ended.exit_code == 0 else FAILED
    return Outcome(kind, ended.exit_code, ended.reason, duration_s, killed=ended.killed, left=ended.left)


def _preview(command: str | list[str]) -> str:
    """The command for a line on a screen."""
    text = command_text(command)
    return text if len(text) <= 200 else text[:199] + "…"
