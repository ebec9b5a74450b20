"""columns: how the columns of a table share the width of a terminal."""

from __future__ import annotations

import random

import pytest

from queuectl.cli.rows import HEADERS
from queuectl.cli.terminal import columns


@pytest.mark.parametrize("seed", range(200))
def test_no_table_is_wider_than_its_terminal(seed: int) -> None:
    """Whatever the cells hold: the widths and the gaps fit, down to a few columns."""
    rng = random.Random(seed)
    rows = [[rng.choice((0, 1, 8, 27, 100, 300)) for _ in HEADERS] for _ in range(rng.randint(0, 5))]
    room = rng.randint(len(HEADERS) * 3, 200)
    widths = columns.fit(HEADERS, rows, room, name_chars=rng.choice((0, 5, 20)))
    assert sum(widths.values()) + columns.GAP * (len(widths) - 1) <= room
    assert all(width >= 1 for width in widths.values())


def test_a_wide_terminal_shows_everything_whole() -> None:
    """What there is room for is not cut; a column with nothing in it is left out."""
    widths = columns.fit(HEADERS, [[27, 7, 3, 6, 0, 60, 20]], 200)
    assert [HEADERS[place] for place in widths] == ["ID", "STATE", "ATTEMPTS", "WHEN", "COMMAND", "ERROR"]
    assert list(widths.values()) == [27, 7, 8, 6, 60, 20]


def test_ids_are_shortened_before_columns_are_left_out() -> None:
    """The beginning of an id is enough for every command; a state that is not shown is lost."""
    rows = [[27, 7, 3, 6, 5, 60, 0]]
    assert columns.fit(HEADERS, rows, 80, name_chars=19)[0] < 27
    narrow = columns.fit(HEADERS, rows, 50, name_chars=19)
    assert [HEADERS[place] for place in narrow] == ["ID", "STATE", "COMMAND"]
    assert narrow[0] == 19


def test_unique_chars_tell_an_id_from_all_others() -> None:
    """Ignoring case, as ids do; an id that begins another one is whole."""
    assert columns.unique_chars(["abc1"], ["ABC2", "abd"]) == 4
    assert columns.unique_chars(["job1", "x"], ["job10"]) == 4
    assert columns.unique_chars(["abc"], ["xyz"]) == 1
    assert columns.unique_chars([], ["a"]) == 0
