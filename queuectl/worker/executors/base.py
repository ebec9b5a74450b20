"""Running commands: the part that is the same on every system. The rest is in `posix` and `windows`.

A string goes to the shell, a list is started without one. Output goes straight to a file. Standard input is empty
or a file.
The command gets the worker's environment (or, with `minimal_env`, little of it), the job's `env`, and
QUEUECTL_JOB_ID, QUEUECTL_ATTEMPT, QUEUECTL_SPOOL.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from queuectl.model.exit_status import CANNOT_ENTER

# How a shell is started, by the value of the setting `shell`; the command follows as the last word.
SHELL_WORDS = {
    "sh": ("sh", "-c"),
    "bash": ("bash", "-c"),
    "zsh": ("zsh", "-c"),
    "cmd": ("cmd", "/d", "/s", "/c"),
    "powershell": ("powershell", "-NoProfile", "-NonInteractive", "-Command"),
    "pwsh": ("pwsh", "-NoProfile", "-NonInteractive", "-Command"),
}
# The shells' own codes for a command that cannot be started, used for lists too.
EXIT_NOT_FOUND = 127
EXIT_NOT_RUNNABLE = 126


class CannotStartError(Exception):
    """The command cannot be started, and that is the job's fault: an attempt that failed with `exit_code`.

    `is_final`: nothing outside the job could change that, so the job is not retried.
    """

    def __init__(self, exit_code: int, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.reason = reason
        self.is_final = is_final


class CannotEnterError(CannotStartError):
    """The folder of the command cannot be entered. If the job did not name that folder, the pool is at fault."""

    def __init__(self, folder: str, why: str = "") -> None:
        text = f"{CANNOT_ENTER} {folder} (the job's cwd)"
        super().__init__(EXIT_NOT_RUNNABLE, f"{text}: {why}" if why else text)


class Ended(NamedTuple):
    """How a command ended: its exit code (128 + n for signal n on POSIX), and a reason if the code needs one.

    `is_shutdown`: it ended as commands do when a system stops (SIGTERM, SIGHUP, SIGINT, a console that closes).
    `killed` are the pids of processes outside the command's group that were ended with it, `left` those of processes
    of the run that live on. If there are many, some of them.
    """

    exit_code: int
    reason: str
    is_shutdown: bool = False
    killed: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    is_last: bool = False
    """The system says that the worker has no child but commands, so nothing is left that could hold the lease."""


class Spec(msgspec.Struct, frozen=True):
    """A command to start, its folder, its variables and the handles that it gets.

    `marks` are variables of this run, on top of `env`, which many runs share.
    """

    command: str | Sequence[str]
    cwd: str
    env: dict[str, str]
    output_fd: int
    lease_fd: int
    lease_path: str = ""
    marks: dict[str, str] = {}
    input_fd: int = -1
    """The standard input; -1: none."""


class Process(Protocol):
    """A command that runs, with everything that it has started."""

    def terminate(self, grace_s: float) -> Generator[float, object, Ended]:
        """End the command and everything it started: ask, wait for `grace_s`, kill; return how it ended.

        Takes the steps one by one and never waits: yields in how many seconds the next is due at the latest. A step
        may come earlier, best when any command has ended. `Executor.ended` does not name this command any more.
        """

    def end_left(self) -> Generator[float, object, tuple[tuple[int, ...], tuple[int, ...]]]:
        """Kill what a command that `Executor.ended` has named left behind, by steps as `terminate`.

        Returns the pids of processes that were ended, and of those that live on (some of them).
        """


class Executor(Protocol):
    """Starts commands for a worker, any number. It knows nothing of the supervisor; the worker waits for both."""

    @property
    def sources(self) -> list[int]:
        """Return the descriptors (on Windows handles) to wait for. If one is ready, a command may have ended."""

    def wake(self) -> None:
        """Take note that one of `sources` is ready, so that it is not ready any more if nothing else happens."""

    def start(self, spec: Spec) -> Process:
        """Start a command.

        Raises:
            CannotStartError: not found, not executable, no such folder: the job's fault.
            OSError: the machine's trouble.
        """

    def use_shell(self, shell: str) -> None:
        """Start the next commands by another shell; `shell` is the setting."""

    def ended(self) -> Sequence[tuple[Process, Ended]]:
        """Return the commands that have ended since the last call, and how. Does not wait."""


def shell_words(shell: str) -> tuple[str, ...]:
    """Return the words that start a shell, with its full path if it can be found."""
    name = ("cmd" if os.name == "nt" else "sh") if shell == "auto" else shell
    first, *rest = SHELL_WORDS[name]
    return (shutil.which(first) or first, *rest)
