"""record: the framing and its repair."""

from __future__ import annotations

import json
from typing import Any

import pytest

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.model import history, record
from tests.helpers import NOON_AT

SPEC: dict[str, Any] = {"id": "job1", "command": "true", "max_retries": 3, "backoff_base": 2, "backoff_max": 3600}


def _event(kind: str, **facts: Any) -> dict[str, Any]:
    return history.event(kind, NOON_AT, **facts)


def _frame(*events: dict[str, Any], **spec: Any) -> bytes:
    return record.frame({**SPEC, **spec}, list(events))


def _append(data: bytes, *events: dict[str, Any], empty: bool = False) -> bytes:
    tail = record.append(len(data), list(events), empty=empty)
    return tail.on(data)


def test_record_is_readable_json_one_key_and_one_event_a_line() -> None:
    """A record is what the format says, byte for byte."""
    data = _frame(_event("enqueued", by="enqueue"), _event("started", attempt=1))
    assert data.decode().splitlines() == [
        "{",
        ' "format": 1,',
        ' "id": "job1",',
        ' "command": "true",',
        ' "max_retries": 3,',
        ' "backoff_base": 2,',
        ' "backoff_max": 3600,',
        ' "history": [',
        '  {"at": "2027-01-15T08:00:00.000Z", "event": "enqueued", "by": "enqueue"},',
        '  {"at": "2027-01-15T08:00:00.000Z", "event": "started", "attempt": 1}',
        " ]",
        "}",
    ]
    assert data.endswith(record.CLOSING)
    assert json.loads(data)["history"][1]["attempt"] == 1


def test_text_of_any_script_is_kept_as_it_is() -> None:
    """A person reads what was written, not escapes."""
    data = _frame(command="echo 'grüße 日本 \u2028 \"x\" \\ \n'")
    assert "日本" in data.decode()
    assert record.decode(data).command == "echo 'grüße 日本 \u2028 \"x\" \\ \n'"
    assert record.is_framed(data)


@pytest.mark.parametrize("value", ["\ud800", float("inf"), float("nan"), {"x": ["\udfff"]}, {"\ud800": 1}])
def test_what_json_cannot_hold_is_an_invalid_job(value: object) -> None:
    """A record that readers could not open is never written (P6)."""
    with pytest.raises(InvalidJobError):
        _frame(customer=value)


def test_value_nested_too_deep_is_an_invalid_job() -> None:
    """A tower of brackets is a refusal, not a crash (P6)."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidJobError):
        _frame(customer=value)


def test_append_only_writes_over_the_closing() -> None:
    """An event is added by one write at the end; everything before it stays as it is (P4)."""
    data = _frame(_event("enqueued"))
    grown = _append(data, _event("started"), _event("succeeded"))
    assert grown.startswith(data[: -len(record.CLOSING)])
    assert record.is_framed(grown)
    assert grown == _frame(_event("enqueued"), _event("started"), _event("succeeded"))


def test_append_to_an_empty_history() -> None:
    """The first event has no comma before it."""
    assert _append(_frame(), _event("enqueued"), empty=True) == _frame(_event("enqueued"))


def test_append_of_a_text_that_utf8_cannot_hold_keeps_the_record_whole() -> None:
    """A reason with a lone surrogate (a file name, say) does not damage the record."""
    grown = _append(_frame(_event("enqueued")), _event("failed", reason="\udcff"))
    assert json.loads(grown)["history"][1]["reason"] == "?"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b" " + data,
        lambda data: json.dumps(json.loads(data), indent=2).encode(),
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: data.replace(b'"format": 1', b'"format": 3'),
        lambda data: data.replace(b'\n  {"at"', b'\n {"at"', 1),
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:-6] + b"\0" * 6,
    ],
)
def test_other_whitespace_is_not_our_framing(change: Any) -> None:
    """Only a record to which an event can be appended blindly counts as framed."""
    assert not record.is_framed(change(_frame(_event("enqueued"), _event("started"))))


def test_decode_of_what_is_no_record_is_one_error() -> None:
    """A damaged record is reported with its path, whatever is wrong with it."""
    with pytest.raises(DamagedRecordError) as caught:
        record.decode(b"{", path="/spool/done/x.json")
    assert "/spool/done/x.json" in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        {"command": ""},
        {"command": []},
        {"max_retries": -1},
        {"max_retries": "3"},
        {"backoff_base": -2},
        {"backoff_base": 1e300},
        {"backoff_max": -1},
        {"backoff_max": "1h"},
        {"jitter": 7},
        {"timeout": 0},
        {"timeout": -1},
        {"priority": 10**9},
    ],
)
def test_framed_record_with_a_value_that_is_never_written_is_damaged(spec: dict[str, Any]) -> None:
    """Framing alone does not pass a value that a drop would be refused for: a person or a script wrote it (P6)."""
    data = _frame(_event("enqueued"), **spec)
    assert record.is_framed(data)
    with pytest.raises(DamagedRecordError):
        record.decode(data)


def test_repair_cuts_back_to_the_last_whole_event() -> None:
    """A write that was cut short by a power cut costs only what was being written (P4)."""
    before = _frame(_event("enqueued"), _event("started", attempt=1))
    after = _append(before, _event("succeeded", attempt=1, to="done"))
    torn = after[: len(before) + 10]
    assert not record.is_framed(torn)
    assert record.repair(torn) == before


def test_repair_keeps_an_event_that_is_whole_but_for_its_closing() -> None:
    """An outcome that reached the disk is not thrown away with its closing (P4)."""
    data = _frame(_event("enqueued"), _event("started"))
    assert record.repair(data[: -len(record.CLOSING)]) == data


def test_repair_keeps_nothing_after_a_hole() -> None:
    """What stands after a damaged event is not taken for what happened next (P4)."""
    data = _frame(_event("enqueued"), _event("started"), _event("failed", exit_code=1, to="pending"))
    hole = data.index(b'"started"')
    assert record.repair(data[:hole] + b"\0" * 9 + data[hole + 9 :]) == _frame(_event("enqueued"))


def test_repair_sees_through_nul_tails() -> None:
    """ext4 may leave NULs where a file was made longer and not yet written."""
    data = _frame(_event("enqueued"))
    assert record.repair(data[: -len(record.CLOSING)] + b"\0" * 200) == data
    assert record.repair(data[: -len(record.CLOSING)] + b',\n  {"at": "2027' + b"\0" * 200) == data


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"command": "true"}', b'{\n "format": 1,\n "id": "job1",\n "comm', b"\0" * 99]
)
def test_repair_of_what_was_no_record_is_none(data: bytes) -> None:
    """Nothing is made up where there is nothing to be saved."""
    assert record.repair(data) is None


def test_exact_takes_what_frame_and_append_write() -> None:
    """What queuectl writes itself is never copied again, with every key, any text and any number of events (P4)."""
    spec = {
        "command": ["sh", "\u202e"],
        "env": {"A": "=\n"},
        "tags": ['"\\'],
        "note": {"a": [[1e300, None]]},
        'x": ': 1,
    }
    data = _frame(_event("enqueued"), **spec)
    assert record.exact(data) == record.decode(data)
    assert record.exact(_append(data, _event("started", attempt=1))) is not None


def test_repair_of_a_record_with_something_behind_it_is_none() -> None:
    """A second document behind a whole record is somebody's, not a torn end: it is not cut off (P6)."""
    data = _frame(_event("enqueued"))
    assert record.repair(data + b'{"command": "true"}') is None
    assert record.repair(data + b"\0\0\n") == data


def test_loses_events_tells_what_a_repair_costs() -> None:
    """Only a hole in the middle costs whole events; a torn end costs none (P6)."""
    data = _frame(_event("enqueued"), _event("started"), _event("failed", exit_code=1, to="pending"))
    hole = data.replace(b'"started"', b"\0" * 9)
    whole, torn = record.repair(hole), record.repair(data[:-20])
    assert whole is not None and torn is not None
    assert record.loses_events(hole, whole)
    assert not record.loses_events(data[:-20], torn)


# ---------------------------------------------------------------------------------------------------------- folding


def test_a_format_that_the_keys_do_not_ask_for_is_not_ours() -> None:
    """A record of format 2 without a key of format 2 can be appended to, but is taken in afresh (P1)."""
    data = _frame(_event("enqueued"))
    later = data.replace(b'"format": 1', b'"format": 2')
    assert record.is_framed(later)
    assert record.decode(later).id == record.decode(data).id
    assert record.exact(data) is not None
    assert record.exact(later) is None
