"""progress: what a command's last line says, and that it can do no harm."""

from __future__ import annotations

import pytest

from queuectl.model.progress import Progress, parse


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (b"42", Progress(42, "")),
        (b"1 a\n42 page 3 of 7\n", Progress(42, "page 3 of 7")),
        (b"10\r20\r42.5% x", Progress(42.5, "x")),
        (b"1\r\n42 x\r\n", Progress(42, "x")),
        (b"page 3 of 7\n\n", Progress(None, "page 3 of 7")),
        (b"3rd page", Progress(None, "3rd page")),
        (b"999", Progress(100, "")),
        (b'{"percent": 42, "text": "x"}', Progress(42, "x")),
        (b'{"percent": true, "text": 5}', Progress(None, "")),
        (b'{"percent": 1e999}', Progress(None, "")),
        (b'{"percent": 1' + b"0" * 4000 + b"}", Progress(None, "")),
        (b"{torn", Progress(None, "{torn")),
        (b"", None),
        (b"\n \n", None),
    ],
)
def test_the_last_line_counts(tail: bytes, found: Progress | None) -> None:
    """A number, a text, both, or JSON; nonsense is a text."""
    assert parse(tail) == found


@pytest.mark.parametrize(
    "tail", [b"5 \x1b[2J\x07\x9b", "5 \u202e".encode(), b"5 \xff\xfe\0", b"x" * 100_000, b"[" * 4000]
)
def test_nothing_reaches_a_terminal_raw(tail: bytes) -> None:
    """P10: whatever a command writes is short and printable."""
    found = parse(tail)
    assert found is not None
    assert str(found).isprintable() and len(str(found)) < 140
