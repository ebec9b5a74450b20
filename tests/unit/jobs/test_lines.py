"""lines: files with one job a line, read a line at a time."""

from __future__ import annotations

import codecs
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.jobs import lines
from queuectl.model import document
from queuectl.model.job import JOB_MAX_BYTES

_MARKS = {
    "utf-8": b"",
    "utf-8-sig": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}


def _read(path: Path, *, start: int = 0, number: int = 0) -> list[lines.Line]:
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        form = lines.form_of(fd)
        return list(lines.read(fd, form, start or form.mark, number))
    finally:
        os.close(fd)


@given(
    rows=st.lists(st.sampled_from(["", "{}", '{"a": 1}', "[", "\u0a00\u000d", "x" * 9, "\ud7ff", "\U0001f600"])),
    encoding=st.sampled_from(sorted(_MARKS)),
    chunk=st.sampled_from([1, 2, 3, 7, 100]),
    closed=st.booleans(),
)
def test_lines_are_those_of_the_whole_text(
    rows: list[str], encoding: str, chunk: int, closed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Read in pieces of any size a file has the same lines as read at once, and can be read on from each of them."""
    text = "\n".join(rows) + ("\n" if closed else "")
    codec = encoding.removesuffix("-sig")
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(_MARKS[encoding] + text.encode(codec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_CHUNK", chunk)
        found = _read(path)
        assert [each.data.decode(codec) for each in found] == text.split("\n")[: len(found)]
        assert "".join(text.split("\n")[len(found) :]) == ""
        assert [each.number for each in found] == list(range(1, len(found) + 1))
        for place, each in enumerate(found, 1):
            assert _read(path, start=each.end, number=place) == found[place:]


@given(
    data=st.lists(st.sampled_from([b"{}", b'{"command": "a"}', b"\n", b" ", b"\xff", b"\xc3\xa9", b"[1", b"\0"])).map(
        b"".join
    ),
    mark=st.sampled_from(sorted(set(_MARKS.values()))),
    chunk=st.sampled_from([1, 3, 100]),
)
def test_look_agrees_with_a_parse_of_the_whole(
    data: bytes, mark: bytes, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A look in pieces takes and refuses the same files, for the same reasons, as `document.parse`."""
    path = tmp_path_factory.getbasetemp() / "look.jsonl"
    path.write_bytes(mark + data)
    parsed = document.parse(mark + data, lines=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_CHUNK", chunk)
        looked = lines.examine(str(path), 1 << 20)
    assert looked.incomplete == (parsed if isinstance(parsed, document.Incomplete) else None)


def test_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    """A line of more than a job's size is not held in memory, and the lines around it are read (P6)."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"{}\n" + b"x" * (3 * JOB_MAX_BYTES) + b"\n{}\n")
    found = _read(path)
    assert [(each.data, each.is_long) for each in found] == [(b"{}", False), (b"", True), (b"{}", False)]
    assert found[1].end - found[1].start == 3 * JOB_MAX_BYTES + 1


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """P6: a look at 6 MiB of lines, and reading them, takes less than 3 MiB."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"command": "true", "tags": ["many"]}\n' * (6 * 1024 * 1024 // 38))
    tracemalloc.start()
    try:
        assert lines.examine(str(path), 1 << 30).incomplete is None
        fd = os.open(path, os.O_RDONLY)
        count = sum(1 for _ in lines.read(fd, lines.form_of(fd), 0, 0))
        os.close(fd)
        assert count == 6 * 1024 * 1024 // 38
        assert tracemalloc.get_traced_memory()[1] < 3 * 1024 * 1024
    finally:
        tracemalloc.stop()
