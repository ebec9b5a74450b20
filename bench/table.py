"""Numbers as a table: ratios first, then values, each as its median and its range."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence


def spread(values: Iterable[float | None], digits: int = 3) -> str:
    """`median [lowest..highest]`; "-" where there is no value."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return number(known[0], digits)
    return f"{number(statistics.median(known), digits)} [{number(min(known), digits)}..{number(max(known), digits)}]"


def number(value: float, digits: int = 3) -> str:
    """A number with so many digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) < 1 else f"{value:.{max(0, digits - len(str(int(abs(value)))))}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], notes: Iterable[str] = ()) -> None:
    """Print one table."""
    print(f"\n## {title}\n")
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    print("\n" + "\n".join(notes), flush=True)


def others(share: float | None) -> list[str]:
    """The note that says how much of the machine others used."""
    return [] if share is None else [f"Others used {share:.0%} of the machine meanwhile."]
