"""chart: plots of what ended and what waited."""

from __future__ import annotations

import re

import pytest

from queuectl.monitor import chart
from queuectl.monitor.rows import Bucket

HOUR = (chart.HOUR, 60)


def buckets(*counts: tuple[int, int, int | None]) -> list[Bucket]:
    """Buckets of a minute: done, failed, waiting."""
    return [Bucket(60.0 * number, done, failed, waiting, 0) for number, (done, failed, waiting) in enumerate(counts)]


def test_nothing_to_show_is_no_plot() -> None:
    """A queue that did nothing, or that nobody counted, has no empty axes."""
    for none in ([], buckets((0, 0, 0)), buckets((0, 0, None), (0, 0, None))):
        assert chart.throughput(none, *HOUR) is None
        assert chart.depth(none, *HOUR) is None


@pytest.mark.parametrize(("highest", "top"), [(1, 1), (2, 2), (3, 4), (7, 8), (11, 20), (41, 60), (999, 1000)])
def test_an_axis_ends_at_a_round_number(highest: int, top: int) -> None:
    """The top is not below the highest value, and its half is a whole number if there is one."""
    made = chart.depth(buckets((0, 0, highest)), *HOUR)
    assert made is not None
    assert made.marks == (f"{top:,}", f"{top // 2:,}" if top > 1 else "", "0")


def test_failed_jobs_stand_at_the_bottom_and_are_always_seen() -> None:
    """What failed differs by place and stripes from what is done; one among thousands has a height."""
    made = chart.throughput(buckets((5000, 1, 0), (0, 0, 0), (0, 3, 0)), *HOUR)
    assert made is not None
    assert made.caption == "5,000 done, 4 failed (striped)"
    assert [bar.y + bar.height for bar in made.failed] == [100.0, 100.0]
    assert made.failed[0].height == chart._LEAST_PERCENT
    assert made.values == "5000,1 0,0 0,3"


def test_a_time_without_a_sample_stays_empty() -> None:
    """The line of what waited is interrupted where nobody counted: unknown is not 0."""
    made = chart.depth(buckets((0, 0, 4), (0, 0, None), (0, 0, 2), (0, 0, 1)), *HOUR)
    assert made is not None
    assert made.line.count("M") == 2
    assert made.values == "4 - 2 1"
    assert made.caption == "4 at most"


def test_marks_stay_inside_the_plot() -> None:
    """Whatever the counts are: no mark leaves its plot."""
    odd = buckets((10**30, 10**30, 10**30), (-5, 3, -7), (1, -1, 0))
    for made in (chart.throughput(odd, *HOUR), chart.depth(odd, *HOUR)):
        assert made is not None
        heights = [float(each) for each in re.findall(r"V(-?[\d.e+-]+)", made.area)]
        assert all(0 <= each <= 100 for each in heights)
        for bar in made.failed:
            assert min(bar.x, bar.y, bar.width, bar.height) >= 0
            assert bar.x + bar.width <= 100
            assert bar.y + bar.height <= 100
