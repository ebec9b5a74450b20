"""results.content_of: what a command gave back, as far as it is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from queuectl.monitor import results


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b'{"a": [1, null]}', {"a": [1, None]}),
        (b"plain text\n", "plain text\n"),
        (b"null", "null"),
        (b"\xff\xfe", None),
        (b"a\0b", None),
        (b"x" * 65_536, "x" * 65_536),
        (b"x" * 65_537, None),
        (b"[" * 30_000, "[" * 30_000),
    ],
)
def test_a_result_is_json_or_a_text(tmp_path: Path, data: bytes, content: Any) -> None:
    """Of 64 KiB at most; anything else is named by its path only."""
    path = tmp_path / "x.result"
    path.write_bytes(data)
    assert results.content_of(str(path)) == content
    assert results.content_of(str(tmp_path / "nothing")) is None


def test_show_is_brief() -> None:
    """A person sees the first lines, and the first characters of each."""

    def first(content: Any) -> list[str]:
        return results.first_lines(content, lines=20, chars=200)

    assert first("\n".join("x" * 300 for _ in range(50))) == ["x" * 200 + "..."] * 20 + ["..."]
    assert first({"a": 1}) == ["{", ' "a": 1', "}"]
    assert first(None) == []
    deep = json.loads("[" * 900 + "]" * 900)
    assert first(deep)[:3] == ["[", " [", "  ["] and len(first(deep)) == 21
    assert first([1, 2]) == ["[", " 1,", " 2", "]"]
