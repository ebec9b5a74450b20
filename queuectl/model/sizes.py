"""Converts sizes in bytes from and to text. Computes only.

In memory and on disk, a size is a whole number of bytes. A person may write `500K`, `100M`, `1G` or `2T`. Each unit is
1024 times the previous one, with or without `B` or `iB`.
"""

from __future__ import annotations

import re

# Larger sizes are refused: no disk has more than an exbibyte, so such a number is a typing error.
LARGEST = 1 << 60
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) ?([kmgt]?)(?:i?b)?")
EXPECTED = "a number of bytes or a text such as 500K, 100M, 1G"


def parse(value: object) -> int:
    """Return the bytes of a number or a text such as `500K`, `100M`, `1.5G`, `1GiB`.

    Raises:
        ValueError: the value is not a size, is below 1 byte, or is larger than an exbibyte.
    """
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip().lower())
        if match is None:
            raise ValueError(f"{value[:40]!r} is not a size; write {EXPECTED}")
        value = int(float(match[1]) * _UNITS[match[2]])
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a size is {EXPECTED}")
    if not 1 <= value <= LARGEST:
        raise ValueError("a size is from 1 byte to 1024 PiB")
    return value


def to_text(size: int) -> str:
    """Return a size for a person: `1 byte`, `1000 bytes`, `500 KiB`, `1.5 GiB`."""
    amount, unit = float(size), "byte" if size == 1 else "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f}".removesuffix(".0") + f" {unit}"
