"""seal: texts that are exactly as we wrote them."""

from __future__ import annotations

import pytest

from queuectl.model.seal import is_sealed, seal


@pytest.mark.parametrize("text", ["", "a\nb\n", "grüße\n", "\ud800"])
def test_a_sealed_text_is_known_again(text: str) -> None:
    """P11: a text is ours only while every byte of it is as it was written."""
    data = seal(text)
    assert is_sealed(data)
    assert not is_sealed(data[:-1])
    assert not is_sealed(b"x" + data)
    assert not is_sealed(data + b"mine")


def test_what_has_no_seal_is_not_ours() -> None:
    """An empty file, or a short one, has no seal."""
    assert not is_sealed(b"")
    assert not is_sealed(b"check 00000000\n")
