"""Makes the definitions of a service and the commands that start and stop it. Computes only.

    systemd   a unit, of the user's own manager or of the system's
    launchd   a property list of macOS
    task      a task of the Windows Task Scheduler

Each has its own quoting rules, and a path may contain nearly any character. A path that a format cannot express is
refused, so that no definition starts another program than the intended one (promise P10).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from queuectl.errors import QueuectlError
from queuectl.model.settings import Settings
from queuectl.model.text import safe, windows_word

SYSTEMD, LAUNCHD, TASK = "systemd", "launchd", "task"
KINDS = (SYSTEMD, LAUNCHD, TASK)

# The time that a pool needs to end after both graces of the settings, with a reserve for a busy machine.
_STOP_MARGIN_S = 20
_RESTART_S = 10
# Exit codes after which a restart is useless: wrong usage, invalid settings (the table in cli/exit_codes.py).
FINAL_CODES = "2 5"
# The Task Scheduler counts restarts in a byte and in minutes.
_TASK_RESTARTS = 255
_NAME_CHARS = 40

# systemd refuses the first three in a program's path ("Executable name contains special characters").
_NO_PROGRAM = re.compile(r"""["'\\$]""")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")


class Service(NamedTuple):
    """The service: what to start, and how. Paths are absolute."""

    name: str
    """The name of the service in the system; see `name_for`."""
    spool: str
    python: str
    """The interpreter that has queuectl installed."""
    cwd: str
    """The folder for jobs without `cwd`."""
    user: str
    """The user of a system service; on Windows of any service (`DOMAIN\\name`)."""
    uid: int
    """The user's number, for launchd."""
    path_variable: str
    """PATH of the jobs; "" keeps the short PATH of the system."""
    log: str
    """The file for the pool's output under launchd; systemd has its journal."""
    workers: int
    """Worker processes."""
    stop_s: int
    """How long a stop may take before the system ends everything; see `stop_seconds`."""
    system: bool
    """True for a system service, which starts at boot. A user's service starts at login."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The pool's command line. -P prevents the import of modules from `cwd` instead of ours."""
        start = ("worker", "start", "--count", str(self.workers))
        return (self.python, "-P", "-m", "queuectl", "--spool", self.spool, *start)


class CannotSayError(QueuectlError):
    """The format cannot express this path; nothing was written."""


def name_for(spool: str) -> str:
    """Return `queuectl-` and a readable name made from the spool's path, different for each spool."""
    parts = [part for part in re.split(r"[\\/]+", spool) if part]
    own = next((part for part in reversed(parts) if part.lower() not in ("spool", "queue", ".")), "spool")
    readable = re.sub(r"[^A-Za-z0-9]+", "-", own).strip("-").lower()[:_NAME_CHARS].strip("-") or "spool"
    return f"queuectl-{readable}-{hashlib.sha256(spool.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def stop_seconds(settings: Settings) -> int:
    """Return how long a pool may take to stop: both graces of its settings and a margin."""
    return math.ceil(settings.stop_grace_s + settings.kill_grace_s) + _STOP_MARGIN_S


def text(kind: str, service: Service) -> str:
    """Return the definition. Raises CannotSayError."""
    return {SYSTEMD: unit, LAUNCHD: plist, TASK: task}[kind](service)


def encoded(kind: str, made: str) -> bytes:
    """Return a definition as a file: UTF-8, but UTF-16 with a byte order mark for the Task Scheduler."""
    if kind != TASK:
        return made.encode()
    declared = made.replace('<?xml version="1.0"?>', '<?xml version="1.0" encoding="UTF-16"?>', 1)
    return b"\xff\xfe" + declared.replace("\n", "\r\n").encode("utf-16-le")


def file_name(kind: str, service: Service) -> str:
    """Return the file name of the definition."""
    return service.name + {SYSTEMD: ".service", LAUNCHD: ".plist", TASK: ".xml"}[kind]


def activation(kind: str, service: Service, path: str, *, again: bool) -> list[list[str]]:
    """Return the commands that start the service at `path` now and at each boot or login; `again` for a reinstall."""
    if kind == SYSTEMD:
        unit_name = file_name(kind, service)
        return [
            _systemctl(service, *words) for words in (["daemon-reload"], ["enable", unit_name], ["restart", unit_name])
        ]
    if kind == LAUNCHD:
        load = ["launchctl", "bootstrap", _domain(service), path]
        return [["launchctl", "bootout", f"{_domain(service)}/{service.name}"], load] if again else [load]
    create = ["schtasks", "/Create", "/TN", service.name, "/XML", path, "/F"]
    return [*([_worker_stop(service)] if again else []), create, ["schtasks", "/Run", "/TN", service.name]]


def deactivation(kind: str, service: Service) -> tuple[list[list[str]], list[list[str]]]:
    """Return the commands that stop the service permanently, and those to run after its file is deleted."""
    if kind == SYSTEMD:
        before = [_systemctl(service, "disable", "--now", file_name(kind, service))]
        return before, [_systemctl(service, "daemon-reload")]
    if kind == LAUNCHD:
        return [["launchctl", "bootout", f"{_domain(service)}/{service.name}"]], []
    return [_worker_stop(service), ["schtasks", "/Delete", "/TN", service.name, "/F"]], []


def _systemctl(service: Service, *words: str) -> list[str]:
    return ["systemctl", *([] if service.system else ["--user"]), *words]


def _domain(service: Service) -> str:
    return "system" if service.system else f"gui/{service.uid}"


def _worker_stop(service: Service) -> list[str]:
    return [service.python, "-P", "-m", "queuectl", "--spool", service.spool, "worker", "stop"]


def _checked(value: str, kind: str) -> str:
    """Return a text that the formats can hold. Raises CannotSayError for control characters and invalid UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _cannot_say(value, kind, "it is not UTF-8") from None
    if _CONTROLS.search(value):
        raise _cannot_say(value, kind, "it contains a control character")
    return value


def _cannot_say(value: str, kind: str, why: str) -> CannotSayError:
    return CannotSayError(f"a {kind} definition cannot contain {safe(value)}", cause=why, hint="rename the folder")


# ---------------------------------------------------------------------------------------------------------- systemd

_UNIT = """\
# Made by: queuectl service. Each `queuectl service install` replaces this file. To change it, use
# `systemctl {scope}edit {name}`.

[Unit]
Description=queuectl: runs the jobs in {description}
{mounts}
[Service]
Type=exec
ExecStart={command}
WorkingDirectory={cwd}
Environment={environment}
{user}
# After SIGTERM, running jobs may end (for stop_grace_s and kill_grace_s of the settings, and a margin). Then systemd
# ends all processes.
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec={stop_s}
# `queuectl worker stop` is not a failure. Wrong usage and invalid settings need a person, so systemd does not restart.
Restart=on-failure
RestartSec={restart_s}
RestartPreventExitStatus={final_codes}
# If a job uses too much memory, only this job ends.
OOMPolicy=continue

# Anyone who can write to the spool can run commands as this user. This keeps them from becoming another user.
# Remove it if jobs need sudo, ping or a local sendmail.
NoNewPrivileges=yes
RestrictRealtime=yes
{hardening}
[Install]
WantedBy={target}
"""

_OF_THE_SYSTEM = """\
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
# Stricter options, if your jobs allow them. With the first two, jobs can write only to the spool: add what they need.
#ProtectSystem=strict
#ReadWritePaths={spool}
#ProtectHome=read-only
#PrivateTmp=yes
#PrivateDevices=yes
#ProtectClock=yes
#ProtectControlGroups=yes
#RestrictSUIDSGID=yes
#LockPersonality=yes
#PrivateNetwork=yes
"""

_OF_THE_USER = """\
# Stricter options, if your jobs allow them. A user's own manager makes a user namespace for them: files of other users
# then belong to nobody. With the first two, jobs can write only to the spool: add what they need.
#ProtectSystem=strict
#ReadWritePaths={spool}
#PrivateTmp=yes
#LockPersonality=yes
"""


def unit(service: Service) -> str:
    """Return a systemd unit (systemd.service(5), systemd.exec(5)). Raises CannotSayError."""
    variables = ["PYTHONUNBUFFERED=1", *([f"PATH={service.path_variable}"] if service.path_variable else [])]
    spool = unit_word(service.spool)
    return _UNIT.format(
        scope="" if service.system else "--user ",
        name=file_name(SYSTEMD, service),
        description=_unit_folder(service.spool),
        mounts=f"RequiresMountsFor={spool}\n" if service.system else "",
        command=exec_start(service.argv),
        cwd=_unit_folder(service.cwd),
        environment=" ".join(unit_word(variable) for variable in variables),
        user=f"User={unit_value(service.user)}\n" if service.system else "",
        stop_s=service.stop_s,
        restart_s=_RESTART_S,
        final_codes=FINAL_CODES,
        hardening=(_OF_THE_SYSTEM if service.system else _OF_THE_USER).format(spool=spool),
        target="multi-user.target" if service.system else "default.target",
    )


def exec_start(argv: Sequence[str]) -> str:
    """Return a command line for ExecStart= (systemd.service(5), "Command lines").

    In arguments `$` begins a variable and `$$` is one `$`. A program's path may contain no quote and no backslash, even
    escaped, and systemd would expand a `$` in it. Such a program is started by sh, which replaces itself by it.
    """
    program, *words = argv if not _NO_PROGRAM.search(argv[0]) else ("/bin/sh", "-c", 'exec "$0" "$@"', *argv)
    return " ".join([unit_word(program), *(unit_word(word).replace("$", "$$") for word in words)])


def unit_word(value: str) -> str:
    """Return a word in double quotes: backslash and quote escaped, and `%`, which begins a specifier, doubled."""
    return '"' + unit_value(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def unit_value(value: str) -> str:
    """Return a text for a unit, with `%` doubled. Raises CannotSayError."""
    return _checked(value, SYSTEMD).replace("%", "%%")


def _unit_folder(value: str) -> str:
    """Return a path for the rest of a line, unquoted, with a slash after a final blank or backslash to keep that."""
    made = unit_value(value)
    return made + "/" if made[-1:].isspace() or made.endswith("\\") else made


# ---------------------------------------------------------------------------------------------------------- launchd


def plist(service: Service) -> str:
    """Return a property list for launchd (launchd.plist(5)). Raises CannotSayError."""
    import plistlib

    log = _checked(service.log, LAUNCHD)
    body = {
        "Label": service.name,
        "ProgramArguments": [_checked(word, LAUNCHD) for word in service.argv],
        "WorkingDirectory": _checked(service.cwd, LAUNCHD),
        "EnvironmentVariables": {
            "PYTHONUNBUFFERED": "1",
            **({"PATH": _checked(service.path_variable, LAUNCHD)} if service.path_variable else {}),
        },
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},  # restart it unless it exits with 0, as after `worker stop`
        "ThrottleInterval": _RESTART_S,
        "ExitTimeOut": service.stop_s,
        "StandardOutPath": log,
        "StandardErrorPath": log,
        **({"UserName": _checked(service.user, LAUNCHD)} if service.system else {}),
    }
    return plistlib.dumps(body, sort_keys=False).decode()


# ------------------------------------------------------------------------------------------------------------- task

_TASK = """\
<?xml version="1.0"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>queuectl: runs the jobs in {spool}</Description>
    <URI>\\{name}</URI>
  </RegistrationInfo>
  <Triggers>
    {trigger}
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{user}</UserId>
      <LogonType>{logon}</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowHardTerminate>true</AllowHardTerminate>
    <StartWhenAvailable>true</StartWhenAvailable>
    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>
    <IdleSettings>
      <StopOnIdleEnd>false</StopOnIdleEnd>
      <RestartOnIdle>false</RestartOnIdle>
    </IdleSettings>
    <AllowStartOnDemand>true</AllowStartOnDemand>
    <Enabled>true</Enabled>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>5</Priority>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>{restarts}</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{command}</Command>
      <Arguments>{arguments}</Arguments>
      <WorkingDirectory>{cwd}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
"""


def task(service: Service) -> str:
    """Return a task for the Task Scheduler (its schema, version 1.2), in ASCII so that no pipe can change it.

    The task of a user starts at login, on their desktop. The task of the system starts at boot, as the same user but
    without a password (S4U); only an administrator can create it. Priority 5 is that of a program started by hand.

    Raises:
        CannotSayError: also for a path that the Task Scheduler would change: it expands `%NAME%` and `$(`.
    """
    user = f"<UserId>{_xml(service.user)}</UserId>"
    program, *words = service.argv
    return _TASK.format(
        spool=_xml(service.spool),
        name=_xml(service.name),
        trigger=f"<{{0}}><Enabled>true</Enabled>{'' if service.system else user}</{{0}}>".format(
            "BootTrigger" if service.system else "LogonTrigger"
        ),
        user=_xml(service.user),
        logon="S4U" if service.system else "InteractiveToken",
        restarts=_TASK_RESTARTS,
        command=_xml(_literal(program)),
        arguments=_xml(" ".join(windows_word(_literal(word)) for word in words)),
        cwd=_xml(_literal(service.cwd)),
    )


def _literal(value: str) -> str:
    if re.search(r"%[^%]+%|\$\(", value):
        raise _cannot_say(value, TASK, "the Task Scheduler replaces text between two % and after $(")
    return value


def _xml(value: str) -> str:
    return escape(_checked(value, TASK)).encode("ascii", "xmlcharrefreplace").decode()
