"""A process is killed, or fails, at every call of the hand-over of a file and of its end; then every promise is checked."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from tests.crash.driver import Operation, inbox_of
from tests.crash.files import OPERATIONS
from tests.crash.inject import CHANGES
from tests.crash.points import by_default, each_nth
from tests.crash.test_crash_sweep import sweep
from tests.crash.test_faults import Failing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")


# What others show in less time.
_SLOW = {
    f"files: {name}"
    for name in (
        "success in a subfolder, far outside",
        "take a new content from a subfolder, in slices",
        "a content that was run, in a subfolder",
        "success of a new content, and keep",
        "a content that was run, and keep",
        "success of a new content, far outside",
        "a content that was run, near outside",
        "a content that was run, far outside, in slices",
    )
}
assert OPERATIONS.keys() >= _SLOW
_PARAMS = [
    pytest.param(each, id=name, marks=pytest.mark.slow if name in _SLOW else ()) for name, each in OPERATIONS.items()
]


@pytest.fixture(autouse=True)
def _two_file_systems(request: pytest.FixtureRequest, folder: Path) -> None:
    """Skip a copy to another file system where there is only one."""
    inbox = inbox_of(folder / "copy")
    if "far" in request.node.callspec.id and inbox.parent.stat().st_dev == folder.stat().st_dev:
        pytest.skip("there is no other file system: /dev/shm")


@pytest.mark.parametrize("operation", _PARAMS)
def test_a_kill_at_some_changes_leaves_a_file_in_one_place(operation: Operation, folder: Path) -> None:
    """P1, P2, P7: the file ends whole in one folder, its job runs once, nothing is overwritten or left under way."""
    print(f"{sweep(operation, folder, nth=3)} points: {operation.name}")


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_kill_at_any_change_leaves_a_file_in_one_place(operation: Operation, folder: Path) -> None:
    """P1, P2, P7: the same at all changes, with a kill after each too."""
    print(f"{sweep(operation, folder, every=True)} points: {operation.name}")


@pytest.mark.parametrize("nth", by_default(3))
@pytest.mark.parametrize("operation", _PARAMS)
def test_a_call_that_fails_leaves_a_file_in_one_place(operation: Operation, nth: int, folder: Path) -> None:
    """P1, P9: each call fails once, or every change fails for a while; then it works again and nothing is lost."""
    failing = Failing(operation, folder)
    for call in each_nth(failing.calls, nth, operation.name):
        failing.fail(call, "error", errno.ENOSPC if call.kind in CHANGES else errno.EIO)
        if call.kind == "write":
            failing.fail(call, "short", errno.ENOSPC)
        if call.kind in CHANGES:
            failing.fail(call, "error", errno.EROFS, stays=6)
    print(f"{failing.points} failures: {operation.name}")
