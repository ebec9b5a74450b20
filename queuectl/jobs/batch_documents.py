"""Read the documents of a file with many jobs, starting where its note says (P6).

Memory does not grow with the file: lines are read one at a time, and an array is small (`job.JOB_MAX_BYTES`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from queuectl.jobs import lines
from queuectl.model import document, flow
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.spool import batch
from queuectl.spool.batch import Note
from queuectl.system import files

_LARGE_HINT = "put the data in a file of its own and pass its path"


class Item(msgspec.Struct, frozen=True):
    """One document: its line (0 in an array), its place, and the byte range of a line that could not be decoded."""

    content: dict[str, Any] | document.Refused
    line: int
    place: int
    part: tuple[int, int] | None = None
    turn: int = 0
    """When it is published, from 1: the documents of a flow are not in the order of the file; 0: as its place."""
    own_id: str = ""
    """The id of its job, if that is not made from its place."""
    span: tuple[int, int] = (0, 0)
    """The byte range of a line."""


class Documents:
    """Reads the documents of files in taken/. Keeps the last array, so that it is read once and not at each step."""

    def __init__(self) -> None:
        self._array: tuple[str, list[dict[str, Any] | document.Refused]] = "", []
        self.may_be_flow = False
        """Whether the last file that was not refused may have documents that name each other."""

    def forget(self) -> None:
        """Forget the last array, because its file is split."""
        self._array = "", []

    def refuse(self, path: str) -> document.Incomplete | document.Refused | None:
        """Return why a file holds no jobs, before the first job is made; None if it holds some."""
        if batch.is_lines(path):
            looked = lines.examine(path, document.BATCH_MAX_BYTES)
            self.may_be_flow = looked.may_be_flow
            return _too_large(document.BATCH_MAX_BYTES) if looked.content.oversize else looked.incomplete
        content = files.read(path, JOB_MAX_BYTES)
        if content.oversize:
            return _too_large(JOB_MAX_BYTES)
        parsed = document.parse(content.data, lines=False)
        if isinstance(parsed, document.Incomplete | document.Refused):
            return parsed
        self._array = path, parsed.documents if isinstance(parsed, document.Many) else [parsed.document]
        self.may_be_flow = any(map(flow.is_part, self._array[1]))
        return None

    def at(self, path: str, fd: int, place: int, span: tuple[int, int], line: int) -> dict[str, Any] | document.Refused:
        """Return one document again: by its place in an array, or by its bytes and its line."""
        if batch.is_lines(path):
            form = lines.form_of(fd)
            data = b"".join(files.read_part(fd, *span))
            return document.line(data.decode(form.encoding), line) or document.Refused("the file has changed", "")
        if self._array[0] != path and self.refuse(path) is not None:
            return document.Refused("the file has changed", "")
        return self._array[1][place - 1]

    def after(self, path: str, fd: int, note: Note) -> Iterator[tuple[Item | None, int, int]]:
        """Yield each document after the note (None for a blank line) with the lines and bytes read so far."""
        if batch.is_lines(path):
            yield from _in_lines(fd, note)
            return
        if self._array[0] != path and self.refuse(path) is not None:
            return  # the file changed since its first step and is no longer an array: no more jobs are made from it
        for place, each in enumerate(self._array[1][note.place :], note.place + 1):
            yield Item(each, 0, place), 0, 0


def _in_lines(fd: int, note: Note) -> Iterator[tuple[Item | None, int, int]]:
    form = lines.form_of(fd)
    place = note.place
    for line in lines.read(fd, form, note.offset or form.mark, note.line):
        item = _item(line, form, place + 1)
        place += item is not None
        yield item, line.number, line.end


def _item(line: lines.Line, form: lines.Form, place: int) -> Item | None:
    """Return the document in a line; None if the line is blank."""
    found: dict[str, Any] | document.Refused | None
    part = None
    if line.is_long:
        part = line.start, line.end
        found = document.Refused(f"line {line.number} is longer than {JOB_MAX_BYTES} bytes", _LARGE_HINT)
    else:
        try:
            found = document.line(line.data.decode(form.encoding), line.number)
        except UnicodeDecodeError:
            part = line.start, line.end
            found = document.Refused(f"line {line.number} is not {form.encoding} text", "save it as UTF-8")
    return None if found is None else Item(found, line.number, place, part, span=(line.start, line.end))


def _too_large(limit: int) -> document.Refused:
    return document.Refused(f"the file is larger than {limit} bytes", _LARGE_HINT)
