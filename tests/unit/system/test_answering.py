"""answering: what never answers costs a limited time."""

from __future__ import annotations

import threading

from queuectl.system.answering import which_answer
from tests.helpers import wait_until


def _fails() -> None:
    raise OSError("gone")


def test_only_what_returns_or_raises_in_time_answers() -> None:
    """The calls are made at once, and one that hangs keeps no other back."""
    calls = [threading.Event().wait, lambda: None, _fails]
    # A busy machine may take longer than a second to begin a call, but not each time.
    wait_until(lambda: which_answer(calls, within_s=1.0) == [False, True, True])
    assert which_answer([], within_s=1.0) == []
