"""messages: an order and a report arrive as they were sent."""

from __future__ import annotations

from typing import get_args

import pytest

from queuectl.jobs.verdict import Arriving, Declined, Later, Settled, Split
from queuectl.model.lifecycle import Outcome
from queuectl.system.files import FileSig
from queuectl.worker.messages import (
    Abandon,
    Cancel,
    Defect,
    Feed,
    Finished,
    Kill,
    Order,
    Passed,
    Report,
    SplitFile,
    Started,
    Stop,
    Trouble,
    Vanished,
    pack,
    pack_order,
    unpack,
    unpack_order,
)

NO_UTF8 = "caf\udce9.json"


def test_every_report_arrives_as_it_was() -> None:
    """Also the name of a file that is no UTF-8, and every field that may be None."""
    failed = Outcome("failed", 1, "no such host", 0.25)
    said: list[Report] = [
        Started(NO_UTF8, "caf", 2, "echo café"),
        Finished(
            "a.json", "a", 1, Outcome("succeeded", 0, "", 0.001), Settled("done", "a.json", None, None, ""), 3, 3, "x"
        ),
        Finished("a.json", "a", 1, failed, Settled("pending", "a,due=x.json", 1.5e9, 2.0, "again"), 0, 2, ""),
        Passed(NO_UTF8, Arriving(FileSig(2**63, 5, 2**62), NO_UTF8, "wait")),
        Passed("b.json", Later("b,due=x.json", 1.5e9)),
        Passed("c.jsonl", Split("c.jsonl", 3, ("x-1.json", "x-2.json"))),
        Trouble("No space left on device"),
        Vanished("a.json", "a", Outcome("cancelled", None, "its file was taken away")),
        Defect("a.json", "a", "TypeError: no such thing (settle.py:7)"),
    ]
    heard = unpack(pack(said))
    assert heard == said
    assert [type(each) for each in heard] == [type(each) for each in said]
    assert isinstance(heard[3], Passed) and isinstance(heard[3].declined.sig, FileSig)
    assert unpack(pack([])) == []


@pytest.mark.parametrize("kind", get_args(Declined), ids=lambda kind: kind.__name__)
def test_every_verdict_arrives_as_the_kind_it_is(kind: type[Declined]) -> None:
    """A new kind crosses the pipe without a line here: its number, then its facts."""
    facts = [FileSig(1, 2, 3) if field == "sig" else ("b.json",) if field == "names" else 7 for field in kind._fields]
    for declined in (kind(*facts), kind(*[None if isinstance(fact, FileSig) else fact for fact in facts])):
        (heard,) = unpack(pack([Passed("a.json", declined)]))
        assert isinstance(heard, Passed) and heard == Passed("a.json", declined)
        assert type(heard.declined) is kind and list(map(type, heard.declined)) == list(map(type, declined))


@pytest.mark.parametrize(
    "order",
    [Feed([NO_UTF8, "b.json"]), SplitFile(NO_UTF8), Cancel("job", 2, "a person asked"), Stop(), Kill(), Abandon()],
)
def test_every_order_arrives_as_it_was(order: Order) -> None:
    """A worker gets the kind that was sent, also for the three kinds without fields, which equal each other."""
    received = unpack_order(pack_order(order))
    assert (type(received), received) == (type(order), order)
