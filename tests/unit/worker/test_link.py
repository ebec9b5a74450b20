"""link: orders are remembered until they are carried out, reports until they are sent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from multiprocessing import Pipe

import pytest

from queuectl.jobs.verdict import Gone
from queuectl.model.lifecycle import CANCELLED
from queuectl.worker.executors.base import Ended, Process, Spec
from queuectl.worker.link import Link
from queuectl.worker.messages import (
    Abandon,
    Cancel,
    Feed,
    Kill,
    Order,
    Passed,
    Report,
    SplitFile,
    Stop,
    pack_order,
    unpack,
)
from tests.helpers import Desk, FakeClock


class NoCommands:
    """An executor whose commands never end."""

    sources: tuple[int, ...] = ()

    def wake(self) -> None:
        """Not called."""

    def start(self, spec: Spec) -> Process:
        """Not called."""
        raise NotImplementedError

    def ended(self) -> list[tuple[Process, Ended]]:
        """None has."""
        return []


class Ends:
    """A link and the supervisor's end of its pipe."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.supervisor, self.worker = Pipe()
        self.link = Link(self.worker, NoCommands(), clock)  # type: ignore[arg-type]  # an empty tuple is as good

    def order(self, *orders: Order) -> None:
        """Send orders, and have them taken in: one with each wait."""
        for order in orders:
            self.supervisor.send_bytes(pack_order(order))
        for _ in orders:
            self.link.wait(0)

    def reports(self) -> list[Report] | None:
        """The reports of one message; None if none was sent."""
        return unpack(self.supervisor.recv_bytes()) if self.supervisor.poll(0) else None


@pytest.fixture
def ends(clock: FakeClock) -> Iterator[Ends]:
    """See `Ends`."""
    made = Ends(clock)
    yield made
    made.supervisor.close()
    made.worker.close()


def test_names_are_kept_in_their_order(ends: Ends) -> None:
    """A file to be split is a name like others, and marked."""
    ends.order(Feed(["a.json", "b.json"]), SplitFile("many.jsonl"), Feed(["c.json"]))
    assert list(ends.link.names) == ["a.json", "b.json", "many.jsonl", "c.json"]
    assert ends.link.to_split == {"many.jsonl"}
    assert not ends.link.is_stopping


@pytest.mark.parametrize(("order", "flags"), [(Stop(), (1, 0, 0)), (Kill(), (1, 1, 0)), (Abandon(), (1, 1, 1))])
def test_an_order_to_end_includes_the_milder_ones(ends: Ends, order: Order, flags: tuple[int, int, int]) -> None:
    """A worker that is to kill its job claims no other; one whose spool is gone kills its job as well."""
    ends.clock.advance(7)
    ends.order(order)
    link = ends.link
    assert (link.is_stopping, link.is_killing, link.is_abandoning) == flags
    assert link.stop_asked_s == ends.clock.monotonic()


def test_a_request_to_cancel_is_for_one_attempt_of_one_job(ends: Ends, desk: Desk) -> None:
    """P4: a late request must not end the next attempt."""
    claimed = desk.start(desk.enqueue(id="job"))
    for job_id, attempt in (("job", 2), ("other", 1)):
        ends.order(Cancel(job_id, attempt, CANCELLED))
        assert ends.link.cancels(claimed) is None
    ends.order(Cancel("job", 1, "a person asked"), Cancel("next", 1, "another one"))
    cancel = ends.link.cancels(claimed)
    assert cancel is not None and cancel.reason == "a person asked"
    assert ends.link.has_news
    ends.link.forget_news()
    assert ends.link.cancels(claimed) is None


def test_a_supervisor_that_is_gone_stops_its_worker(ends: Ends) -> None:
    """Found by a receive; and nothing is sent any more."""
    ends.supervisor.close()
    ends.link.wait(60)
    assert ends.link.is_stopping and not ends.link.channel.is_connected
    ends.link.report(Passed("a.json", Gone()))
    ends.link.flush()
    assert ends.link.flush_by_s == math.inf, "the loop would go round without a wait"
    ends.link.wait(0)


def test_a_supervisor_that_is_gone_is_found_by_a_report(ends: Ends) -> None:
    """As by a receive: the first message may still fit into the pipe."""
    ends.supervisor.close()
    for _ in range(2):
        ends.link.flush()
    assert ends.link.is_stopping and not ends.link.channel.is_connected


def test_reports_wait_for_others_while_there_are_names(ends: Ends) -> None:
    """They are sent when half of the names are left, or after 40 ms, and each once."""
    link = ends.link
    ends.order(Feed(["a", "b", "c", "d"]))
    link.names.popleft()
    link.report(Passed("a", Gone()))
    link.flush_in_time()
    assert ends.reports() is None
    link.names.popleft()
    link.report(Passed("b", Gone()))
    link.flush_in_time()
    assert ends.reports() == [Passed("a", Gone()), Passed("b", Gone())]
    ends.order(Feed(["e", "f"]))
    link.report(Passed("c", Gone()))
    link.flush_in_time()
    assert ends.reports() is None
    ends.clock.advance(0.05)
    link.flush_in_time()
    assert ends.reports() == [Passed("c", Gone())]


def test_reports_are_sent_in_time_although_nothing_else_happens(ends: Ends) -> None:
    """Other runs may go on for hours: the loop knows when a report has to be sent."""
    assert ends.link.flush_by_s == math.inf
    ends.order(Feed(["a", "b", "c", "d"]))
    ends.link.report(Passed("a", Gone()))
    assert ends.link.flush_by_s == pytest.approx(ends.clock.monotonic() + 0.04)
    ends.clock.advance(0.05)
    ends.link.flush_in_time()
    assert ends.link.flush_by_s == math.inf
