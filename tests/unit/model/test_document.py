"""intake: what the bytes of a dropped file are."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest

from queuectl.errors import InvalidJobError
from queuectl.model import record
from queuectl.model.document import (
    Accepted,
    Document,
    Incomplete,
    Many,
    Refused,
    Single,
    accept,
    first_events,
    parse,
)
from queuectl.model.job import RetryDefaults
from tests.helpers import NOON_AT

DEFAULTS = RetryDefaults(3, 2, 3600.0, 0)
JOB = {"command": "echo grüße"}
TEXT = json.dumps(JOB, ensure_ascii=False)


def _parse(data: bytes | str, *, lines: bool = False) -> Document:
    return parse(data if isinstance(data, bytes) else data.encode(), lines=lines)


def _accept(document: dict[str, Any]) -> Accepted:
    return accept(document, defaults=DEFAULTS, now_at=NOON_AT)


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode() + b"\r\n\r\n",
        b" \n" + TEXT.encode(),
    ],
)
def test_text_of_every_editor_is_read(data: bytes) -> None:
    """UTF-8 with and without mark and UTF-16 with one are the same job."""
    assert _parse(data) == Single(JOB)


@pytest.mark.parametrize("length", range(len(TEXT.encode())))
def test_job_cut_short_anywhere_is_incomplete(length: int) -> None:
    """However far a copy has come, it is not taken for a job or for a bad one (P6)."""
    assert isinstance(_parse(TEXT.encode()[:length]), Incomplete)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"\0" * 100,
        b"\xff\xfe",
        codecs.BOM_UTF8,
        b"\xff\x00",
        b"{",
        b"command: true",
        TEXT.encode() + b"\0" * 9,
    ],
)
def test_what_does_not_parse_may_still_be_arriving(data: bytes) -> None:
    """Not whole JSON is a verdict for now only, with a reason (P6)."""
    verdict = _parse(data)
    assert isinstance(verdict, Incomplete)
    assert verdict.why


def test_incomplete_says_where() -> None:
    """A person finds the mistake by its line."""
    verdict = _parse('{\n"command": "true"\n"id": "x"}')
    assert isinstance(verdict, Incomplete)
    assert "line 3 column 1" in verdict.why


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "a", "command": "b"}',
        '{"command": "a", "env": {"A": "1", "A": "2"}}',
        '{"command": "a", "x": NaN}',
        '{"command": "a", "x": -Infinity}',
        '{"command": "a", "x": ' + "9" * 5000 + "}",
        "[" * 100_000 + "]" * 100_000,
        '{"command": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '"text"',
        "5",
        "null",
        "true",
        "[]",
    ],
)
def test_whole_json_that_cannot_be_a_job_is_refused(text: str) -> None:
    """What will never be a job is refused with a reason, at once, without a crash (P6)."""
    verdict = _parse(text)
    assert isinstance(verdict, Refused)
    assert verdict.why and verdict.hint


def test_array_is_many_jobs() -> None:
    """An array holds jobs, and what is none among them is refused by itself."""
    verdict = _parse(json.dumps([JOB, 5, [JOB]]))
    assert isinstance(verdict, Many)
    assert verdict.documents[0] == JOB
    assert [isinstance(item, Refused) for item in verdict.documents] == [False, True, True]
    assert isinstance(verdict.documents[1], Refused)
    assert verdict.documents[1].raw == "5"


def test_lines_are_many_jobs() -> None:
    """One job a line; empty lines are nothing, a bad one is refused with its number and its text (P6)."""
    verdict = _parse(f"{TEXT}\r\n\n{{bad\n{TEXT}\n", lines=True)
    assert isinstance(verdict, Many)
    assert [item for item in verdict.documents if not isinstance(item, Refused)] == [JOB, JOB]
    (bad,) = [item for item in verdict.documents if isinstance(item, Refused)]
    assert "line 3" in bad.why
    assert bad.raw == "{bad"


def test_line_separators_inside_a_text_end_no_line() -> None:
    """Only a line feed ends a line: JSON texts may hold U+2028 and NEL."""
    verdict = _parse('{"command": "a\u2028b\u0085c"}\n', lines=True)
    assert isinstance(verdict, Many)
    assert len(verdict.documents) == 1


def test_last_line_that_is_not_whole_is_incomplete() -> None:
    """A file of lines that is still being written is waited for (P6)."""
    assert isinstance(_parse(f"{TEXT}\n{TEXT[:9]}", lines=True), Incomplete)
    assert isinstance(_parse(f"{TEXT}\n{TEXT}", lines=True), Many)
    assert isinstance(_parse("\n\n", lines=True), Incomplete)


def test_accepted_job_has_its_spec_and_no_history() -> None:
    """A plain drop starts with nothing behind it."""
    taken = _accept({**JOB, "id": "a", "delay": 5})
    assert taken.spec["command"] == JOB["command"]
    assert (taken.history, taken.due_at, taken.delay_s) == ([], NOON_AT + 5, 5)


@pytest.mark.parametrize("version", [0, -1, "1", 1.5, True, None, 3, 10**30])
def test_format_of_another_version_is_refused(version: object) -> None:
    """A record of a later queuectl is kept and not guessed at."""
    with pytest.raises(InvalidJobError) as caught:
        _accept({**JOB, "format": version})
    assert caught.value.key == "format"


@pytest.mark.parametrize(
    "history", ["x", 5, {}, [5], [{}], [{"at": 1, "event": "x"}], [{"at": "x", "event": "x", "attempt": "1"}], None]
)
def test_history_that_is_none_of_ours_is_refused(history: object) -> None:
    """A history is written by queuectl; something else in its place is a mistake (P6)."""
    with pytest.raises(InvalidJobError) as caught:
        _accept({**JOB, "history": history})
    assert caught.value.key == "history"


def test_history_of_an_edited_record_is_kept_with_unknown_keys() -> None:
    """A record that a person saved in another layout goes on where it stood (P7)."""
    history = [{"at": "2027-01-15T08:00:00.000Z", "event": "enqueued", "colour": "blue"}]
    taken = _accept({**JOB, "history": history})
    assert first_events(taken, by="drop", now_at=NOON_AT) == history


def test_first_event_of_a_new_job_says_where_it_came_from() -> None:
    """The history begins with who put the job there, and when it may run."""
    (event,) = first_events(_accept({**JOB, "delay": 5}), by="drop", now_at=NOON_AT, file="x y.json")
    assert event == {
        "at": "2027-01-15T08:00:00.000Z",
        "event": "enqueued",
        "by": "drop",
        "due_at": "2027-01-15T08:00:05.000Z",
        "delay_s": 5.0,
        "file": "x y.json",
    }


def test_warning_is_written_once() -> None:
    """A near miss is told when the job is taken in, and not again when the record is taken in a second time."""
    document = {**JOB, "max_retires": 5}
    events = first_events(_accept(document), by="drop", now_at=NOON_AT)
    assert [item["event"] for item in events] == ["enqueued", "warning"]
    again = first_events(_accept({**document, "history": events}), by="drop", now_at=NOON_AT)
    assert again == events


def test_spec_of_a_record_taken_in_again_is_the_same() -> None:
    """Taking in a record that was only laid out differently changes none of its keys."""
    taken = _accept({**JOB, "id": "a", "timeout": "5m", "customer": {"x": 1}, "max_retries": 0, "priority": 5})
    events = first_events(taken, by="drop", now_at=NOON_AT)
    data = record.frame(taken.spec, events)
    assert _accept(json.loads(data)).spec == taken.spec
