"""The drawings of the dashboard: inline SVG of what finished lately. Computes only.

Nothing in them comes from a job but numbers. Good and bad differ by a pattern, not by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from queuectl.model import times
from queuectl.monitor.rows import Finish

_WIDTH, _HEIGHT = 320, 84
_SLOTS = 32
_STEPS = ((0.01, "10ms"), (0.1, "0.1s"), (1, "1s"), (10, "10s"), (60, "1m"), (600, "10m"), (3600, "1h"))

# Stripes for what ended badly; one definition serves the whole page.
PATTERN = (
    '<svg width="0" height="0" aria-hidden="true"><defs><pattern id="bad" width="4" height="4"'
    ' patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="stripe-a" width="4" height="4"/>'
    '<rect class="stripe-b" width="1.6" height="4"/></pattern></defs></svg>'
)


def throughput(finishes: Sequence[Finish]) -> str:
    """Draw jobs over time: equal parts of the span from the first to the last of them, side by side."""
    if not finishes:
        return ""
    first_at = finishes[0].ended_at
    span_s = max(finishes[-1].ended_at - first_at, 0.001)
    good, bad = [0] * _SLOTS, [0] * _SLOTS
    for each in finishes:
        at = min(_SLOTS - 1, max(0, int((each.ended_at - first_at) / span_s * _SLOTS)))
        (good if each.is_good else bad)[at] += 1
    labels = [(0, "start", f"{times.format_duration(span_s)} before"), (_WIDTH, "end", "the last")]
    return _bars(good, bad, labels, "How many jobs finished, over time")


def durations(finishes: Sequence[Finish]) -> str:
    """Draw jobs by how long they ran, each step some ten times the one before."""
    measured = [each for each in finishes if each.duration_s is not None]
    if not measured:
        return ""
    good, bad = [0] * (len(_STEPS) + 1), [0] * (len(_STEPS) + 1)
    for each in measured:
        at = sum((each.duration_s or 0.0) >= limit_s for limit_s, _ in _STEPS)
        (good if each.is_good else bad)[at] += 1
    step = _WIDTH / len(good)
    labels = [(round((number + 1) * step), "middle", text) for number, (_, text) in enumerate(_STEPS)]
    return _bars(good, bad, labels, "How long jobs ran")


def _bars(good: Sequence[int], bad: Sequence[int], labels: Sequence[tuple[int, str, str]], title: str) -> str:
    highest = max(one + other for one, other in zip(good, bad, strict=True)) or 1
    room = _HEIGHT - 18
    width = _WIDTH / len(good)
    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{title}</title>']
    for number, (one, other) in enumerate(zip(good, bad, strict=True)):
        x, top = number * width + 0.5, float(room)
        for count, kind in ((one, "good"), (other, "bad")):
            if count:
                high = max(1.0, count / highest * (room - 4))
                top -= high
                fill = ' fill="url(#bad)"' if kind == "bad" else ""
                place = f'x="{x:.1f}" y="{top:.1f}" width="{width - 1:.1f}" height="{high:.1f}"'
                parts.append(f'<rect class="{kind}"{fill} {place}/>')
    parts.append(f'<path class="axis" d="M0 {room}.5H{_WIDTH}"/>')
    parts += [f'<text x="{x}" y="{_HEIGHT - 5}" text-anchor="{anchor}">{text}</text>' for x, anchor, text in labels]
    return "".join(parts) + "</svg>"
