"""arrivals: looking at files again that are no jobs so far, at a bounded price."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from queuectl.jobs.verdict import Arriving, Foreign, Stuck, Unreadable
from queuectl.pool.arrivals import Arrivals
from queuectl.spool.folder import SpoolDir
from queuectl.system import files
from tests.helpers import FakeClock, wait_until, write_drop

TICK_S = 0.2


@pytest.fixture
def arrivals(spool: SpoolDir, clock: FakeClock) -> Arrivals:
    """What arrives in a spool, with `settle_s` of 2 s."""
    return Arrivals(spool, settle_s=2.0, clock=clock)


def _unreadable(path: Path) -> Unreadable:
    return Unreadable(files.sig_of(str(path)), "it cannot be read")


def _arriving(path: Path) -> Arriving:
    return Arriving(files.sig_of(str(path)), "no job so far")


def _stuck(path: Path) -> Stuck:
    return Stuck(files.sig_of(str(path)), str(path), "it cannot be moved")


def _tries(arrivals: Arrivals, clock: FakeClock, path: Path, seconds: float) -> list[float]:
    """When a file in trouble is tried within so many seconds, each try being in vain."""
    began_s, tried = clock.monotonic(), []
    for _ in range(round(seconds / TICK_S)):
        clock.advance(TICK_S)
        for name in arrivals.changed():
            tried.append(round(clock.monotonic() - began_s, 1))
            arrivals.add(name, _unreadable(path))
    return tried


def test_a_file_in_trouble_is_tried_more_and_more_seldom(arrivals: Arrivals, spool: SpoolDir, clock: FakeClock) -> None:
    """P6: the pauses double up to 30 s; within ten minutes there are some 25 tries and not 3,000."""
    path = write_drop(spool, "a.json", "{}")
    arrivals.add("a.json", _unreadable(path))
    tried = _tries(arrivals, clock, path, 600)
    pauses = [later - sooner for sooner, later in itertools.pairwise(tried)]
    assert tried[0] <= 0.4 and len(tried) <= 30
    assert max(pauses) <= 31 and pauses[-1] >= 29


@pytest.mark.skipif(os.name == "nt", reason="the mode of a file tells nothing there")
def test_a_cured_file_is_tried_within_seconds(arrivals: Arrivals, spool: SpoolDir, clock: FakeClock) -> None:
    """P6: a new mode or owner is a change, so a file that was cured does not wait for its next try."""
    path = write_drop(spool, "a.json", "{}")
    for _ in range(9):
        arrivals.add("a.json", _stuck(path))
    before = files.sig_and_change(str(path))

    def cured() -> bool:
        path.chmod(path.stat().st_mode ^ 0o004)
        return files.sig_and_change(str(path)) != before

    wait_until(cured)
    clock.advance(5.0)
    assert list(arrivals.changed()) == ["a.json"]


def test_an_arriving_file_is_looked_at_in_each_pass(arrivals: Arrivals, spool: SpoolDir, clock: FakeClock) -> None:
    """A change is seen at the next pass, however long the file has been arriving."""
    path = write_drop(spool, "a.json", '{"comm')
    arrivals.add("a.json", _arriving(path))
    for _ in range(9):
        clock.advance(TICK_S)
        assert list(arrivals.changed()) == []
    path.write_text('{"command": "true"}', encoding="utf-8")
    clock.advance(TICK_S)
    assert list(arrivals.changed()) == ["a.json"]


def test_a_file_is_quiet_only_if_it_was_looked_at(arrivals: Arrivals, spool: SpoolDir, clock: FakeClock) -> None:
    """A file that nobody had the time to look at is not refused for having been quiet."""
    path = write_drop(spool, "a.json", '{"comm')
    arrivals.add("a.json", _arriving(path))
    clock.advance(60.0)
    assert list(arrivals.quiet()) == []
    assert list(arrivals.changed()) == []
    assert [name for name, _ in arrivals.quiet()] == ["a.json"]


def test_looks_take_a_twentieth_of_the_time(
    arrivals: Arrivals, spool: SpoolDir, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: with 5,000 files and 1 ms a look, a pass each 0.2 s takes 11 ms at most, and every file has its turn."""
    sig = files.FileSig(1, 2, 3)
    for number in range(5000):
        arrivals.add(f"{number}.json", Foreign(sig, ""))
    seen: list[str] = []

    def look(path: str) -> tuple[files.FileSig, int]:
        seen.append(os.path.basename(path))
        clock.advance(0.001)
        return sig, 0

    monkeypatch.setattr(files, "sig_and_change", look)
    for _ in range(600):
        clock.advance(TICK_S)
        before_s = clock.monotonic()
        assert list(arrivals.changed()) == []
        assert clock.monotonic() - before_s <= 0.012
    assert len(set(seen)) == 5000


def test_a_closed_folder_ends_no_pool_and_makes_no_file_quiet(
    arrivals: Arrivals, spool: SpoolDir, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: while pending/ cannot be looked into, the files in it stay what they were."""
    path = write_drop(spool, "a.json", '{"comm')
    arrivals.add("a.json", _arriving(path))

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    clock.advance(TICK_S)
    with monkeypatch.context() as patch:
        patch.setattr(files, "sig_and_change", refuse)
        assert list(arrivals.changed()) == []
    assert "a.json" in arrivals and len(arrivals) == 1


def test_a_drain_waits_for_trouble_that_may_pass(arrivals: Arrivals, spool: SpoolDir) -> None:
    """A file in trouble is waited for until its third try in vain; a foreign one is not waited for."""
    path = write_drop(spool, "a.json", "{}")
    counts = []
    stuck = _stuck(path)
    for declined in (Foreign(stuck.sig, "no job"), stuck, stuck, stuck):
        arrivals.add("a.json", declined)
        counts.append(len(arrivals))
    assert counts == [0, 1, 1, 0]
