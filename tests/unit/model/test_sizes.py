"""sizes: bytes as text."""

from __future__ import annotations

import pytest

from queuectl.model import sizes


@pytest.mark.parametrize(
    ("value", "size"),
    [(1, 1), ("1", 1), ("500K", 512000), ("1.5m", 1572864), ("1G", 1 << 30), ("1 GiB", 1 << 30), ("2TB", 1 << 41)],
)
def test_sizes_are_read_as_people_write_them(value: object, size: int) -> None:
    """A unit is 1024 of the one before it, whatever follows it."""
    assert sizes.parse(value) == size


@pytest.mark.parametrize(
    "value", [0, -1, True, None, 1.5, [], "", "x", "1X", "-1", "0", "1e9", 2**61, "9" * 40, "1\n2"]
)
def test_what_is_no_size_is_refused(value: object) -> None:
    """An error names what to write instead."""
    with pytest.raises(ValueError, match="size"):
        sizes.parse(value)


@pytest.mark.parametrize(
    ("size", "text"),
    [(1, "1 byte"), (1000, "1000 bytes"), (1536, "1.5 KiB"), (1 << 30, "1 GiB"), (1 << 60, "1024 PiB")],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    """A whole number has no decimal."""
    assert sizes.to_text(size) == text
