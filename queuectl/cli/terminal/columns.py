"""Shares the width of a terminal among the columns of a table: nothing wraps, and long texts get the space.

Empty columns are left out. On a narrow terminal, long texts are cut first, as long as they stay readable. Then ids are
shortened to a beginning that no other job has, which every command accepts. Then the least useful columns are left out.
Computes only.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence

GAP = 2
# The columns to cut, and their shares of the space: the command is the most useful.
_LONG = {"COMMAND": 2, "ERROR": 1, "NOTE": 2, "OUTCOME": 2, "RUNNING": 2, "VALUE": 2}
# Per share: the width below which ids are shortened, and the width below which columns are left out.
_WANTED, _LEAST = 16, 10
# Before the state is left out, texts shrink further: a list without it is nearly useless.
_LEAST_BESIDE_STATE = 6
# The columns to shorten.
_NAMES = ("ID", "FILE", "WORKER")
_NAME_LEAST = 8
# The columns to leave out on a narrow terminal, in this order.
_DROPPED = (
    "TAGS",
    "HOST",
    "INBOX",
    "ATTEMPTS",
    "#",
    "PID",
    "WEIGHT",
    "PER KEY",
    "FAILURES",
    "WHEN",
    "SINCE",
    "TIME",
    "STATE",
)


def fit(headers: Sequence[str], rows: Sequence[Sequence[int]], room: int, *, name_chars: int = 0) -> dict[int, int]:
    """Return the places of the columns to show, from left to right, and their widths; with the gaps at most `room`.

    Args:
        headers: the headings.
        rows: the width of each cell.
        room: the width of the terminal.
        name_chars: the fewest characters of a shortened id; 0 means any number.
    """
    natural = [max([len(header), *(row[place] for row in rows)]) for place, header in enumerate(headers)]
    shown = [place for place in range(len(headers)) if place == 0 or any(row[place] for row in rows)]
    dropped = [place for name in _DROPPED for place in shown if headers[place] == name]
    while True:
        widths = _widths(headers, natural, shown, room, name_chars)
        texts = [place for place in shown if headers[place] in _LONG]
        least = _LEAST_BESIDE_STATE if dropped and headers[dropped[0]] == "STATE" else _LEAST
        enough = all(widths[place] >= min(natural[place], least * _LONG[headers[place]]) for place in texts)
        if not dropped or (enough and _total(widths) <= room):
            break
        shown.remove(dropped.pop(0))
    while _total(widths) > room and max(widths.values()) > 1:
        widths[max(widths, key=widths.__getitem__)] -= 1
    return widths


def _widths(
    headers: Sequence[str], natural: Sequence[int], shown: Sequence[int], room: int, name_chars: int
) -> dict[int, int]:
    """Return the widths of the shown columns; the total may be too large."""
    shares = {place: _LONG[headers[place]] for place in shown if headers[place] in _LONG}
    texts = sorted(shares, key=lambda place: natural[place] / shares[place])
    labels = [place for place in shown if headers[place] in _NAMES]
    widths = {place: natural[place] for place in shown}
    left = room - GAP * (len(shown) - 1) - sum(widths[place] for place in shown if place not in (*texts, *labels))
    for number, place in enumerate(labels):
        wanted = sum(min(natural[each], _WANTED * share) for each, share in shares.items())
        rest = (left - wanted) // (len(labels) - number)
        widths[place] = min(natural[place], max(name_chars, _NAME_LEAST, rest))
        left -= widths[place]
    for place in texts:
        widths[place] = max(1, min(natural[place], left * shares[place] // sum(shares.values())))
        left -= widths[place]
        del shares[place]
    return widths


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def unique_chars(names: Iterable[str], known: Iterable[str]) -> int:
    """Return how many characters distinguish each of some names from all known names, ignoring case as ids do."""
    shown = {name.lower() for name in names}
    ordered = sorted({*shown, *(name.lower() for name in known)})
    most = 0
    for name in shown:
        at = bisect.bisect_left(ordered, name)
        for other in (*ordered[max(0, at - 1) : at], *ordered[at + 1 : at + 2]):
            same = next((n for n, (a, b) in enumerate(zip(name, other, strict=False)) if a != b), len(name))
            most = max(most, min(len(name), same + 1))
    return most
