"""hold and release: a waiting job is kept from being run by its file's name."""

from __future__ import annotations

import pytest

from queuectl.errors import QueuectlError, UnknownJobError
from queuectl.jobs.hold import hold, release
from queuectl.model.lifecycle import PENDING
from tests.helpers import Desk, listing


def test_hold_and_release_can_be_repeated(desk: Desk) -> None:
    """A job that is held already stays held, and one that is not held stays free."""
    desk.enqueue(id="a")
    job = hold(desk.session, "a")
    assert (job.state, listing(desk.spool)) == (PENDING, {"pending": ["a,hold.json"]})
    hold(desk.session, "a")
    assert listing(desk.spool) == {"pending": ["a,hold.json"]}
    for _ in range(2):
        release(desk.session, "a")
        assert listing(desk.spool) == {"pending": ["a.json"]}


def test_hold_of_a_running_job_says_where_it_is(desk: Desk) -> None:
    """Only a waiting job can be held; the error names the job's state and the folder that counts."""
    desk.start(desk.enqueue(id="a"))
    with pytest.raises(QueuectlError, match="job 'a' is in running/: only jobs in pending/ can be held") as caught:
        hold(desk.session, "a")
    assert caught.value.hint == "queuectl show a"
    with pytest.raises(UnknownJobError):
        release(desk.session, "b")
