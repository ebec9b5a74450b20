"""The processes of one run: finds them, and ends all of them (promise P3). For POSIX systems.

A command may start processes that leave its group, its session and their parent. On Linux the worker is their
subreaper: a process that loses its parent becomes the worker's child, so no process of a run is ever outside of the
worker's descendants. Elsewhere such processes are found by the lease, which they have inherited.

A daemon that an earlier job left on purpose is the worker's child as well, and must live. A child of the worker
belongs to this run if it descends from the command, holds the lease of this run, was started with the variables of
this run, or is in the command's session or group. If the worker had no child when it started the command, and has
started no other command since, every child belongs to this run. If nothing is certain, the process is left alone and
named.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Generator, Mapping
from typing import NamedTuple

from queuectl.system import processes
from queuectl.system.processes import Process
from queuectl.worker.executors.children import LOOK_EVERY_S, AtStart

assert sys.platform != "win32"  # tells mypy, too

# After SIGKILL, how long the processes may take to be gone; less than a supervisor waits for its workers.
_GONE_WITHIN_S = 2.0
# A run may have left thousands of processes; a record names at most so many.
NAMED_AT_MOST = 20
_MARKS = ("QUEUECTL_JOB_ID", "QUEUECTL_ATTEMPT", "QUEUECTL_SPOOL", "QUEUECTL_RUN")


class HeldFile(NamedTuple):
    """A file that a process has open: its path, its device and inode, and the number of the handle."""

    path: str
    file: tuple[int, int]
    fd: int


class Family:
    """The processes of one run.

    Args:
        command: the pid of the command, which is not reaped before all of this is over.
        lease: the lease that the run has inherited.
        env: the variables that the command was started with.
        at_start: what the worker knew when it started the command.
    """

    def __init__(
        self,
        command: int,
        *,
        lease: HeldFile,
        env: Mapping[str, str],
        at_start: AtStart,
    ) -> None:
        self._command = command
        self._lease = lease
        self._marks = [f"{name}={env[name]}".encode("utf-8", "surrogateescape") for name in _MARKS if name in env]
        self._at_start = at_start
        self._held: frozenset[int] = frozenset()
        """The processes that had the lease open when they were last listed."""
        self._judged: dict[tuple[int, int], bool] = {}
        self._terminated: set[tuple[int, int]] = set()
        self._refusing: set[tuple[int, int]] = set()
        self._outside: dict[tuple[int, int], int] = {}
        """Processes outside the command's group that were sent a signal."""

    @property
    def killed(self) -> tuple[int, ...]:
        """Return the pids of processes outside the command's group that were ended; if there are many, some of them."""
        return tuple(pid for key, pid in self._outside.items() if key not in self._refusing)[:NAMED_AT_MOST]

    def members(self) -> list[Process]:
        """Return the living processes of the run. Reap orphans that have ended, but never the command itself."""
        ours = self._at_start.ours
        if not ours.are_adopted:
            return self._members_by_lease()
        roots = []
        for child in processes.children(os.getpid()):
            if child.pid == self._command:
                roots.append(child)
            elif ours.is_command(child.pid):  # of another slot
                continue
            elif child.has_ended:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)
            elif self._is_ours(child):
                roots.append(child)
        return [each for each in processes.below(roots) if not each.has_ended]

    def _members_by_lease(self) -> list[Process]:
        """Return those that hold the lease twice in a row: a check opens it for an instant only."""
        holding = frozenset(processes.holders(self._lease.path, fd=self._lease.fd))
        found = [processes.find(pid) for pid in (self._command, *(holding & self._held))]
        self._held = holding
        everything = processes.below([each for each in found if each is not None])
        return [each for each in everything if not each.has_ended]

    def _is_ours(self, child: Process) -> bool:
        """Return whether a child of the worker belongs to this run and was not left by an earlier one."""
        if self._at_start.is_alone:
            return True
        if child.key not in self._judged:
            self._judged[child.key] = self._judge(child)
        return self._judged[child.key]

    def _judge(self, child: Process) -> bool:
        if child.key in (self._at_start.earlier or ()) or child.started < self._at_start.since:
            return False
        if self._command in (child.group, child.session) or processes.holds(
            child.pid, self._lease.path, self._lease.file
        ):
            return True
        variables = processes.environment(child.pid).split(b"\0")
        return bool(self._marks) and all(mark in variables for mark in self._marks)

    # ----------------------------------------------------------------------------------------------------- end

    def terminate(self) -> bool:
        """Send SIGTERM to those that were not sent it yet; return whether any lives.

        The caller has sent it to the command's group.
        """
        members = self.members()
        for each in members:
            if each.key not in self._terminated:
                self._terminated.add(each.key)
                if each.group != self._command:
                    self._send(each, signal.SIGTERM)
                    self._send(each, signal.SIGCONT)  # a stopped process handles TERM only when it goes on
        return bool(members)

    def kill(self) -> Generator[float, object, tuple[int, ...]]:
        """Kill all of them until they are gone; return the pids of those that do not go.

        Yields how long to wait at most (seconds) until the next step.
        """
        deadline = time.monotonic() + _GONE_WITHIN_S
        # Almost always this is all. A worker that is killed between a stop and a kill would leave them stopped.
        for each in (members := self.members()):
            self._send(each, signal.SIGKILL)
        if members:
            yield LOOK_EVERY_S
        while members := self._stopped(deadline):
            for each in members:
                self._send(each, signal.SIGKILL)
            if time.monotonic() > deadline or all(each.key in self._refusing for each in members):
                return tuple(each.pid for each in members)[:NAMED_AT_MOST]
            yield LOOK_EVERY_S
        return ()

    def _stopped(self, deadline: float) -> list[Process]:
        """Stop all of them, so that none starts another while the rest is killed; return those that live.

        If a listing finds none, list again: the list of children may skip one while another ends.

        If all children of the worker are of this run, kill them instead. A process that loses its parent becomes the
        worker's child and is found again, and the fewer live, the sooner the next listing comes, which has to be
        faster than a process that does nothing but start others.
        """
        number = signal.SIGKILL if self._is_alone_here() else signal.SIGSTOP
        stopped: set[tuple[int, int]] = set()
        found_none = False
        while True:
            members = self.members()
            fresh = [each for each in members if each.key not in stopped]
            if not fresh or time.monotonic() > deadline:
                if members or found_none:
                    return members
                found_none = True
            for each in fresh:
                stopped.add(each.key)
                self._send(each, number)

    def _is_alone_here(self) -> bool:
        return self._at_start.ours.are_adopted and self._at_start.is_alone

    def _send(self, process: Process, number: signal.Signals) -> None:
        if process.key in self._refusing:
            return
        try:
            sent = processes.send(process, number)
        except PermissionError:
            self._refusing.add(process.key)
        else:
            if sent and process.group != self._command:
                self._outside[process.key] = process.pid
