"""Hooks: programs that a pool starts when a job is dead, is done or waits too long, or a queue is empty or halted.

Hooks come only from `[hooks]` in queuectl.toml (a user who may write to it may run commands anyway, promise P10), and
run without a shell. No worker and no round of the supervisor's loop waits for a hook. Two run at once, up to a
hundred wait, and a hook that takes too long is killed. A failing hook is reported and changes nothing else (P9). Hooks
are not guaranteed: the next pool does not start the waiting hooks of a killed pool.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl.model.lifecycle import DONE
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.spool.session import Session

if TYPE_CHECKING:
    import subprocess

DEAD, IDLE, STALE, HALT = "dead", "idle", "stale", "halt"

_AT_ONCE = 2
_WAITING_AT_MOST = 100
_LONGEST_S = 30.0
# An ending pool polls its running hooks this often.
_POLL_S = 0.02
# How long it waits for a killed hook; a hook that hangs in the kernel is left behind.
_KILLED_S = 2.0


class _Call(NamedTuple):
    event: str
    record_path: str


class _Running:
    """A hook that runs."""

    def __init__(self, call: _Call, process: subprocess.Popen[bytes], until_s: float) -> None:
        self.call = call
        self.process = process
        self.until_s = until_s
        self.killed = False


class Hooks:
    """The hooks of one pool.

    `notify` is called with messages for people: about a failing hook (once, until it works again), and about hooks that
    are skipped because too many wait (once, until none waits).
    """

    def __init__(self, session: Session, *, cwd: str, notify: Notify) -> None:
        settings = session.settings
        self._spool = session.spool
        self._commands = {
            DEAD: settings.on_dead,
            DONE: settings.on_done,
            IDLE: settings.on_idle,
            STALE: settings.on_stale,
            HALT: settings.on_halt,
        }
        self.events = frozenset(event for event, command in self._commands.items() if command)
        """The events that have a hook."""
        self._cwd = cwd
        self._clock = session.clock
        self._notify = notify
        self._waiting: deque[_Call] = deque()
        self._running: list[_Running] = []
        self._failing: set[str] = set()
        self._is_skipping = False

    def fire(self, event: str, record_path: str = "") -> None:
        """Start the hook of an event soon, if there is one; `record_path` is the file that it is about."""
        if event not in self.events:
            return
        if len(self._waiting) < _WAITING_AT_MOST:
            self._waiting.append(_Call(event, record_path))
        elif not self._is_skipping:
            self._is_skipping = True
            self._warn(f"{_WAITING_AT_MOST} hooks are already waiting; further hooks are skipped until some have ended")
        self.step()

    def step(self) -> None:
        """Find hooks that have ended, kill those that take too long, and start the next. Never wait."""
        for item in self._running.copy():
            code = item.process.poll()
            if code is not None:
                self._running.remove(item)
                self._ended(item, code)
            elif not item.killed and self._clock.monotonic() >= item.until_s:
                self._kill(item)
        while self._waiting and len(self._running) < _AT_ONCE:
            self._start(self._waiting.popleft())
        if not self._waiting:
            self._is_skipping = False

    def finish(self, within_s: float, *, hurry: Callable[[], bool]) -> None:
        """Wait until all hooks have run, but at most for `within_s` and until `hurry()`; then end the rest."""
        until_s = self._clock.monotonic() + within_s
        self.step()
        while self._running and self._clock.monotonic() < until_s and not hurry():
            _wait(self._running[0].process, _POLL_S)
            self.step()
        self.close()

    def close(self) -> None:
        """Kill the running hooks and start no more."""
        self._waiting.clear()
        for item in self._running:
            self._kill(item)
            _wait(item.process, _KILLED_S)
        self._running.clear()

    def _start(self, call: _Call) -> None:
        import subprocess  # most pools have no hooks

        command = [*self._commands[call.event], *([call.record_path] if call.record_path else [])]
        env = os.environ | {
            "QUEUECTL_EVENT": call.event,
            "QUEUECTL_RECORD": call.record_path,
            "QUEUECTL_SPOOL": self._spool.root,
        }
        try:
            process = subprocess.Popen(
                command,
                cwd=self._cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **_own_group(),
            )
        except (OSError, ValueError) as error:  # ValueError: a command that no system can start
            why = error.strerror if isinstance(error, OSError) else error
            self._failed(call, f"cannot be started: {why}")
            return
        self._running.append(_Running(call, process, self._clock.monotonic() + _LONGEST_S))

    def _ended(self, item: _Running, code: int) -> None:
        if item.killed:
            self._failed(item.call, f"took longer than {_LONGEST_S:g} s and was killed")
        elif code:
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            self._failed(item.call, f"ended {how}")
        else:
            self._failing.discard(item.call.event)

    def _failed(self, call: _Call, how: str) -> None:
        if call.event not in self._failing:
            self._failing.add(call.event)
            about = f" for {os.path.basename(call.record_path)}" if call.record_path else ""
            self._warn(f"the hook on_{call.event}{about} {how}; reported once, until it works again")

    def _warn(self, text: str) -> None:
        self._notify(Notice(WARNING, "hook", text))

    @staticmethod
    def _kill(item: _Running) -> None:
        """Kill a hook; on POSIX with everything in its process group."""
        item.killed = True
        if sys.platform == "win32":
            item.process.kill()
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(item.process.pid, signal.SIGKILL)


def _wait(process: subprocess.Popen[bytes], within_s: float) -> None:
    """Wait for the end of a hook, at most for `within_s`."""
    import subprocess

    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(within_s)


def _own_group() -> dict[str, Any]:
    """Return arguments that shield a hook from Ctrl-C in the pool's terminal, open no window and allow a group kill."""
    if sys.platform == "win32":
        import subprocess

        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
