"""editing: a record put back in one step, and the name of its file after it."""

from __future__ import annotations

import json
from pathlib import Path

from queuectl.api import Spool
from queuectl.jobs.edit import Editor
from queuectl.model.lifecycle import PENDING
from tests.helpers import Desk, listing


def edit(desk: Desk, **keys: object) -> None:
    """Edit the job `job`."""
    made = Editor(desk.session)
    draft = made.draft("job")
    made.put_back(draft, json.dumps({**json.loads(draft.text), **keys}))


def test_the_name_follows_the_priority(desk: Desk) -> None:
    """The name of a waiting job says its priority, also where an edit before was cut short before it could."""
    desk.enqueue(id="job")
    edit(desk, priority=5)
    assert listing(desk.spool)["pending"] == ["job,prio=5.json"]
    Path(desk.spool.path(PENDING, "job,prio=5.json")).rename(desk.spool.path(PENDING, "job.json"))
    edit(desk, tags=["x"])
    assert listing(desk.spool)["pending"] == ["job,prio=5.json"]


def test_a_held_job_stays_held(desk: Desk) -> None:
    """An edit changes the record; the flag in the name is the person's."""
    desk.enqueue(id="job")
    Spool(desk.spool.root).hold("job")
    edit(desk, priority=5)
    assert listing(desk.spool)["pending"] == ["job,prio=5,hold.json"]


def test_a_key_that_is_ignored_is_warned_of_once(desk: Desk) -> None:
    """What an edit brings in by mistake is on record and handed to the command, and not again by the next edit."""
    desk.enqueue(id="job")
    edit(desk, retries=5)
    edit(desk, tags=["x"])
    assert desk.events(PENDING, "job.json") == ["enqueued", "warning"]
