"""Ways to have all commands of a process die when that process dies: what this machine has. (Linux)

util-linux does the work: `unshare` makes the process the first of a PID namespace, which the kernel ends with it;
`setpriv` lets a command be killed when its parent dies.
"""

from __future__ import annotations

import os
import shutil
import sys
import time

SYSTEMD, NAMESPACE, USER_NAMESPACE, SIGNAL, GROUP = "systemd", "namespace", "user namespace", "signal", "group"
"""`systemd`: a unit with KillMode=control-group, whose main process this is; SIGTERM comes before SIGKILL there."""

_NAMESPACE = ("--pid", "--fork", "--kill-child", "--mount-proc")
_WORDS = {
    NAMESPACE: ("unshare", *_NAMESPACE),
    USER_NAMESPACE: ("unshare", "--user", "--map-current-user", *_NAMESPACE),
    SIGNAL: ("setpriv", "--pdeathsig", "KILL", "--"),
}
# A tool that is there answers in some milliseconds.
_TRIED_WITHIN_S = 10.0


def best() -> str:
    """Return the strongest way that works here, by trying."""
    for way in (NAMESPACE if _is_root() else USER_NAMESPACE, SYSTEMD, SIGNAL):
        if works(way):
            return way
    return GROUP


def works(way: str) -> bool:
    """Return whether a way works on this machine."""
    if way == SYSTEMD:  # set for the main process of a unit only, but inherited by others
        return os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
    if way not in _WORDS:
        return True
    words = prefix(way)
    return bool(words) and _succeeds([*words, "true"])


def prefix(way: str) -> list[str]:
    """Return the words before the command line that is to be contained so; empty if the program is not installed."""
    first, *rest = _WORDS[way]
    found = shutil.which(first)
    return [found, *rest] if found else []


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _succeeds(words: list[str]) -> bool:
    """Run a program that prints nothing of interest; return whether it exits with 0."""
    if sys.platform == "win32":
        return False
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    try:
        pid = os.posix_spawn(words[0], words, os.environ, file_actions=null)
    except OSError:
        return False
    deadline = time.monotonic() + _TRIED_WITHIN_S
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status == 0
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return False
        time.sleep(0.002)
