"""Chooses how commands are run: the module of this system."""

from __future__ import annotations

import sys

from queuectl.worker.executors.base import Executor


def make(shell: str) -> Executor:
    """Return the executor of this system. `shell` is the setting."""
    if sys.platform == "win32":  # written like this, a type checker follows the branch of its own system only
        from queuectl.worker.executors.windows import WindowsExecutor

        return WindowsExecutor(shell)
    else:  # noqa: RET505 - and only so
        from queuectl.worker.executors.posix import PosixExecutor

        return PosixExecutor(shell)


def load() -> None:
    """Load the executor of this system ahead of time; otherwise `make` loads it."""
    if sys.platform == "win32":
        import queuectl.worker.executors.windows
    else:
        import queuectl.worker.executors.posix  # noqa: F401
