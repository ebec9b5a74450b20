"""The bugs of `planted` have their places: the table in docs/testing.md can be made again at any time."""

from __future__ import annotations

import pytest

from tests.crash.planted import BUGS, ROOT, Bug, places


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_planted_bug_has_its_place(bug: Bug) -> None:
    """A bug that cannot be planted any more shows nothing, and would not be missed."""
    assert places(bug) == 1
    assert f"| {bug.what} |" in (ROOT / "docs" / "testing.md").read_text()
