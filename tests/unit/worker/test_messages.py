"""reports: what a worker says arrives as it was said."""

from __future__ import annotations

from queuectl.jobs.claim import Declined
from queuectl.jobs.settle import Settled
from queuectl.model.lifecycle import Outcome
from queuectl.system.disk import FileSig
from queuectl.worker.messages import Finished, Passed, Report, Started, Trouble, Vanished, pack, unpack

NO_UTF8 = "caf\udce9.json"


def test_every_report_arrives_as_it_was() -> None:
    """Also the name of a file that is no UTF-8, and every field that may be None."""
    failed = Outcome("failed", 1, "no such host", 0.25)
    said: list[Report] = [
        Started(NO_UTF8, "caf", 2, "echo café"),
        Finished(
            "a.json", "a", 1, Outcome("succeeded", 0, "", 0.001), Settled("done", "a.json", None, None, ""), 3, "x"
        ),
        Finished("a.json", "a", 1, failed, Settled("pending", "a,due=x.json", 1.5e9, 2.0, "again"), 0, ""),
        Passed(NO_UTF8, Declined("arriving", NO_UTF8, "cut short", sig=FileSig(2**63, 5, 2**62), hint="wait")),
        Passed("b.json", Declined("later", "b,due=x.json", due_at=1.5e9)),
        Passed("c.jsonl", Declined("split", "c.jsonl", made=3)),
        Trouble("No space left on device"),
        Vanished("a", Outcome("cancelled", None, "its file was taken away")),
    ]
    heard = unpack(pack(said))
    assert heard == said
    assert [type(each) for each in heard] == [type(each) for each in said]
    assert isinstance(heard[3], Passed) and isinstance(heard[3].declined.sig, FileSig)
    assert unpack(pack([])) == []
