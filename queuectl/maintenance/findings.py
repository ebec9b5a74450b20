"""The findings of `check`: one per fault, with its repair and whether the repair was made.

A repair is one function, called only here, and only if repairs were asked for. If the fault is gone by then, because
the file has moved, there is no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from queuectl.errors import QueuectlError
from queuectl.jobs.repair import GoneError as GoneError
from queuectl.maintenance.debris import FileAge
from queuectl.spool.session import Session

INFO, PROBLEM = "info", "problem"
CLEAN, REPAIRABLE, REPAIRED, PERSON = "clean", "repairable", "repaired", "person"


class Finding(NamedTuple):
    """One deviation from FORMAT.md."""

    severity: str
    """`problem`, or `info`: worth knowing but harmless."""
    code: str
    """A word for programs: the same fault always has the same code."""
    path: str
    """The path from the spool's root, with slashes."""
    text: str
    """What is wrong."""
    repair: str
    """What a repair does or did, as a participle ("moved to done/"), or "" if a program cannot repair it."""
    repaired: bool
    """The repair was made."""
    needs_person: bool
    """A person must look at it, because a repair is impossible, failed, or is not enough."""


Act = Callable[[], str | None]


class Repair(msgspec.Struct, frozen=True):
    """How a fault is repaired: what is done, as a participle ("moved to done/"), and the function that does it.

    `act` may return more to say about the repair. It raises GoneError if nothing is left to repair, OSError or
    QueuectlError if the repair fails. None means that a program cannot repair the fault, or not now.
    """

    done: str
    act: Act | None = None


_NOTHING = Repair("")


class Findings:
    """The findings of one check, in the order they were made."""

    def __init__(self, *, repair: bool) -> None:
        self.repair = repair
        self.found: list[Finding] = []

    def info(self, code: str, path: str, text: str, repair: Repair = _NOTHING) -> bool:
        """Note a harmless finding; see `problem`."""
        return self._add(Finding(INFO, code, path, text, repair.done, False, False), repair.act)

    def problem(
        self, code: str, path: str, text: str, repair: Repair = _NOTHING, *, needs_person: bool = False
    ) -> bool:
        """Note a fault, and repair it now if repairs are wanted.

        Args:
            code, path, text: see `Finding`.
            repair: how to repair it.
            needs_person: true if a person must look at it even after the repair.

        Returns:
            True if a repair was made.
        """
        needs_person = needs_person or repair.act is None
        return self._add(Finding(PROBLEM, code, path, text, repair.done, False, needs_person), repair.act)

    def _add(self, found: Finding, act: Act | None) -> bool:
        if act is not None and self.repair:
            try:
                more = act()
            except (GoneError, FileNotFoundError):
                return False
            except (OSError, QueuectlError) as error:
                text = f"{found.text}; it could not be {found.repair}: {reason(error)}"
                found = found._replace(text=text, needs_person=found.severity == PROBLEM)
            else:
                found = found._replace(repair=f"{found.repair}: {more}" if more else found.repair, repaired=True)
        self.found.append(found)
        return found.repaired


class Inspection(NamedTuple):
    """What all parts of a check share: the session, the findings, and the ages of files."""

    session: Session
    findings: Findings
    age: FileAge


def reason(error: Exception) -> str:
    """Return an error in a few words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def verdict(found: Iterable[Finding]) -> str:
    """Return the worst of all: `clean`, `repairable` (by `--repair`), `repaired`, or `person`. Infos do not count."""
    problems = [item for item in found if item.severity == PROBLEM]
    if not problems:
        return CLEAN
    if any(item.needs_person for item in problems):
        return PERSON
    return REPAIRED if all(item.repaired for item in problems) else REPAIRABLE


def merged(found: Iterable[Finding]) -> list[Finding]:
    """Return one finding per code and severity: the first of its kind, which says how many more there are."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for item in found:
        groups.setdefault((item.severity, item.code), []).append(item)
    return [
        first._replace(text=f"{first.text} (and {len(rest)} more like it)") if rest else first
        for first, *rest in groups.values()
    ]
