"""`queuectl doctor`: test whether this spool is reliable on this machine."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from typing import Annotated

import typer

from queuectl.cli import context, exit_codes, group
from queuectl.cli.terminal import printing
from queuectl.errors import InvalidSettingsError, NotASpoolError, SpoolUnavailableError
from queuectl.maintenance.doctor import examine, is_spool, worst
from queuectl.maintenance.probes import FAIL, OK, WARN, Line
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock

app = group.new_app()

_STYLES = {OK: "green", WARN: "yellow", FAIL: "red"}
_NAME_WIDTH = 16


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False) -> None:
    """Test that the queue works on this file system.

    Example: queuectl doctor

    It tests renames, locks between processes, fsync, file events, names and the clock in a scratch folder in the spool,
    and deletes that folder afterwards. You can run it while workers run.

    If the settings name a cluster, it also tests the keys, the scheduler and each node: versions, free space, the rate
    of its clock, and a real command there. That takes some 5 s.

    Each line is ok, warn or fail, with the measurement and what to do. The exit code is 1 if a test fails. In a pipe,
    the columns are level, name, finding and hint.
    """
    spool = SpoolDir(context.spool_path())
    if not is_spool(spool):
        cause = "it contains neither queuectl.toml nor pending/" if os.path.isdir(spool.root) else "no such folder"
        raise NotASpoolError(spool.root, cause=cause)
    lines = []
    found = examine(spool, clock=Clock(), rng=random.Random(), environment=os.environ)
    for line in itertools.chain(found, _about_schedules(spool), _about_cluster(spool)):
        lines.append(line)
        if not as_json:
            _show(line)
    verdict = worst(lines)
    if as_json:
        rows = [line._asdict() for line in lines]
        printing.print_json({"version": 1, "path": spool.root, "worst": verdict, "lines": rows})
    else:
        _sum_up(lines)
    if verdict == FAIL:
        raise typer.Exit(exit_codes.FAILURE)


def _about_schedules(spool: SpoolDir) -> Iterator[Line]:
    """Yield a line about the schedules, if there are any and the settings can be read."""
    from queuectl.spool import schedule_files, settings_file

    if not schedule_files.names(spool):
        return
    try:
        settings = settings_file.load(spool)
    except (InvalidSettingsError, SpoolUnavailableError):
        return  # `examine` reports it
    from queuectl.maintenance import schedule_lines

    yield schedule_lines.line(Session(spool, settings, Clock(), random.Random()))


def _about_cluster(spool: SpoolDir) -> Iterator[Line]:
    """Yield the lines about the cluster, if the settings name one and can be read."""
    from queuectl.spool import settings_file

    try:
        settings = settings_file.load(spool)
    except (InvalidSettingsError, SpoolUnavailableError):
        return  # `examine` reports it
    if settings.cluster_scheduler:
        from queuectl.maintenance import cluster_lines

        yield from cluster_lines.lines(spool, settings)


def _show(line: Line) -> None:
    if not printing.is_terminal():
        printing.table((), [(line.level, line.name, line.text, line.hint)])
        return
    level = printing.paint(f"{line.level:<4}", _STYLES[line.level])
    printing.line(f"{level}  {line.name.replace('_', ' '):<{_NAME_WIDTH}} {printing.safe(line.text)}")
    if line.hint:
        printing.line(f"{'':<{_NAME_WIDTH + 6}} {printing.paint('hint:', 'bold')} {printing.safe(line.hint)}")


def _sum_up(lines: list[Line]) -> None:
    fails, warns = (sum(line.level == level for line in lines) for level in (FAIL, WARN))
    if fails:
        printing.message(f"{printing.count_of(fails, 'failure')}: do not run workers here until you have fixed this")
    elif warns:
        printing.message(f"usable, with {printing.count_of(warns, 'warning')}")
    else:
        printing.message("all tests passed")
