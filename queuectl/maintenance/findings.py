"""What `check` finds: one finding a fault, what puts it right, and whether that was done.

A repair is one function that is called here and nowhere else, and only where repairs were asked for. It may find that
the fault is gone by now (the file moved on): then there is no finding either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from queuectl.errors import QueuectlError
from queuectl.jobs.repair import GoneError as GoneError

INFO, PROBLEM = "info", "problem"
CLEAN, REPAIRABLE, REPAIRED, PERSON = "clean", "repairable", "repaired", "person"


class Finding(NamedTuple):
    """One thing that is not as FORMAT.md says."""

    severity: str
    """`problem`, or `info`: worth knowing and harmless."""
    code: str
    """A word for programs: the same fault always has the same one."""
    path: str
    """Where, from the spool's root, with slashes."""
    text: str
    """What is wrong."""
    repair: str
    """What a repair does or did, as a participle ("moved to done/"), or "" where a program can do nothing."""
    repaired: bool
    """It was done."""
    needs_person: bool
    """A repair cannot, could not, or should not be all that is done about it."""


Act = Callable[[], str | None]


class Findings:
    """The findings of one check, in the order they were made."""

    def __init__(self, *, repair: bool) -> None:
        self.repair = repair
        self.found: list[Finding] = []

    def info(self, code: str, path: str, text: str, repair: str = "", act: Act | None = None) -> bool:
        """Something harmless; see `problem`."""
        return self._add(INFO, code, path, text, repair, act, needs_person=False)

    def problem(
        self, code: str, path: str, text: str, repair: str = "", act: Act | None = None, *, needs_person: bool = False
    ) -> bool:
        """A fault, and the repair that is made now where repairs are wanted.

        Args:
            code, path, text, repair: see `Finding`.
            act: makes the repair; may return more to say about it. Raises GoneError where there is nothing to repair
                any more, OSError or QueuectlError where it cannot be done.
            needs_person: true where somebody has to look at it even after the repair.

        Returns:
            True where a repair was made.
        """
        return self._add(PROBLEM, code, path, text, repair, act, needs_person=needs_person or act is None)

    def _add(
        self, severity: str, code: str, path: str, text: str, repair: str, act: Act | None, *, needs_person: bool
    ) -> bool:
        repaired = False
        if act is not None and self.repair:
            try:
                if more := act():
                    repair = f"{repair}: {more}"
                repaired = True
            except GoneError:
                return False
            except FileNotFoundError:
                return False
            except (OSError, QueuectlError) as error:
                text = f"{text}; it could not be {repair}: {reason(error)}"
                needs_person = severity == PROBLEM
        self.found.append(Finding(severity, code, path, text, repair, repaired, needs_person))
        return repaired


def reason(error: Exception) -> str:
    """An error in a few words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def verdict(found: Iterable[Finding]) -> str:
    """`clean`, `repairable` (by `--repair`), `repaired`, or `person`: the worst of all; infos count for nothing."""
    problems = [item for item in found if item.severity == PROBLEM]
    if not problems:
        return CLEAN
    if any(item.needs_person for item in problems):
        return PERSON
    return REPAIRED if all(item.repaired for item in problems) else REPAIRABLE


def merged(found: Iterable[Finding]) -> list[Finding]:
    """One finding a code and severity: the first of its kind, which says how many more there are."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for item in found:
        groups.setdefault((item.severity, item.code), []).append(item)
    return [
        first._replace(text=f"{first.text} (and {len(rest)} more like it)") if rest else first
        for first, *rest in groups.values()
    ]
