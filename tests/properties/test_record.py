"""record: whatever becomes of a record's tail, what is read back is a prefix of what was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl.model import folding, history, record
from queuectl.model.document import Incomplete, Many, Refused, Single, accept, parse
from queuectl.model.job import RetryDefaults
from tests.helpers import NOON_AT

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
keys = texts.filter(lambda key: key not in ("format", "history") and key not in record.Record.__struct_fields__)
specs = st.builds(
    lambda command, extra, priority: {
        "id": "job1",
        "command": command,
        "max_retries": 3,
        "backoff_base": 2,
        "backoff_max": 3600,
        "priority": priority,
        **extra,
    },
    texts.filter(bool) | st.lists(texts, min_size=1, max_size=3),
    st.dictionaries(keys, values, max_size=3),
    st.integers(-999_999, 999_999),
)
events = st.builds(
    lambda kind, attempt, text: history.event(kind, NOON_AT, attempt=attempt, reason=text),
    st.sampled_from(["enqueued", "started", "failed", "succeeded", "requeued", "warning", "somethingnew"]),
    st.integers(0, 10**6),
    texts,
)
histories = st.lists(events, max_size=5)


def _history(data: bytes) -> list[dict[str, Any]]:
    return list(json.loads(data)["history"])


def _ends(spec: dict[str, Any], history: list[dict[str, Any]]) -> list[int]:
    """Where each event's text ends in the record."""
    return [len(record.frame(spec, history[:count])) - len(record.CLOSING) for count in range(1, len(history) + 1)]


@given(specs, histories)
def test_frame_is_framed_json_that_says_what_was_put_in(spec: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Any job and any history survive being written and read, by us and by any JSON reader."""
    data = record.frame(spec, history)
    assert record.is_framed(data)
    assert json.loads(data) == {"format": 1, **spec, "history": history}
    item = record.decode(data)
    assert item.command == spec["command"]
    assert [event.event for event in item.history] == [event["event"] for event in history]


@given(specs, histories, st.lists(events, min_size=1, max_size=3))
def test_append_gives_what_a_rewrite_would_give(
    spec: dict[str, Any], history: list[dict[str, Any]], more: list[dict[str, Any]]
) -> None:
    """Adding events at the end is the same as writing the record anew (P4)."""
    data = record.frame(spec, history)
    tail = record.append(len(data), more, empty=not history)
    assert tail.on(data) == record.frame(spec, history + more)


@given(specs, st.lists(events, min_size=1, max_size=3))
@settings(max_examples=60)
def test_every_truncation_is_repaired_to_a_prefix(spec: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Cut anywhere, a record is none or whole again, with exactly the events that were complete before the cut (P4)."""
    whole = record.frame(spec, history)
    for length in range(len(whole) + 1):
        mended = record.repair(whole[:length])
        if mended is None:
            assert length < whole.rindex(b'\n "history": [') + len(b'\n "history": [')
            continue
        assert record.is_framed(mended)
        complete = sum(1 for end in _ends(spec, history) if end <= length)
        assert _history(mended) == history[:complete]


@given(specs, st.lists(events, min_size=1, max_size=4), st.data())
def test_every_torn_append_is_repaired_to_what_was_before_or_after(
    spec: dict[str, Any], history: list[dict[str, Any]], data: st.DataObject
) -> None:
    """A write cut short, or written in part over the old closing, costs at most the event it was to add (P4)."""
    before, after = record.frame(spec, history[:-1]), record.frame(spec, history)
    written = data.draw(st.integers(0, len(after)))
    size = data.draw(st.integers(min(len(before), written), len(after)))
    # What reached the disk of the new end, then the old end or NULs up to the size that reached the disk.
    offset = len(before) - len(record.CLOSING)
    torn = after[: max(written, offset)]
    torn = (torn + before[len(torn) :] if len(torn) < len(before) else torn).ljust(size, b"\0")
    mended = torn if record.is_framed(torn) and _decodes(torn) else record.repair(torn)
    assert mended is not None
    assert record.is_framed(mended)
    assert _history(mended) in (history[:-1], history)


def _decodes(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


@given(specs, histories, st.data(), st.binary(max_size=60))
def test_random_tail_is_repaired_to_a_prefix(
    spec: dict[str, Any], history: list[dict[str, Any]], data: st.DataObject, noise: bytes
) -> None:
    """Whatever bytes stand in the place of a record's tail, what was whole before them is kept as it was (P4)."""
    whole = record.frame(spec, history)
    length = data.draw(st.integers(0, len(whole)))
    mended = record.repair(whole[:length] + noise)
    if mended is None:
        return
    assert record.is_framed(mended)
    # An event whose line had ended before the cut is out of reach of the noise.
    complete = sum(1 for end in _ends(spec, history) if end + len(b",\n") <= length)
    assert _history(mended)[:complete] == history[:complete]


@given(st.binary(max_size=200))
def test_noise_is_never_a_record_and_never_an_error(noise: bytes) -> None:
    """No bytes crash the reader (P6)."""
    assert not record.is_framed(noise)
    assert record.repair(noise) is None
    assert isinstance(parse(noise, lines=False), Incomplete | Refused | Many | Single)
    assert isinstance(parse(noise, lines=True), Incomplete | Many)


@given(specs, histories)
def test_record_taken_in_from_any_layout_is_the_same_record(
    spec: dict[str, Any], history: list[dict[str, Any]]
) -> None:
    """Saved by an editor with other whitespace, a record keeps every key and every event (P7)."""
    spec = {**spec, "command": "true"}
    document = json.loads(record.frame(spec, history))
    for text in (json.dumps(document), json.dumps(document, indent=4).replace("\n", "\r\n")):
        parsed = parse(b"\xef\xbb\xbf" + text.encode(), lines=False)
        assert isinstance(parsed, Single)
        taken = accept(parsed.document, defaults=RetryDefaults(9, 9, 9, 0), now_at=NOON_AT)
        assert taken.history == history
        expected = {key: value for key, value in spec.items() if key != "priority" or value}
        assert {key: taken.spec[key] for key in expected} == expected


@given(histories)
def test_standing_counts_what_a_simple_reader_counts(history: list[dict[str, Any]]) -> None:
    """Attempts and failures read off the history are what a person would count."""
    spec = {"id": "a", "command": "true", "max_retries": 3, "backoff_base": 2, "backoff_max": 9}
    standing = record.decode(record.frame(spec, history)).standing()
    kinds = [event["event"] for event in history]
    assert standing.starts == kinds.count("started")
    fresh = max((number for number, kind in enumerate(kinds) if kind in ("enqueued", "requeued")), default=-1)
    assert standing.failures == sum(kind in ("failed", "timed_out", "abandoned") for kind in kinds[fresh + 1 :])


_moves = st.sampled_from(
    ["started", "failed", "timed_out", "released", "abandoned", "succeeded", "cancelled", "requeued", "warning", "new"]
)


@given(
    kinds=st.lists(_moves, min_size=20, max_size=120),
    more=st.lists(_moves, max_size=60),
    reason=texts,
)
def test_a_fold_changes_nothing_that_is_read_off_a_history(kinds: list[str], more: list[str], reason: str) -> None:
    """P4: whatever happened to a job, its standing is the same after one fold and after a second one."""
    spec = {"id": "job1", "command": "x", "max_retries": 3, "backoff_base": 2, "backoff_max": 3600}
    made = [history.event("enqueued", NOON_AT, by="enqueue")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "FOLD_BYTES", 400)
        patch.setattr(folding, "FOLD_KEEPS", 6)
        folded = plain = record.frame(spec, made)
        for place, kind in enumerate((*kinds, *more)):
            event = history.event(kind, NOON_AT + place, attempt=place, reason=reason, exit_code=place % 3)
            plain = _appended(plain, event)
            folded = _appended(folded, event)
            if place in (len(kinds) - 1, len(kinds) + len(more) - 1):
                folded = folding.fold(folded, record.decode(folded)) or folded
    old, new = record.decode(plain), record.decode(folded)
    assert record.is_framed(folded) and record.exact(folded) is not None
    assert new.standing() == old.standing()
    assert history.length(new.history) == history.length(old.history)
    assert history.starts_in(json.loads(folded)["history"]) == old.standing().starts


def _appended(data: bytes, event: dict[str, Any]) -> bytes:
    tail = record.append(len(data), [event])
    return tail.on(data)
