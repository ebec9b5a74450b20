"""chart: drawings of what finished lately."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from queuectl.monitor import chart
from queuectl.monitor.rows import Finish
from tests.helpers import NOON_AT

SOME = [Finish(NOON_AT + number, 10.0 ** (number % 9 - 3), number % 4 != 0) for number in range(200)]


def test_drawings_are_xml_and_have_a_title() -> None:
    """A drawing that is not whole would break the page; one without a title says nothing to who cannot see it."""
    for made in (chart.throughput(SOME), chart.durations(SOME), f"<div>{chart.PATTERN}</div>"):
        ET.fromstring(made)
    assert "<title>" in chart.throughput(SOME)


def test_bars_stay_inside_the_drawing() -> None:
    """Whatever the clocks say: jobs in no time, and jobs in the wrong order."""
    odd = [Finish(NOON_AT, 0.0, True), Finish(NOON_AT - 50, None, False), Finish(NOON_AT, 1e9, True)]
    for finishes in (SOME, SOME[:1], odd):
        for made in (chart.throughput(finishes), chart.durations(finishes)):
            bars = [each for each in ET.fromstring(made) if each.tag == "rect"]
            assert bars
            for bar in bars:
                x, y, width, height = (float(bar.attrib[key]) for key in ("x", "y", "width", "height"))
                assert x >= 0 and x + width <= 320
                assert y >= 0 and y + height <= 84


def test_good_and_bad_differ_by_more_than_colour() -> None:
    """What ended badly is striped."""
    bars = [each for each in ET.fromstring(chart.throughput(SOME)) if each.tag == "rect"]
    assert {(bar.attrib["class"], bar.get("fill")) for bar in bars} == {("good", None), ("bad", "url(#bad)")}


def test_nothing_finished_is_no_drawing() -> None:
    """Neither is a duration that nobody measured."""
    assert chart.throughput([]) == chart.durations([]) == ""
    assert chart.durations([Finish(NOON_AT, None, True)]) == ""
