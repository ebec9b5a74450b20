"""Read files with one job per line, a line at a time: memory does not grow with the file.

This module decides nothing about a file. `examine` says whether a file is whole text with a whole last line; `read`
yields the lines from any place on.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from queuectl.model import document
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.system import files, sharing

_CHUNK = 256 * 1024
_MARK_BYTES = 4
# The keys by which the jobs of a file name each other, the longest first.
_FLOW_KEYS = ('"after"', '"ref"')


class Form(msgspec.Struct, frozen=True):
    """How the text of a file is encoded: the encoding, the length of its byte order mark, and the end of a line."""

    encoding: str
    mark: int
    feed: bytes


class Line(msgspec.Struct, frozen=True):
    """One line: its number from 1, its bytes without the line end, and where the next line begins in the file."""

    number: int
    data: bytes
    start: int
    end: int
    is_long: bool
    """Longer than a job may be: `data` is empty."""


class Examined(NamedTuple):
    """The facts of a file (without its bytes), and why it is not whole (None if it is)."""

    content: files.Content
    incomplete: document.Incomplete | None
    may_be_flow: bool = False
    """Whether the text has a key by which jobs name each other, or something that looks like one."""


def examine(path: str, max_bytes: int, *, patience_s: float = sharing.SHARING_DEADLINE_S) -> Examined:
    """Read a file of lines once, in pieces; do not read it if it is larger than `max_bytes`.

    Raises:
        OSError: the same as `files.read`.
    """
    fd = files.open_to_read(path, patience_s=patience_s)
    try:
        content = files.facts(fd, max_bytes)
        return Examined(content, None) if content.oversize else _judge(fd, content)
    finally:
        os.close(fd)


def _judge(fd: int, content: files.Content) -> Examined:
    """Read a text to its end: whether it is whole, and whether it may be a flow."""
    form = form_of(fd)
    decoder = codecs.getincrementaldecoder(form.encoding)()
    os.lseek(fd, form.mark, os.SEEK_SET)
    offset, number, last, is_blank, is_over = form.mark, 1, "", True, False
    may_be_flow, seam = False, ""
    while not is_over:
        chunk = os.read(fd, _CHUNK)
        is_over = not chunk
        before = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, is_over)
        except UnicodeDecodeError as error:
            place = offset - form.mark - before + error.start
            why = f"it is not {error.encoding} text from byte {place} on"
            return Examined(content, document.Incomplete(why, "save it as UTF-8"))
        offset += len(chunk)
        is_blank = is_blank and not text.strip(document.BLANK + "\n")
        number += text.count("\n")
        may_be_flow = may_be_flow or any(key in text or key in seam + text[: len(key)] for key in _FLOW_KEYS)
        seam = text[-len(_FLOW_KEYS[0]) :]
        _, feed, rest = text.rpartition("\n")
        last = rest if feed else last + text
        if len(last) > JOB_MAX_BYTES:
            last = last[: JOB_MAX_BYTES + 1]  # too long for a job, whole or not
    incomplete = None
    if is_blank:
        incomplete = document.Incomplete("it is empty")
    elif len(last) <= JOB_MAX_BYTES and not document.is_whole_line(last):
        incomplete = document.torn_line(number)
    return Examined(content, incomplete, may_be_flow)


def form_of(fd: int) -> Form:
    """Return how the text of an open file is encoded, by its first bytes."""
    os.lseek(fd, 0, os.SEEK_SET)
    mark, encoding = document.encoding_of(os.read(fd, _MARK_BYTES))
    return Form(encoding, mark, "\n".encode(encoding))


def read(fd: int, form: Form, start: int, number: int) -> Iterator[Line]:
    """Yield the lines of an open file from the offset `start` on, where line `number` + 1 begins."""
    limit = JOB_MAX_BYTES * len(form.feed)
    buffer, is_long = b"", False
    at = start  # of the first byte in `buffer`
    while True:
        os.lseek(fd, at + len(buffer), os.SEEK_SET)  # the caller may read elsewhere between two lines
        chunk = os.read(fd, _CHUNK)
        searched = max(0, len(buffer) - len(form.feed) + 1)
        buffer += chunk
        begin = 0
        while (found := _find(buffer, form.feed, max(begin, searched), begin)) >= 0:
            number += 1
            end = at + found + len(form.feed)
            is_long = is_long or found - begin > limit
            yield Line(number, b"" if is_long else buffer[begin:found], start, end, is_long)
            start, is_long, begin = end, False, found + len(form.feed)
        if not chunk:
            break
        if len(buffer) - begin > limit:
            is_long = True
            begin = len(buffer) - (len(buffer) - begin) % len(form.feed)
        at, buffer = at + begin, buffer[begin:]
    end = at + len(buffer)
    if end > start:
        yield Line(number + 1, b"" if is_long else buffer, start, end, is_long)


def _find(buffer: bytes, feed: bytes, start: int, begin: int) -> int:
    """Return where the line that begins at `begin` ends, or -1; in UTF-16, two-byte units count from its beginning."""
    found = buffer.find(feed, start)
    while found >= 0 and (found - begin) % len(feed):
        found = buffer.find(feed, found + 1)
    return found
