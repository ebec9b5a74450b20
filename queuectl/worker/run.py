"""One running command: its start, the reasons to end it, and its outcome."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

import msgspec

from queuectl.jobs import budget
from queuectl.jobs.verdict import Claimed
from queuectl.model import lifecycle, sizes
from queuectl.model.extras import PLAIN
from queuectl.model.lifecycle import CANCELLED, FAILED, RELEASED, SNOOZED, SUCCEEDED, TIMED_OUT, Outcome
from queuectl.model.record import Record
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import environment, rights
from queuectl.worker import stdin
from queuectl.worker.executors.base import CannotEnterError, CannotStartError, Ended, Executor, Process, Spec
from queuectl.worker.output import OutputLimit
from queuectl.worker.slot import Slot

if TYPE_CHECKING:
    from queuectl.worker.parent_results import ParentResults

# How often a long run checks that its file still exists, and how soon it checks again if the file is missing, because
# an editor may save by removing the old file first. Together they define "within about a second".
_LOOK_EVERY_S = 0.75
_LOOK_AGAIN_S = 0.25
# A run that prints too much may continue to print while it ends, so it gets less time for that.
_PRINTING_GRACE_S = 1.0
_TAKEN_AWAY = "its file was moved out of running/ while it ran"


class Starter:
    """Starts the commands of claimed jobs in the right folder and with the right variables."""

    def __init__(self, executor: Executor, spool: SpoolDir, cwd: str) -> None:
        self._executor = executor
        self._spool = spool
        self._cwd = cwd
        self._env = {**os.environ, "QUEUECTL_SPOOL": spool.root}
        self._minimal_env = {**environment.minimal_here(), "QUEUECTL_SPOOL": spool.root}
        self._parent_results: ParentResults | None = None
        """Created for the first job with parents."""
        self.is_homeless = False
        """True if the pool's working folder could not be entered at the last try."""

    def start(self, claimed: Claimed, slot: Slot) -> Process:
        """Start the command of a claimed job.

        Raises:
            CannotStartError: the job is at fault.
            OSError: the machine is at fault, or the pool's working folder is missing.
        """
        item = claimed.record
        env = self._minimal_env if item.minimal_env else self._env
        if item.env:
            env = {**env, **item.env}
        marks = {"QUEUECTL_JOB_ID": item.id, "QUEUECTL_ATTEMPT": str(claimed.attempt), **slot.desk.variables}
        cwd = os.path.join(self._cwd, item.cwd) if item.cwd else self._cwd
        input_fd = -1
        try:
            if slot.desk.has_parents and not item.extras.after:
                slot.desk.take_parents()
            if item.extras is not PLAIN:
                if item.extras.after:
                    marks["QUEUECTL_PARENT_RESULTS"] = slot.desk.put_parents(self._told(item))
                input_fd = stdin.open_for(item, cwd, slot.desk)
            spec = Spec(item.command, cwd, env, slot.output_fd, slot.lease_fd, slot.lease_path, marks, input_fd)
            return self._executor.start(spec)
        except CannotEnterError as error:
            if not self._is_own_folder(item):
                raise
            self.is_homeless = True
            raise self._no_home() from error
        finally:
            if input_fd >= 0:
                os.close(input_fd)

    def _told(self, item: Record) -> bytes:
        """Return what the command of a job with parents may know of them."""
        if self._parent_results is None:
            from queuectl.worker.parent_results import ParentResults  # few jobs have parents

            self._parent_results = ParentResults(self._spool)
        return self._parent_results.document(item)

    def check_folder(self) -> None:
        """Check whether a missing working folder of the pool is back. Call this before a claim, which costs a retry.

        Raises:
            OSError: the folder is still missing.
        """
        if self.is_homeless:
            self.is_homeless = not rights.may_enter(self._cwd)
            if self.is_homeless:
                raise self._no_home()

    def _is_own_folder(self, item: Record) -> bool:
        """Return whether a folder that cannot be entered is the pool's own: the job has no cwd, or one below it."""
        return not item.cwd or (not os.path.isabs(item.cwd) and not rights.may_enter(self._cwd))

    def _no_home(self) -> OSError:
        text = "cannot enter the folder in which this pool runs; create it again, or start the pool in another folder"
        return OSError(errno.ENOENT, text, self._cwd)


class End(msgspec.Struct, frozen=True):
    """Why a run is ended early: the outcome's kind and reason, and how long the command may take to end."""

    kind: str
    reason: str
    grace_s: float = math.inf
    has_code: bool = True
    """False if the exit code says nothing about the job."""


class Run:
    """A claimed job whose command runs: its limits, its file, its end."""

    keeps_limits: ClassVar[bool] = True
    """False if somebody else ends a command that takes too long or prints too much."""

    def __init__(self, session: Session, slot: Slot, claimed: Claimed, process: Process, *, started_s: float) -> None:
        self.claimed = claimed
        self.process = process
        self._session = session
        self._slot = slot
        self._started_s = started_s
        self._limits: _Limits | None = None
        """Created at the first check, because most commands end before."""

    def check(self) -> End | None:
        """Return why the run must end: it took too long, printed too much, or lost its file; else None."""
        now_s = self._session.clock.monotonic()
        if self._limits is None:
            self._limits = _Limits(self._session, self._slot, self.claimed, self._started_s, is_kept=self.keeps_limits)
        limits = self._limits
        if now_s >= limits.until_s:
            return End(TIMED_OUT, f"timed out after {limits.timeout_s:g} s")
        if limits.output_max is not None and limits.printed.is_passed(now_s):
            reason = f"printed more than output_max, {sizes.to_text(limits.output_max)}, and was ended"
            return End(FAILED, reason, _PRINTING_GRACE_S, has_code=False)
        if limits.has_lost_file():
            return End(CANCELLED, _TAKEN_AWAY)
        return None

    def wait_s(self) -> float:
        """Return the number of seconds until `check` is due again."""
        assert self._limits is not None
        return max(0.0, self._limits.due_s() - self._session.clock.monotonic())

    def end(self, why: End) -> Generator[float, object, Outcome]:
        """End the command and everything that it started, step by step (see `Process.terminate`); return the outcome.

        The command gets at most the time of the setting `kill_grace_s`.
        """
        ended = yield from self.process.terminate(min(self._session.settings.kill_grace_s, why.grace_s))
        code = ended.exit_code if why.has_code else None
        return Outcome(why.kind, code, why.reason, self.duration_s(), killed=ended.killed, left=ended.left)

    def outcome(self, ended: Ended, duration_s: float, *, is_stop: bool = False) -> Outcome:
        """Return the outcome of a command that this worker did not end.

        With `is_stop`, a shutdown of the system has ended the command, so the job goes back.
        """
        kind, reason = SUCCEEDED if ended.exit_code == 0 else FAILED, ended.reason
        if kind == FAILED and budget.is_snooze(ended.exit_code, self.claimed.record, self._session.settings):
            kind = SNOOZED
        if is_stop:
            kind, reason = RELEASED, f"{reason or 'its command was ended'} because the pool was asked to stop"
        return Outcome(kind, ended.exit_code, reason, duration_s, killed=ended.killed, left=ended.left)

    def duration_s(self) -> float:
        """Return how long the command has run."""
        return self._session.clock.monotonic() - self._started_s


def not_started(error: CannotStartError, duration_s: float) -> Outcome:
    """Return the outcome of a job whose command cannot be started."""
    return Outcome(FAILED, error.exit_code, error.reason, duration_s, error.is_final)


class _Limits:
    """When a long command must be ended, and when to check again."""

    def __init__(self, session: Session, slot: Slot, claimed: Claimed, started_s: float, *, is_kept: bool) -> None:
        item, settings = claimed.record, session.settings
        self._spool = session.spool
        self._clock = session.clock
        self._name = claimed.name
        self.timeout_s = settings.timeout if item.timeout is None else item.timeout
        self.until_s = math.inf if self.timeout_s is None else started_s + self.timeout_s
        self.output_max = settings.output_max if item.output_max is None else item.output_max
        if not is_kept:
            self.timeout_s, self.until_s, self.output_max = None, math.inf, None
        self.printed = OutputLimit(slot.output, self.output_max, now_s=started_s, given=slot.desk.result_size)
        self._next_look_s = started_s + _LOOK_EVERY_S
        self._is_missing = False

    def has_lost_file(self) -> bool:
        """Return whether the job's file was missing at two looks in a row; look only if a look is due."""
        if self._clock.monotonic() < self._next_look_s:
            return False
        was_missing, self._is_missing = self._is_missing, self._spool.lacks(lifecycle.RUNNING, self._name)
        self._next_look_s = self._clock.monotonic() + (_LOOK_AGAIN_S if self._is_missing else _LOOK_EVERY_S)
        return self._is_missing and was_missing

    def due_s(self) -> float:
        """Return when to look again (monotonic)."""
        return min(self.until_s, self._next_look_s, self.printed.next_look_s)
