"""Programs that a pool starts when a job has died, is done or waits too long, or when nothing is left to do.

Only from `[hooks]` in queuectl.toml, which nobody may write to who may not run commands anyway (promise P10), and
without a shell. A hook is told and never asked: no worker and no round of the supervisor's loop waits for one, two run
at once, a hundred wait, and one that takes too long is killed. What goes wrong with them is told and changes nothing
(P9). None is owed: what a killed pool had not started is not started by the next.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from queuectl.model.lifecycle import DONE
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.spool.session import Session

DEAD, IDLE, STALE = "dead", "idle", "stale"

_AT_ONCE = 2
_WAITING_AT_MOST = 100
_LONGEST_S = 30.0
# How often an ending pool looks at the hooks that it waits for.
_LOOK_S = 0.02
# How long it waits for one that was killed: a program that hangs in the system is left to it.
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

    `notify` is called for what a person should know: a hook that fails (once, until it works again), hooks that
    were passed over because too many waited (once, until none waits).
    """

    def __init__(self, session: Session, *, cwd: str, notify: Notify) -> None:
        settings = session.settings
        self._spool = session.spool
        self._commands = {
            DEAD: settings.on_dead,
            DONE: settings.on_done,
            IDLE: settings.on_idle,
            STALE: settings.on_stale,
        }
        self._cwd = cwd
        self._clock = session.clock
        self._notify = notify
        self._waiting: deque[_Call] = deque()
        self._running: list[_Running] = []
        self._failing: set[str] = set()
        self._passing_over = False

    def fire(self, event: str, record_path: str = "") -> None:
        """Have the hook of an event started soon, where there is one; `record_path` is the job's file."""
        if not self._commands[event]:
            return
        if len(self._waiting) < _WAITING_AT_MOST:
            self._waiting.append(_Call(event, record_path))
        elif not self._passing_over:
            self._passing_over = True
            self._warn(f"{_WAITING_AT_MOST} hooks wait already: until some have ended, others are not started")
        self.step()

    def step(self) -> None:
        """See to those that have ended or take too long, and start the next. Waits for nothing."""
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
            self._passing_over = False

    def finish(self, within_s: float, *, hurry: Callable[[], bool]) -> None:
        """Wait until all have run, for `within_s` at most and until `hurry()`, then end them: the pool ends."""
        until_s = self._clock.monotonic() + within_s
        self.step()
        while self._running and self._clock.monotonic() < until_s and not hurry():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running[0].process.wait(_LOOK_S)
            self.step()
        self.close()

    def close(self) -> None:
        """End what runs and start nothing more."""
        self._waiting.clear()
        for item in self._running:
            self._kill(item)
            with contextlib.suppress(subprocess.TimeoutExpired):
                item.process.wait(_KILLED_S)
        self._running.clear()

    def _start(self, call: _Call) -> None:
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
        except (OSError, ValueError) as error:  # ValueError: what no system can start
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
            self._warn(f"the hook on_{call.event}{about} {how}; told once, until it works again")

    def _warn(self, text: str) -> None:
        self._notify(Notice(WARNING, "hook", text))

    @staticmethod
    def _kill(item: _Running) -> None:
        """End a hook; on POSIX with everything in its group."""
        item.killed = True
        if sys.platform == "win32":
            item.process.kill()
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(item.process.pid, signal.SIGKILL)


def _own_group() -> dict[str, Any]:
    """Ctrl-C in the pool's terminal does not reach it, no window opens, and it can be ended with what it started."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
