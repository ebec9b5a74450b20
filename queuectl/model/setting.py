"""One setting: its name, default, range and meaning; and the table of them all (`SETTINGS`).

The table is the source of the default queuectl.toml, of `queuectl config list`, of the error texts and of the test
that every setting is documented.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from queuectl.model import sizes, times

FOREVER = "forever"
UNLIMITED = "unlimited"
DURABILITIES = ("queue", "full", "off")
SHELLS = ("auto", "sh", "bash", "zsh", "cmd", "powershell", "pwsh")
FULL, COUNTS, OFF = "full", "counts", "off"
DASHBOARDS = (FULL, COUNTS, OFF)
NONE, READ = "none", "read"
GROUP_ACCESS = (NONE, READ)


class Setting(NamedTuple):
    """One setting: `check` turns a TOML value into the value used, or raises ValueError.

    A name with a dot is a key in a table of the file: `hooks.on_dead` is `on_dead` in `[hooks]`.
    """

    name: str
    default: Any
    allowed: str
    check: Callable[[Any], Any]
    meaning: str

    @property
    def field(self) -> str:
        """The name of the field in `Settings`."""
        return self.name.rpartition(".")[2]


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return check


def _number(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError
        return value

    return check


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _duration(low_s: float, high_s: float, *, forever: bool = False) -> Callable[[Any], float | None]:
    def check(value: Any) -> float | None:
        if forever and value == FOREVER:
            return None
        seconds = times.parse_duration(value)
        if not low_s <= seconds <= high_s:
            raise ValueError
        return seconds

    return check


def _size(value: Any) -> int | None:
    return None if value == UNLIMITED else sizes.parse(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return check


def _command(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise ValueError
    if value and not value[0].strip():
        raise ValueError
    return tuple(value)


_HOOK = 'a list: a program and its arguments, such as ["notify-send", "dead"]; [] for none'
_DAY_S = 86400.0
_CENTURY_S = times.LONGEST_S

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "max_retries",
        3,
        "a whole number from 0 to 1000000",
        _integer(0, 1_000_000),
        "Runs after the first one before a job is dead: 3 means four runs. Copied into a job when it is taken in.",
    ),
    Setting(
        "backoff_base",
        2,
        "a number from 0 to 1000000",
        _number(0, 1e6),
        "The n-th failure is followed by a wait of backoff_base ** n seconds: 2, 4, 8, 16 ... for 2.",
    ),
    Setting(
        "backoff_max",
        "1h",
        "a duration up to 100 years, such as 90s, 10m, 1h",
        _duration(0, _CENTURY_S),
        "Longest wait between two runs of a job.",
    ),
    Setting(
        "jitter",
        0,
        "a number from 0 to 1",
        _number(0, 1),
        "Share of a wait by which it is moved at random, so that jobs that failed together do not come back together.",
    ),
    Setting(
        "timeout",
        FOREVER,
        "a duration of 0.001 seconds or more such as 30m or 2h, or forever",
        _duration(0.001, _CENTURY_S, forever=True),
        "Longest run of a job that names no timeout of its own; then it is ended with all it started, and has failed.",
    ),
    Setting(
        "output_max",
        "1G",
        "a number of bytes or a size such as 500K, 100M, 1G (1024 each), or unlimited",
        _size,
        "Most that a run may print, where its job names no output_max. A run that prints more is ended and fails.",
    ),
    Setting(
        "settle_s",
        30,
        "a duration from 0.1 to 86400 seconds",
        _duration(0.1, _DAY_S),
        "A dropped file that is not whole JSON is rejected once it has not changed for this long (120 for shares).",
    ),
    Setting(
        "scan_s",
        2,
        "a duration from 0.05 to 3600 seconds",
        _duration(0.05, 3600),
        "How often the folder is listed, beside the events of the file system (a share has none: 2 at most).",
    ),
    Setting(
        "stop_grace_s",
        10,
        "a duration up to 86400 seconds",
        _duration(0, _DAY_S),
        "How long running jobs may go on after a stop was asked for; then they are ended and put back, uncounted.",
    ),
    Setting(
        "kill_grace_s",
        5,
        "a duration up to 3600 seconds",
        _duration(0, 3600),
        "How long a command may take to end after it was asked to (timeout, stop), before it is killed.",
    ),
    Setting(
        "shell",
        "auto",
        "one of " + ", ".join(SHELLS),
        _one_of(*SHELLS),
        "What runs a command that is a string; auto is sh, and cmd on Windows.",
    ),
    Setting(
        "durability",
        "queue",
        "one of " + ", ".join(DURABILITIES),
        _one_of(*DURABILITIES),
        "What is forced to disk: queue = accepted jobs; full = starts and results too; off = nothing.",
    ),
    Setting(
        "keep_done",
        "30d",
        "a duration such as 12h or 30d, or forever",
        _duration(0, _CENTURY_S, forever=True),
        "How long finished jobs and their logs are kept. After a jump of the clock nothing is deleted for a day.",
    ),
    Setting(
        "keep_dlq",
        FOREVER,
        "a duration such as 90d, or forever",
        _duration(0, _CENTURY_S, forever=True),
        "How long dead jobs and their logs are kept.",
    ),
    Setting(
        "keep_rejected",
        FOREVER,
        "a duration such as 90d, or forever",
        _duration(0, _CENTURY_S, forever=True),
        "How long files in rejected/ are kept with their reasons, counted from when they were rejected.",
    ),
    Setting(
        "group_access",
        NONE,
        "one of " + ", ".join(GROUP_ACCESS),
        _one_of(*GROUP_ACCESS),
        "Who else may read new job files and logs: none = only the workers' user; read = the files' group (POSIX).",
    ),
    Setting(
        "dashboard",
        FULL,
        "one of " + ", ".join(DASHBOARDS),
        _one_of(*DASHBOARDS),
        "What status.html and status.json show; counts = no commands, outputs and names of jobs; off = not written.",
    ),
    Setting(
        "metrics",
        False,
        "true or false",
        _boolean,
        "Whether queuectl.prom is written too: figures for Prometheus, to be read by its node exporter.",
    ),
    Setting(
        "run_files_of_others",
        False,
        "true or false",
        _boolean,
        "Run files in pending/ that belong to a user other than root and the workers' own. false: reject them.",
    ),
    Setting(
        "hooks.on_dead",
        [],
        _HOOK,
        _command,
        "Started by the pool, without a shell, when a job has moved to dlq/, but for a cancelled one; the path of its "
        "file is added at the end.",
    ),
    Setting(
        "hooks.on_done",
        [],
        _HOOK,
        _command,
        "The same when a job has moved to done/. Two hooks run at once, a hundred wait, others are passed over.",
    ),
    Setting(
        "hooks.on_idle",
        [],
        _HOOK,
        _command,
        "The same, without a path, when a pool that has run something finds that nothing waits or runs any more.",
    ),
    Setting(
        "hooks.on_stale",
        [],
        _HOOK,
        _command,
        "The same when a job has waited for too long, with the path of its file; for 20 jobs a stale_after at most.",
    ),
    Setting(
        "hooks.stale_after",
        "1h",
        "a duration of a second or more, such as 10m or 1h",
        _duration(1, _CENTURY_S),
        "How long is too long for on_stale: from when a job could run. A time that is paused does not count.",
    ),
)
