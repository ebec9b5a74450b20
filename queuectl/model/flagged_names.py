"""Groups many usual names with flags at once: generated ids with a due time, a priority, an owner, a queue, a key.

A million such names may wait when a pool starts. Parsed one by one they take six seconds. So thousands are searched at
once, names with equal flags share the parsing of them, and the key is not looked at before the name has its turn.
Computes only.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict

import msgspec

from queuectl.model import names, order, times
from queuectl.model.names import NameParts

_DUE = ",due="
# So many names are looked at first, whether others are of this kind at all.
_SAMPLES = 20
# Where the time of a due name begins and ends in its flags, and where the other flags begin.
_TIME_AT, _TIME_END, _REST_AT = len(_DUE), len(_DUE) + len("20261124T031500"), len(_DUE) + len("20261124T031500Z")


class Group(msgspec.Struct):
    """Names that share their priority, owner and queue."""

    parts: NameParts
    """The parts of one of them, without those that the others do not share."""
    names: list[str] = []
    has_keys: bool = False
    """Some have a key."""
    sort_keys: list[str] = []
    """As in `order`, of those that could run now."""
    later: list[tuple[float, str]] = []
    """Those that are due later, with the time."""


def split(listed: list[str], now_at: float) -> tuple[list[Group], list[str]]:
    """Return the usual names with flags among these in groups, and all others."""
    by_flags: defaultdict[str, list[str]] = defaultdict(list)
    others: list[str] = []
    for start in range(0, len(listed), names.SPLIT_AT_ONCE):
        some = listed[start : start + names.SPLIT_AT_ONCE]
        if not any(_flags_line().fullmatch(name) for name in some[:: max(1, len(some) // _SAMPLES)]):
            others += some  # a listing mostly has names of one kind
            continue
        text = "\n".join(some)
        found = _flags_line().findall(text)
        if len(found) != len(some) or text.count("\n") != len(some) - 1:  # rarely: some names are not usual
            usual = [name for name in some if _flags_line().fullmatch(name)]
            known = set(usual)
            others += [name for name in some if name not in known]
            some, found = usual, [_flags_line().findall(name)[0] for name in usual]
        for flags, name in zip(found, some, strict=True):
            by_flags[flags].append(name)
    groups: dict[str, Group] = {}
    for flags, same in by_flags.items():
        due_at = _due_at(flags[_TIME_AT:_TIME_END]) if flags.startswith(_DUE) else 0.0
        if due_at is None:  # no such day
            others += same
            continue
        group = groups.get(rest := flags[_REST_AT:] if due_at else flags)
        if group is None:
            parts = names.parse(same[0])
            assert parts is not None
            group = groups[rest] = Group(parts._replace(due_at=None, key=""))
        group.names += same
        group.has_keys = group.has_keys or any(",key=" in name for name in same)
        if not due_at:
            group.sort_keys += same
        elif due_at > now_at:
            group.later += [(due_at, name) for name in same]
        else:
            stamp = f"{flags[_TIME_AT : _TIME_AT + 8]}-{flags[_TIME_END - 6 : _TIME_END]}-000000"
            group.sort_keys += [order.key_at(stamp, name) for name in same]
    return list(groups.values()), others


def _due_at(text: str) -> float | None:
    day_at = _day_at(text[:8])
    return None if day_at is None else day_at + int(text[9:11]) * 3600 + int(text[11:13]) * 60 + int(text[13:15])


@functools.lru_cache(maxsize=1000)
def _day_at(day: str) -> float | None:
    return times.from_name(f"{day}T000000Z")


@functools.cache
def _flags_line() -> re.Pattern[str]:
    """Match a whole line; the group is what comes between the id and the key."""
    return re.compile(
        rf"""^{names.GENERATED}
        ((?:,due=[0-9]{{8}}T(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z)?
        (?:,prio=-?[0-9]{{1,6}})?
        (?:,by=[A-Za-z0-9][A-Za-z0-9-]{{0,{names.OWNER_MAX_CHARS - 1}}})?
        (?:,q=[a-z0-9][a-z0-9-]{{0,23}})?)
        (?:,key=(?:[A-Za-z0-9][A-Za-z0-9-]{{0,31}}|[A-Za-z0-9-]{{0,15}}~[a-z2-7]{{16}}))?
        \.json$""",
        re.VERBOSE | re.MULTILINE,
    )
