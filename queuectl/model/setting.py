"""Defines a setting by name, default, range and meaning, and lists all settings in `SETTINGS`.

The list is the source of the default queuectl.toml, `queuectl config list`, the error texts, docs/settings.md and the
test that every setting is documented.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from queuectl.model import sizes, times
from queuectl.model.setting_checks import (
    AUTO,
    FOREVER,
    address,
    boolean,
    command,
    duration,
    exit_codes,
    integer,
    integer_or_auto,
    number,
    one_of,
    size,
    text,
)

DURABILITIES = ("queue", "full", "off")
SHELLS = ("auto", "sh", "bash", "zsh", "cmd", "powershell", "pwsh")
FULL, COUNTS, OFF = "full", "counts", "off"
DASHBOARDS = (FULL, COUNTS, OFF)
NONE, READ = "none", "read"
GROUP_ACCESS = (NONE, READ)


class Setting(NamedTuple):
    """A setting. `check` converts a TOML value to the value to use, or raises ValueError.

    A name with a dot is a key in a table of the file: `hooks.on_dead` is `on_dead` in `[hooks]`.
    """

    name: str
    default: Any
    allowed: str
    check: Callable[[Any], Any]
    meaning: str

    @property
    def field(self) -> str:
        """The name of the field in `Settings`: `on_dead` for `hooks.on_dead`, `cluster_slots` for `cluster.slots`."""
        return self.name.removeprefix("hooks.").replace(".", "_")


_HOOK = 'a list: a program and its arguments, such as ["notify-send", "dead"]; [] for none'
_DAY_S = 86400.0
_CENTURY_S = times.LONGEST_S

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "max_retries",
        3,
        "a whole number from 0 to 1000000",
        integer(0, 1_000_000),
        "Maximum number of retries before a job is dead: 3 means four attempts. Copied into a job when it is accepted.",
    ),
    Setting(
        "backoff_base",
        2,
        "a number from 0 to 1000000",
        number(0, 1e6),
        "Base of the exponential backoff: after failure n, a job waits for backoff_base ** n seconds: 2, 4, 8, 16 ... "
        "for 2.",
    ),
    Setting(
        "backoff_max",
        "1h",
        "a duration up to 100 years, such as 90s, 10m, 1h",
        duration(0, _CENTURY_S),
        "Longest delay between two attempts of a job.",
    ),
    Setting(
        "jitter",
        0,
        "a number from 0 to 1",
        number(0, 1),
        "Randomise each delay by up to this fraction, so that jobs that failed together do not retry together.",
    ),
    Setting(
        "timeout",
        FOREVER,
        "a duration of 0.001 seconds or more such as 30m or 2h, or forever",
        duration(0.001, _CENTURY_S, forever=True),
        "Time limit of an attempt, if the job sets no timeout. Then the command and all its processes are ended, "
        "and the attempt fails.",
    ),
    Setting(
        "output_max",
        "1G",
        "a number of bytes or a size such as 500K, 100M, 1G (1024 each), or unlimited",
        size,
        "Output limit of an attempt, if the job sets no output_max. An attempt that prints more is ended and fails.",
    ),
    Setting(
        "give_up_after",
        FOREVER,
        "a duration up to 100 years such as 2h or 3d, or forever",
        duration(0, _CENTURY_S, forever=True),
        "Retry no job later than this after its first attempt, if the job sets no give_up_after. The first limit that "
        "is reached counts, this one or max_retries.",
    ),
    Setting(
        "snooze_exit_codes",
        [75],
        "a list of exit codes other than 0, such as [75]; [] for none",
        exit_codes,
        "Exit codes that mean: run again later, and do not count the attempt (75 is EX_TEMPFAIL), if the job sets no "
        "snooze_exit_codes. A code in the job's retry_exit_codes or no_retry_exit_codes is no snooze.",
    ),
    Setting(
        "snooze_max",
        "7d",
        "a duration up to 100 years such as 12h or 7d",
        duration(0, _CENTURY_S),
        "Longest unbroken row of snoozes, if the job sets no snooze_max. Then the job is dead.",
    ),
    Setting(
        "after_grace",
        "1h",
        "a duration up to 100 years such as 10m or 1h",
        duration(0, _CENTURY_S),
        "How long a waiting job whose parent (key after) is not in the spool waits for that parent to arrive. Then the "
        "job is dead.",
    ),
    Setting(
        "settle_s",
        30,
        "a duration from 0.1 to 86400 seconds",
        duration(0.1, _DAY_S),
        "Reject an incomplete file in pending/ if it has not changed for this long. Use 120 on network shares.",
    ),
    Setting(
        "scan_s",
        2,
        "a duration from 0.05 to 3600 seconds",
        duration(0.05, 3600),
        "List pending/ at this interval, in addition to file events. A network share has no events: use at most 2.",
    ),
    Setting(
        "worker_processes",
        AUTO,
        "a whole number from 1 to 256, or auto",
        integer_or_auto(1, 256),
        "Number of worker processes that share the slots of a pool (`worker start --count`). auto: one per slot, up to "
        "one per processor core (on Windows and macOS two), and at least two.",
    ),
    Setting(
        "stop_grace_s",
        10,
        "a duration up to 86400 seconds",
        duration(0, _DAY_S),
        "How long running jobs may continue after a stop. Then they are ended and put back; that attempt does not "
        "count.",
    ),
    Setting(
        "kill_grace_s",
        5,
        "a duration up to 3600 seconds",
        duration(0, 3600),
        "How long a command may take to end after a timeout or a stop. Then it is killed.",
    ),
    Setting(
        "shell",
        "auto",
        "one of " + ", ".join(SHELLS),
        one_of(*SHELLS),
        "Shell for a command that is a string. auto means sh, and cmd on Windows.",
    ),
    Setting(
        "durability",
        "queue",
        "one of " + ", ".join(DURABILITIES),
        one_of(*DURABILITIES),
        "What is fsynced: queue = accepted jobs; full = starts and results too; off = nothing.",
    ),
    Setting(
        "keep_done",
        "30d",
        "a duration such as 12h or 30d, or forever",
        duration(0, _CENTURY_S, forever=True),
        "How long finished jobs and their logs are kept. After a jump of the clock, nothing is deleted for a day.",
    ),
    Setting(
        "keep_dlq",
        FOREVER,
        "a duration such as 90d, or forever",
        duration(0, _CENTURY_S, forever=True),
        "How long dead and cancelled jobs and their logs are kept.",
    ),
    Setting(
        "keep_rejected",
        FOREVER,
        "a duration such as 90d, or forever",
        duration(0, _CENTURY_S, forever=True),
        "How long files in rejected/ and their reasons are kept, from the time of the rejection.",
    ),
    Setting(
        "group_access",
        NONE,
        "one of " + ", ".join(GROUP_ACCESS),
        one_of(*GROUP_ACCESS),
        "Readers of new job files and logs: none = only the workers' user; read = also the files' group (POSIX).",
    ),
    Setting(
        "dashboard",
        FULL,
        "one of " + ", ".join(DASHBOARDS),
        one_of(*DASHBOARDS),
        "Content of status.html and status.json: full = everything; counts = no commands, output and names of jobs; "
        "off = no files.",
    ),
    Setting(
        "metrics",
        False,
        "true or false",
        boolean,
        "Write queuectl.prom, which has figures for the node exporter of Prometheus.",
    ),
    Setting(
        "run_files_of_others",
        False,
        "true or false",
        boolean,
        "Run files in pending/ that belong to users other than root and the workers' user. false means: reject them.",
    ),
    Setting(
        "hooks.on_dead",
        [],
        _HOOK,
        command,
        "Program that the pool starts, without a shell, when a job is dead, but not for a cancelled job. Its last "
        "argument is the path of the job's file.",
    ),
    Setting(
        "hooks.on_done",
        [],
        _HOOK,
        command,
        "Program for a job that is done, as for on_dead. Two hooks run at once, a hundred wait, more are skipped.",
    ),
    Setting(
        "hooks.on_idle",
        [],
        _HOOK,
        command,
        "Program that a pool starts, without a path, when it has run a job and finds no waiting and no running job.",
    ),
    Setting(
        "hooks.on_stale",
        [],
        _HOOK,
        command,
        "Program for a job that has waited too long, as for on_dead; for at most 20 jobs per stale_after.",
    ),
    Setting(
        "hooks.on_halt",
        [],
        _HOOK,
        command,
        "Program that the pool starts when a run of it has halted a queue (circuit breaker). Its last argument is the "
        "path of PAUSED-QUEUE.",
    ),
    Setting(
        "hooks.stale_after",
        "1h",
        "a duration of a second or more, such as 10m or 1h",
        duration(1, _CENTURY_S),
        "How long a job may wait before on_stale, from when it could run. Paused time does not count.",
    ),
    Setting(
        "cluster.scheduler",
        "",
        'an address such as "tls://head:8786", or "" for no cluster',
        address,
        "Address of the scheduler of the cluster, for `worker start --cluster`. See docs/cluster.md.",
    ),
    Setting(
        "cluster.keys",
        "",
        "a folder",
        text,
        "Folder with ca.pem and spool.pem from `queuectl cluster keys`. Only the workers' user may read them.",
    ),
    Setting(
        "cluster.slots",
        200,
        "a whole number from 1 to 10000",
        integer(1, 10_000),
        "Number of jobs that run at once on all nodes together, if `worker start --slots` does not say it.",
    ),
    Setting(
        "cluster.lease",
        "30s",
        "a duration from 10s to 10m",
        duration(10, 600),
        "How long a command may go on while its node is out of reach. Then the node ends it, and the job runs again.",
    ),
    Setting(
        "cluster.output_max",
        "8M",
        "a number of bytes or a size such as 500K, 8M (1024 each)",
        sizes.parse,
        "How much output of an attempt on a node is kept: the first half, and the last half when the command ends.",
    ),
    Setting(
        "cluster.take",
        "all",
        '"all", or "resources"',
        one_of("all", "resources"),
        "Jobs for the nodes: all, or only jobs with the key resources.",
    ),
    Setting(
        "cluster.insecure",
        False,
        "true or false",
        boolean,
        "Allow a tcp:// scheduler on another machine. Anyone on that network can then run commands on every node.",
    ),
    Setting(
        "cluster.bridge_user",
        "",
        'the name of a user, or "" for the workers\' user',
        text,
        "User of the process that speaks to the cluster, if root runs the workers (POSIX).",
    ),
)
