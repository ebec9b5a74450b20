"""tail: output as it is written, run after run, and never another job's."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.errors import QueuectlError
from queuectl.jobs.verdict import Claimed
from queuectl.model.lifecycle import Outcome
from queuectl.monitor.logs import Piece, Tail, start_of_last
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock
from queuectl.worker.output import OutputSlot
from tests.helpers import Desk

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 3, "", 0.01)


class Hands(Desk):
    """A worker that also keeps what its commands print, as the real one does."""

    def __init__(self, spool: SpoolDir) -> None:
        super().__init__(spool, clock=Clock())
        self.slot = OutputSlot(spool)
        self.fd = -1

    def prepare(self, name: str) -> Claimed:
        """Start a job; what it prints goes to `fd`."""
        claimed = self.start(name)
        self.fd = self.slot.open(claimed.lease)
        return claimed

    def print(self, data: bytes) -> None:
        """What the running command prints."""
        os.write(self.fd, data)

    def end(self, claimed: Claimed, outcome: Outcome) -> None:
        """Its end, in the worker's order: the log, then the outcome."""
        self.slot.keep(claimed.job_id, claimed.attempt)
        self.settlements.settle(claimed, outcome)


@pytest.fixture
def hands(spool: SpoolDir) -> Iterator[Hands]:
    """A worker on the same spool."""
    made = Hands(spool)
    yield made
    made.slot.close()
    made.close()


def taken(tail: Tail) -> list[tuple[int, bytes]]:
    """What a look gives."""
    return [tuple(piece) for piece in tail.take()]  # type: ignore[misc]


def test_output_comes_as_it_is_written(api: Spool, hands: Hands) -> None:
    """Each look gives what is new, half lines too; what is printed after the last look comes from the log."""
    claimed = hands.prepare(hands.enqueue(id="a"))
    tail = Tail(api.session, api.get("a"))
    assert taken(tail) == []
    hands.print(b"one\ntw")
    assert taken(tail) == [(1, b"one\ntw")]
    assert taken(tail) == []
    hands.print(b"o\n")
    hands.end(claimed, OK)
    assert taken(tail) == [(1, b"o\n")]
    assert taken(tail) == []


def test_output_goes_on_over_all_runs(api: Spool, hands: Hands) -> None:
    """From run to run, also where whole runs passed between two looks or a run printed nothing."""
    name = hands.enqueue(id="a", max_retries=9, backoff_base=0)
    tail = Tail(api.session, api.get("a"))
    assert taken(tail) == []
    for text in (b"1", b"", b"3"):
        claimed = hands.prepare(name)
        if text:
            hands.print(text)
        hands.end(claimed, FAILED)
    claimed = hands.prepare(name)
    hands.print(b"4")
    assert taken(tail) == [(1, b"1"), (3, b"3"), (4, b"4")]
    hands.end(claimed, FAILED)
    claimed = hands.prepare(name)
    hands.print(b"5")
    hands.end(claimed, OK)
    assert taken(tail) == [(5, b"5")]


def test_another_job_s_output_is_never_taken_for_ours(api: Spool, hands: Hands) -> None:
    """A silent run leaves its file to the worker's next job: what that prints is not shown."""
    claimed = hands.prepare(hands.enqueue(id="a"))
    tail = Tail(api.session, api.get("a"))
    run = tail._run()
    assert run is not None and taken(tail) == []
    hands.end(claimed, OK)
    assert hands.lease.renew()
    hands.prepare(hands.enqueue(id="b"))
    hands.print(b"of b")
    # Read in the middle of it: the run was looked at before it ended, its file after the next job had printed to it.
    assert list(tail._take_live(run)) == []
    assert taken(tail) == []


def test_lines_bounds_only_what_is_there_at_first(api: Spool, hands: Hands) -> None:
    """-n cuts the output so far; nothing of what follows is left out."""
    claimed = hands.prepare(hands.enqueue(id="a", max_retries=1, backoff_base=0))
    hands.print(b"1\n2\n3\n")
    tail = Tail(api.session, api.get("a"), lines=2)
    assert taken(tail) == [(1, b"2\n3\n")]
    hands.print(b"4\n5\n6\n")
    assert taken(tail) == [(1, b"4\n5\n6\n")]
    hands.end(claimed, FAILED)
    claimed = hands.prepare("a.json")
    hands.print(b"7\n8\n9\n")
    assert taken(tail) == [(2, b"7\n8\n9\n")]


def test_lines_bounds_nothing_where_nothing_was_printed(api: Spool, hands: Hands) -> None:
    """What comes after the first look is shown in full."""
    hands.prepare(hands.enqueue(id="a"))
    tail = Tail(api.session, api.get("a"), lines=2)
    assert taken(tail) == []
    hands.print(b"1\n2\n3\n")
    assert taken(tail) == [(1, b"1\n2\n3\n")]


def test_tail_begins_with_the_newest_run(api: Spool, hands: Hands) -> None:
    """Of a job that has run, the newest run is shown and no earlier one."""
    name = hands.enqueue(id="a", max_retries=1, backoff_base=0)
    for text in (b"1", b"2"):
        claimed = hands.prepare(name)
        hands.print(text)
        hands.end(claimed, FAILED)
    assert taken(Tail(api.session, api.get("a"))) == [(2, b"2")]


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_tail_follows_no_link(api: Spool, hands: Hands, tmp_path: Path) -> None:
    """P10: logs/ may be open to others; what is no file there is not read."""
    hands.run(hands.enqueue(id="a"), OK)
    (tmp_path / "secret").write_text("secret")
    Path(api.folder.log_path("a", 1)).symlink_to(tmp_path / "secret")
    with pytest.raises(QueuectlError, match="not a regular file"):
        taken(Tail(api.session, api.get("a")))


@pytest.mark.parametrize(("lines", "at"), [(0, 9), (1, 6), (2, 2), (3, 0), (9, 0)])
def test_last_lines_are_found(lines: int, at: int) -> None:
    """Where the last lines begin."""
    assert start_of_last(io.BytesIO(b"a\nbcd\nef\n"), lines) == at
    assert Piece(1, b"") == (1, b"")
