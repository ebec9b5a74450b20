"""The commands of one node: started, watched and ended by its keeper, with everything that they start.

A run has ended when nothing lives that has inherited the lock of its place. Only then it is reported (promise P3).
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Generator
from typing import NamedTuple

from queuectl.cluster import protocol
from queuectl.cluster.places import Place, Places
from queuectl.cluster.protocol import RunEnd, RunSpec
from queuectl.model.exit_status import CANNOT_ENTER
from queuectl.system import containment, environment
from queuectl.worker import stdin
from queuectl.worker.executors.base import (
    EXIT_NOT_RUNNABLE,
    CannotStartError,
    Ended,
    Executor,
    Process,
    Spec,
    shell_words,
)

_LOOK_AT_OUTPUT_S = 0.25
# A command that prints too much may go on printing while it ends.
_PRINTING_GRACE_S = 1.0
# After SIGKILL, how long processes outside the reach of the executor may take to be gone.
_GONE_WITHIN_S = 2.0
_LOOK_AGAIN_S = 0.02

_Steps = Generator[float, object, RunEnd]


class StartRefusedError(Exception):
    """The node cannot start a command now, and that is not the job's fault (promise P9)."""


class _Started(NamedTuple):
    """What a run has from its start."""

    process: Process
    place: Place
    at_s: float


class Command:
    """A run that lives, or is being ended."""

    def __init__(self, session: str, spec: RunSpec, started: _Started) -> None:
        self.session = session
        self.spec = spec
        self.process = started.process
        self.place = started.place
        self.at_s = started.at_s
        self.until_s = math.inf if spec.timeout_s is None else started.at_s + spec.timeout_s
        self.look_s = math.inf if spec.output_max is None else started.at_s
        self.kind, self.reason = protocol.EXIT, ""
        self.steps: _Steps | None = None
        """How the run ends, step by step; None while it runs."""
        self.due_s = math.inf
        self.kill_s = math.inf
        """When the command is killed, if it was asked to end."""
        self.is_proven = True
        """False if something of the run lives on, because the system did not let this process end it."""


class Commands:
    """All commands of the node, by the name of their run."""

    def __init__(self, executor: Executor, places: Places, *, node: str, member: str, contained: str) -> None:
        self.live: dict[str, Command] = {}
        self._executor = executor
        self._places = places
        self._member = member
        self._by_process: dict[Process, Command] = {}
        self._node = node
        self._env = {name: text for name, text in os.environ.items() if not name.startswith(("DASK_", "QUEUECTL_"))}
        self._minimal_env = environment.minimal_here()
        self._shell = list(shell_words("auto"))
        self._prefix = containment.prefix(containment.SIGNAL) if contained == containment.SIGNAL else []

    def start(self, session: str, spec: RunSpec) -> RunEnd | None:
        """Start a run; return its end if it cannot be started and that is the job's fault.

        Raises:
            StartRefusedError: the machine cannot do it now.
        """
        _, job_id, attempt = protocol.run_parts(spec.run)
        env = self._minimal_env if spec.minimal_env else self._env
        if spec.env:
            env = {**env, **spec.env}
        marks = {
            "QUEUECTL_JOB_ID": job_id,
            "QUEUECTL_ATTEMPT": str(attempt),
            "QUEUECTL_NODE": self._node,
            "QUEUECTL_RUN": spec.run,
        }
        place, input_fd = None, -1
        try:
            place = self._places.take()
            cwd = spec.cwd or self._places.enter(place)
            if not os.path.isabs(cwd):
                reason = f"{CANNOT_ENTER} {cwd} (the job's cwd): on a node it must begin with /"
                raise CannotStartError(EXIT_NOT_RUNNABLE, reason, is_final=True)
            if spec.parents:
                marks["QUEUECTL_PARENT_RESULTS"] = self._places.put_parents(place, spec.parents)
            if spec.stdin is not None:
                input_fd = self._places.open_text(place, spec.stdin.encode("utf-8", "replace"))
            elif spec.stdin_file:
                input_fd = stdin.open_file(spec.stdin_file, cwd)
            at_s = time.monotonic()
            command = self._contained(spec.command, cwd, env)
            process = self._executor.start(Spec(command, cwd, env, place.fd, place.fd, place.path, marks, input_fd))
        except (CannotStartError, OSError) as error:
            if place is not None:
                self._places.leave(place)
                self._places.give_up(place)
            if isinstance(error, CannotStartError):
                return RunEnd(
                    spec.run, protocol.EXIT, error.exit_code, error.reason, 0.0, 0, error.is_final, member=self._member
                )
            raise StartRefusedError(str(error)) from error
        finally:
            if input_fd >= 0:
                os.close(input_fd)
        command_of_run = Command(session, spec, _Started(process, place, at_s))
        self.live[spec.run] = self._by_process[process] = command_of_run
        return None

    def end(self, command: Command, kind: str, reason: str, grace_s: float) -> None:
        """Begin to end a run, or shorten the time that it has for that."""
        now_s = time.monotonic()
        if command.steps is not None and now_s + grace_s >= command.kill_s - _LOOK_AGAIN_S:
            return
        if command.steps is None:
            command.kind, command.reason = kind, reason
            self._by_process.pop(command.process, None)
        elif command.kill_s <= now_s:  # it is being killed already
            return
        else:
            command.steps.close()
        command.kill_s = now_s + grace_s
        command.steps = self._steps(command, None, grace_s)
        command.due_s = now_s

    def step(self) -> list[tuple[Command, RunEnd]]:
        """Do what is due: ends of commands, time limits, steps of runs that end. Return runs that are over."""
        now_s = time.monotonic()
        has_ended = False
        for process, how in self._executor.ended():
            has_ended = True
            command = self._by_process.pop(process)
            command.steps, command.due_s, command.kill_s = self._steps(command, how, 0.0), now_s, now_s
        found = []
        for command in list(self.live.values()):
            if command.steps is None:
                self._check(command, now_s)
            if command.steps is None or (command.due_s > now_s and not has_ended):
                continue
            try:
                command.due_s = now_s + next(command.steps)
            except StopIteration as stop:
                del self.live[command.spec.run]
                found.append((command, stop.value))
        return found

    def due_s(self) -> float:
        """Return when `step` is due if no command ends before (monotonic)."""
        return min((min(each.due_s, each.until_s, each.look_s) for each in self.live.values()), default=math.inf)

    def _check(self, command: Command, now_s: float) -> None:
        spec = command.spec
        if now_s >= command.until_s:
            command.until_s = command.look_s = math.inf
            self.end(command, protocol.TIMEOUT, f"timed out after {spec.timeout_s:g} s", spec.grace_s)
        elif spec.output_max is not None and now_s >= command.look_s:
            command.look_s = now_s + _LOOK_AT_OUTPUT_S
            if command.place.size > spec.output_max:
                command.until_s = command.look_s = math.inf
                grace_s = min(spec.grace_s, _PRINTING_GRACE_S)
                self.end(command, protocol.OUTPUT, "printed more than its output_max, and was ended", grace_s)

    def _steps(self, command: Command, how: Ended | None, grace_s: float) -> _Steps:
        """End what lives of a run, step by step; return its outcome."""
        command.until_s = command.look_s = math.inf
        if how is None:
            how = yield from command.process.terminate(grace_s)
            killed, left = how.killed, how.left
        elif how.left:
            killed, left = yield from command.process.end_left()
        else:
            killed, left = (), ()
        place = command.place
        deadline = time.monotonic() + _GONE_WITHIN_S
        others: set[int] = set()
        while holders := self._places.prove(place):
            if time.monotonic() > deadline:
                left = (*left, *(pid for pid in holders if pid)) or (0,)
                break
            others.update(pid for pid in holders if pid)
            yield _LOOK_AGAIN_S
        duration_s = time.monotonic() - command.at_s
        command.is_proven = not left
        self._places.leave(place)
        return RunEnd(
            command.spec.run,
            command.kind,
            None if command.kind == protocol.OUTPUT else how.exit_code,
            command.reason or how.reason,
            duration_s,
            place.size,
            is_shutdown=how.is_shutdown and command.kind == protocol.EXIT,
            killed=sorted({*killed, *others} - {*left})[:20],
            left=[pid for pid in left if pid][:20],
            member=self._member,
        )

    def _contained(self, command: str | list[str], cwd: str, env: dict[str, str]) -> str | list[str]:
        """Return the command line by which a command dies with its keeper. One that cannot start stays as it is."""
        if not self._prefix:
            return command
        words = [*self._shell, command] if isinstance(command, str) else command
        program = os.path.join(cwd, words[0]) if "/" in words[0] else words[0]
        if not shutil.which(program, path=env.get("PATH")) or not os.path.isdir(cwd):
            return command
        return [*self._prefix, *words]

    def use_shell(self, shell: str) -> None:
        """Start texts by this shell."""
        self._shell = list(shell_words(shell))
        self._executor.use_shell(shell)
