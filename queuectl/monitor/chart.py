"""The charts of the dashboard: where the marks of a plot are, from counts per span of time. Computes only.

`templates/plot.svg` draws them. A plot holds nothing of a job but numbers. Jobs that failed are striped and at the
bottom, so that no meaning depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from queuectl.monitor.rows import Bucket

HOUR, DAY = "last hour", "last day"
_TIMES = {HOUR: ("1 h ago", "30 min", "now"), DAY: ("24 h ago", "12 h", "now")}
# The highest value of an axis: its half is a whole number as well, but for 1.
_TOPS = (1, 2, 4, 6, 8, 10)
# A share of a slot that stays empty, so that neighbours can be told apart.
_GAP = 0.2
# Even one failure among thousands of jobs is seen.
_LEAST_PERCENT = 2.0


class Bar(msgspec.Struct, frozen=True):
    """A rectangle, in percent of the plot."""

    x: float
    y: float
    width: float
    height: float


class Plot(msgspec.Struct, frozen=True):
    """What one chart shows. `area` and `line` are SVG paths, `slots` units wide and 100 high."""

    kind: str
    """`ended` or `depth`: a class of the style sheet."""
    title: str
    caption: str
    slots: int
    slot_s: int
    """What one slot spans, in seconds."""
    marks: tuple[str, str, str]
    """The values of the axis: top, half, bottom. A half with a fraction is ""."""
    times: tuple[str, str, str]
    area: str
    line: str
    failed: tuple[Bar, ...]
    values: str
    """The values of each slot for the script: `3` or `3,1`, separated by spaces; `-` means unknown."""


def throughput(buckets: Sequence[Bucket], span: str, slot_s: int) -> Plot | None:
    """Return the jobs that ended in each slot, or None if none has."""
    done = sum(max(0, each.done) for each in buckets)
    failed = sum(max(0, each.failed) for each in buckets)
    if not done + failed:
        return None
    top = top_of(max(each.done + each.failed for each in buckets))
    area, bars = [], []
    width = 100 / len(buckets)
    for number, each in enumerate(buckets):
        low = 100.0
        if each.failed > 0:
            high = max(_LEAST_PERCENT, each.failed / top * 100)
            low = max(0.0, 100 - high)
            bars.append(Bar(*(round(part, 2) for part in (number * width, low, width * (1 - _GAP), 100 - low))))
        if each.done > 0:
            upper = max(0.0, min(low - 1, low - each.done / top * 100))
            area.append(f"M{number} {low:.4g}V{upper:.4g}h{1 - _GAP:g}V{low:.4g}z")
    caption = f"{done:,} done" + (f", {failed:,} failed (striped)" if failed else "")
    values = " ".join(f"{each.done},{each.failed}" for each in buckets)
    return Plot(
        "ended", f"Ended, {span}", caption, len(buckets), slot_s, _marks(top), _TIMES[span], "".join(area), "",
        tuple(bars), values,
    )  # fmt: skip


def depth(buckets: Sequence[Bucket], span: str, slot_s: int) -> Plot | None:
    """Return how many jobs waited in each slot, or None if none did. A slot without a sample stays empty."""
    highest = max((each.waiting or 0 for each in buckets), default=0)
    if highest <= 0:
        return None
    top = top_of(highest)
    area, line = [], []
    is_open = False
    for number, each in enumerate(buckets):
        if each.waiting is None:
            is_open = False
            continue
        y = f"{100 - max(0, each.waiting) / top * 100:.4g}"
        area.append(f"M{number} 100V{y}h1V100z")
        line.append(f"V{y}h1" if is_open else f"M{number} {y}h1")
        is_open = True
    caption = f"{highest:,} at most"
    values = " ".join("-" if each.waiting is None else str(each.waiting) for each in buckets)
    return Plot(
        "depth", f"Waiting, {span}", caption, len(buckets), slot_s, _marks(top), _TIMES[span], "".join(area),
        "".join(line), (), values,
    )  # fmt: skip


def top_of(highest: int) -> int:
    """Return the least round number that is not below a count of 1 or more."""
    power = 1
    while highest > 10 * power:
        power *= 10
    return next(each * power for each in _TOPS if each * power >= highest)


def _marks(top: int) -> tuple[str, str, str]:
    return f"{top:,}", f"{top // 2:,}" if top % 2 == 0 else "", "0"
