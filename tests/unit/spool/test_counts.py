"""counts: the jobs of the last hour and day, in one small file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.spool import counts
from queuectl.spool.counts import DRAINED, MAX_BYTES, MINUTES, QUARTERS, Counts, Ended, Row
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT

NOON = int(NOON_AT)


def test_counts_are_read_as_they_were_written(spool: SpoolDir) -> None:
    """Rows, samples and how the last pool ended survive; nothing is left in tmp/."""
    made = counts.merge(Counts(), [Row(NOON, 3, 1, 2, 7, 4)], NOON_AT, Ended("host-1-abcd", DRAINED, NOON_AT))
    counts.write(spool, made)
    assert counts.read(spool) == made
    assert made.minutes == made.quarters == (Row(NOON, 3, 1, 2, 7, 4),)
    assert os.listdir(spool.tmp_dir) == []


def test_counts_of_one_span_are_added_and_its_deepest_sample_stays() -> None:
    """Two minutes are two rows of the hour and one row of the day, whatever the order they come in."""
    fresh = [Row(NOON + 60, 1, 0, 1, 9, 1), Row(NOON, 2, 1, 0, 3, 2), Row(NOON, 5, 0, 0, None, None)]
    made = counts.merge(Counts(), fresh, NOON_AT + 61)
    assert made.minutes == (Row(NOON, 7, 1, 0, 3, 2), Row(NOON + 60, 1, 0, 1, 9, 1))
    assert made.quarters == (Row(NOON, 8, 1, 1, 9, 1),)
    empty = counts.merge(Counts(), [Row(NOON, 1), Row(NOON, waiting=0, running=0)], NOON_AT)
    assert empty.minutes == (Row(NOON, 1, 0, 0, 0, 0),)  # a sample of an empty queue is one


def test_size_is_bounded_and_old_rows_go() -> None:
    """An hour of minutes and a day of quarters are kept, a week is not; nor is what a wrong clock has written."""
    made = Counts()
    last_day = range(6 * 24 * 60, 7 * 24 * 60)
    for minute in (*range(0, last_day[0], 30), *last_day):
        made = counts.merge(made, [Row(NOON + 60 * minute, 10**6, 10**6, 10**6, 10**6, 10**6)], NOON_AT + 60 * minute)
    assert (len(made.minutes), len(made.quarters)) == (MINUTES, QUARTERS)
    assert made.minutes[-1].at - made.minutes[0].at == 59 * 60
    assert counts.merge(made, [], NOON_AT).minutes == ()  # the clock was a week ahead


def test_totals_only_grow() -> None:
    """They count on when rows are dropped, whatever their clock said."""
    made = counts.merge(Counts(), [Row(NOON, 3, 2, 1)], NOON_AT)
    assert counts.merge(made, [Row(NOON + 90000, 1), Row(1, 0, 1)], NOON_AT + 90000).totals == (4, 3, 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"minutes": [[1, -1, 0, 0, null, null]]}',
        b'{"minutes": [["x"]]}',
        b'{"minutes": 7, "quarters": []}',
        b'{"ended": ["a", "b"]}',
        b'{"minutes": [[1e400, 1]]}',
        b"[" * 100_000,
        b" " * (MAX_BYTES + 1),
    ],
)
def test_torn_and_foreign_content_counts_as_none(spool: SpoolDir, content: bytes) -> None:
    """P11: whatever is in the file, a pool begins anew and nobody fails."""
    Path(spool.counts_path).write_bytes(content)
    assert counts.read(spool) is None


def test_a_folder_in_its_place_counts_as_none(spool: SpoolDir) -> None:
    """P11: what is no regular file is not read."""
    os.mkdir(spool.counts_path)
    assert counts.read(spool) is None


def test_a_key_of_a_later_version_is_ignored(spool: SpoolDir) -> None:
    """An older queuectl reads the rows that it knows."""
    Path(spool.counts_path).write_bytes(b'{"minutes": [[60, 1, 0, 0, null, null]], "more": {"x": 1}}')
    assert counts.read(spool) == Counts(minutes=(Row(60, 1),))
