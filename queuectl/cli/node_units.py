"""Makes the systemd unit of a node of a cluster. Computes only; see `service_units` for the units of workers."""

from __future__ import annotations

from collections.abc import Sequence

from queuectl.cli import service_units
from queuectl.cli.service_units import Service

# A node ends its commands with their grace, then itself (`cluster.node_process`).
_STOP_S = 90

_UNIT = """\
# Made by: queuectl service install --node. A second one replaces this file. To change it, use
# `systemctl {scope}edit {name}`.

[Unit]
Description=queuectl: runs the commands of a cluster for {description}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={command}
Environment={environment}
{user}
# SIGTERM goes to the main process, which ends the commands with their grace. Whatever is left in the control group when
# the main process is gone, for whatever reason, gets SIGKILL: so no command outlives its node.
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec={stop_s}
SendSIGKILL=yes
Restart=on-failure
RestartSec=10
RestartPreventExitStatus={final_codes}
# If a command uses too much memory, only this command ends.
OOMPolicy=continue

# Whoever holds a key of the cluster can run commands as this user. This keeps them from becoming another user.
NoNewPrivileges=yes
RestrictRealtime=yes

[Install]
WantedBy={target}
"""


def argv(python: str, scheduler: str, keys: str, *, slots: int, resources: Sequence[str], scratch: str) -> list[str]:
    """Return the command line of a node."""
    words = [python, "-P", "-m", "queuectl", "cluster", "node", scheduler, *(["--keys", keys] if keys else [])]
    words += ["--slots", str(slots)]
    for each in resources:
        words += ["--resource", each]
    return words + (["--scratch", scratch] if scratch else [])


def unit(service: Service, words: Sequence[str], scheduler: str) -> str:
    """Return the unit. Raises CannotSayError."""
    variables = ["PYTHONUNBUFFERED=1", *([f"PATH={service.path_variable}"] if service.path_variable else [])]
    return _UNIT.format(
        scope="" if service.system else "--user ",
        name=service_units.file_name(service_units.SYSTEMD, service),
        description=service_units.unit_value(scheduler),
        command=service_units.exec_start(words),
        environment=" ".join(service_units.unit_word(variable) for variable in variables),
        user=f"User={service_units.unit_value(service.user)}\n" if service.system else "",
        stop_s=_STOP_S,
        final_codes=service_units.FINAL_CODES,
        target="multi-user.target" if service.system else "default.target",
    )
