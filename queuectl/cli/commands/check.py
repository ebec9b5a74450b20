"""`queuectl check`: compare the spool with FORMAT.md, and repair it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, Any

import typer

from queuectl.cli import context, exit_codes, group
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import count_of, line, paint, safe
from queuectl.cli.terminal.progress import Progress
from queuectl.maintenance import findings
from queuectl.maintenance.check import Checked, run
from queuectl.maintenance.findings import INFO, PROBLEM, Finding
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock

app = group.new_app()

_CODES = {
    findings.CLEAN: exit_codes.OK,
    findings.REPAIRABLE: exit_codes.REPAIRED,
    findings.REPAIRED: exit_codes.REPAIRED,
    findings.PERSON: exit_codes.NEEDS_PERSON,
}
# A terminal shows this many findings of one kind; a pipe and --json get all.
_SHOWN = 20


@app.command()
def check(
    repair: Annotated[bool, typer.Option("--repair", help="Repair faults without losing data.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Open only running jobs and files with conflicting names.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """Find and repair faults in the spool.

    \b
    Examples:
      queuectl check
      queuectl check --repair

    Without --repair it changes nothing. You can use it while workers run: it skips busy jobs.

    Exit codes: 0 for success (notes are no faults); 10 if the faults are repaired, or without --repair can be
    repaired; 11 if something needs a person.
    """
    spool = SpoolDir(context.spool_path())
    with Progress() as progress:
        found = run(
            spool,
            repair=repair,
            names_only=quick,
            clock=Clock(),
            on_looked=lambda number: progress.tell(lambda: f"checked {count_of(number, 'file')}"),
        )
    if as_json:
        printing.print_json(_as_json(spool, found))
    elif printing.is_terminal():
        _print(found.findings)
    else:
        rows = [(each.severity, each.code, each.path, each.text, _repair(each)) for each in found.findings]
        printing.table(("", "CODE", "FILE", "WHAT", "REPAIR"), rows)
    _say_counts(found, repair=repair)
    code = _CODES[findings.verdict(found.findings)]
    if code:
        raise typer.Exit(code)


def _print(found: list[Finding]) -> None:
    """Print the faults, then the notes, grouped by kind."""
    for severity, style in ((PROBLEM, "red"), (INFO, "dim")):
        wanted = sorted((each for each in found if each.severity == severity), key=lambda each: each.code)
        for code, group_ in groupby(wanted, key=lambda each: each.code):
            each_of = list(group_)
            title = f"{code}" if severity == PROBLEM else f"note: {code}"
            line(paint(f"{title} ({len(each_of)})", style))
            for text in _lines(each_of):
                line(f"  {text}")


def _lines(found: list[Finding]) -> Iterator[str]:
    for each in found[:_SHOWN]:
        repair = _repair(each)
        yield safe(f"{each.path}: {each.text}") + (paint(f"  ({safe(repair)})", "dim") if repair else "")
    if len(found) > _SHOWN:
        yield f"... and {len(found) - _SHOWN} more (--json shows all)"


def _repair(each: Finding) -> str:
    """Return how a finding was or can be repaired."""
    if each.repaired:
        return f"repaired: {each.repair}" + ("; please look at it" if each.needs_person else "")
    if each.severity == PROBLEM and each.needs_person and not each.repair:
        return "needs a person"
    return f"--repair: {each.repair}" if each.repair else ""


def _say_counts(found: Checked, *, repair: bool) -> None:
    problems = [each for each in found.findings if each.severity == PROBLEM]
    notes = len(found.findings) - len(problems)
    looked = f"checked {count_of(sum(found.counts.values()), 'job')}: "
    repaired = sum(each.repaired for each in problems)
    person = sum(each.needs_person for each in problems)
    parts = [count_of(len(problems), "problem") if problems else "no problems"]
    parts += [f"{repaired} repaired"] if repaired else []
    parts += [f"{person} need a person"] if person > 1 else ["1 needs a person"] if person else []
    parts += [count_of(notes, "note")] if notes else []
    printing.message(looked + ", ".join(parts))
    if found.skipped:
        some = ", ".join(safe(job_id) for job_id in found.skipped[:3]) + (", ..." if len(found.skipped) > 3 else "")
        printing.message(f"skipped, because they are busy: {some}")
    if not repair and any(not each.needs_person for each in problems):
        printing.message("next: queuectl check --repair")


def _as_json(spool: SpoolDir, found: Checked) -> dict[str, Any]:
    return {
        "version": 1,
        "spool": spool.root,
        "verdict": findings.verdict(found.findings),
        "counts": found.counts,
        "busy": found.skipped,
        "findings": [each._asdict() for each in found.findings],
    }
