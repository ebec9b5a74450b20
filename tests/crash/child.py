"""Do something in a forked child that is killed at a planned call, and wait for its end."""

from __future__ import annotations

import gc
import json
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from tests.crash.inject import Call, Plan


class Ran(NamedTuple):
    """What came of a child: was it killed as planned, and else the calls that it made."""

    killed: bool
    calls: list[Call]


def in_child(act: Callable[[Plan], object], told: Path, at: int = 0, how: str = "", *, within_s: float = 30.0) -> Ran:
    """Do it with a plan that kills the child at a call; `told` is a file for what the child has to say.

    Raises:
        AssertionError: the child ended in any other way than by its own kill or by success; its traceback is told.
    """
    pid = os.fork()
    if pid == 0:
        _child(act, Plan(at, how, end=lambda: os.kill(os.getpid(), signal.SIGKILL)), told, within_s)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Ran(True, [])
    text = told.read_text() if told.exists() else ""
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, f"{how} {at}: {status}\n{text}"
    return Ran(False, [Call(*row) for row in json.loads(text)])


def _child(act: Callable[[Plan], object], plan: Plan, told: Path, within_s: float) -> NoReturn:
    signal.alarm(int(within_s))
    gc.disable()  # it would write to every object of the tests, and each page that is written to is copied
    try:
        act(plan)
        told.write_text(json.dumps(plan.calls))
        os._exit(0)
    except BaseException:
        told.write_text(traceback.format_exc())
    finally:
        os._exit(1)
