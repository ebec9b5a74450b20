"""admission: whether a claimed job may start now."""

from __future__ import annotations

from queuectl.flows.admission import NEEDS
from queuectl.jobs.verdict import Gated
from tests.helpers import Desk, names_in, write_drop


def test_a_machine_that_runs_jobs_itself_has_no_resources(desk: Desk) -> None:
    """A record, and a drop whose name does not say what it needs, go back under their full names, uncounted."""
    name = desk.enqueue(id="job1", resources={"GPU": 1})
    assert name == "job1,needs=GPU-1.json"
    assert desk.claim(name) == Gated(name, "default", "", NEEDS)
    write_drop(desk.spool, "drop.json", {"command": "true", "resources": {"GPU": 2}})
    gated = desk.claim("drop.json")
    assert isinstance(gated, Gated) and gated.name.endswith(",needs=GPU-2.json")
    assert len(names_in(desk.spool, "pending")) == 2
    assert [event.event for event in desk.record("pending", gated.name).history] == ["enqueued"]
