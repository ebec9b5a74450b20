"""A real process is killed at every change that an operation makes to the disk; then every promise is checked.

Between two changes a kill leaves the same files wherever it falls, so a kill before each change, a kill in the middle
of each write, one after the last change, and one while the command runs are all that there are. What is not shown here:
power cuts, which lose what was not synced.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.driver import OPERATIONS, Hands, Operation, Template, allowed_endings, judge, recover, run_in_child
from tests.crash.inject import CHANGES, TORN
from tests.crash.points import each_nth

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")


def sweep(
    operation: Operation,
    folder: Path,
    *,
    nth: int = 1,
    every: bool = False,
    also: Callable[[Hands], int] = lambda _hands: 0,
    further: Callable[[Path], list[str]] = lambda _root: [],
) -> int:
    """Kill the operation at each n-th of its points, recover and judge; return how many points that were.

    `every` adds a kill after each change.
    `also` is a further duty in the recovery, and `further` says what else is wrong with a spool afterwards.
    """
    template = Template(operation, folder)

    def judged(root: Path, *, cut: bool) -> list[str]:
        recover(root, operation, cut=cut, also=also)
        return judge(root, template, allowed_endings(operation, cut=cut)) + further(root)

    root = template.copy()
    ran = run_in_child(operation, root)
    wrong = judged(root, cut=False)
    assert not wrong, f"{operation.name}, not killed:\n" + "\n".join(wrong)
    changes = [call for call in ran.calls if call.kind in CHANGES]
    points = [(place, "before") for place in range(1, len(changes) + 1)]
    points += [
        (place, "after")
        for place, call in enumerate(changes, 1)
        if every or call.kind == "spawn" or place == len(changes)
    ]
    points += [(place, how) for place, call in enumerate(changes, 1) if call.kind == "write" for how in TORN]
    points = list(each_nth(points, nth, operation.name))
    for place, how in points:
        root = template.copy()
        assert run_in_child(operation, root, place, how).killed, f"{operation.name} makes fewer calls than it did"
        wrong = judged(root, cut=True)
        call = changes[place - 1]
        assert not wrong, f"{operation.name}, killed {how} change {place}, {call.kind} {call.path}:\n" + "\n".join(
            wrong
        )
    return len(points)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_some_changes_breaks_no_promise(operation: Operation, folder: Path) -> None:
    """P1 to P7: after a kill before a change or within a write nothing is lost, doubled, torn, overwritten or stuck."""
    print(f"{sweep(operation, folder, nth=3)} points: {operation.name}")


@pytest.mark.parametrize("name", ["cancel: waiting", "cancel: drop"])
def test_a_cancel_that_is_killed_and_forgotten_happened_or_did_not(name: str, folder: Path) -> None:
    """P4: a job whose end is on record does not run, although nobody gives the command again."""
    once = {"job": {"enqueued started succeeded @done"}}
    print(f"{sweep(OPERATIONS[name]._replace(again=False, cut=once), folder)} points: {name}, once")


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_any_change_breaks_no_promise(operation: Operation, folder: Path) -> None:
    """P1 to P7: before any change, within any write, and after each change, which by the disk alone could be left out."""
    print(f"{sweep(operation, folder, every=True)} points: {operation.name}")
