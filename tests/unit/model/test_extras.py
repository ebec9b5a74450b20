"""extras: the keys of format 2."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl.errors import InvalidJobError
from queuectl.model import document, extras, job, record

KEYS = [
    {"stdin": "x"},
    {"stdin": ""},
    {"stdin_file": "x"},
    {"give_up_after": 5},
    {"snooze_max": 5},
    {"expires_after": 5},
]
DEFAULTS = job.RetryDefaults(3, 2.0, 3600.0, 0.0)


def framed(**keys: Any) -> bytes:
    """The record of a job with these keys, as it is taken in."""
    taken = document.accept({"command": "true", **keys}, defaults=DEFAULTS, now_at=0.0)
    return record.frame({"id": "a", **taken.spec}, document.first_events(taken, by="enqueue", now_at=0.0))


@pytest.mark.parametrize("keys", KEYS)
def test_a_key_of_format_2_makes_a_record_of_format_2(keys: dict[str, Any]) -> None:
    """An older queuectl refuses such a record, by its first line; a plain record is as it always was (P1)."""
    data = framed(**keys)
    assert data.startswith(b'{\n "format": 2,\n "id": "a"')
    item = record.exact(data)
    assert item is not None
    assert {key: getattr(item.extras, key) for key in keys} == keys
    plain = framed()
    assert plain.startswith(b'{\n "format": 1,\n "id": "a"')
    assert record.decode(plain).extras is extras.PLAIN


def test_every_key_is_checked_by_one_side() -> None:
    """A document without a key of `INPUT_KEYS` does not reach `extras.normalise`, so a new key belongs to one set."""
    plain = {"id", "command", "owner", "cwd", "env", "minimal_env", "tags", "meta", "priority", "timeout", "output_max"}
    plain |= {"max_retries", "backoff_base", "backoff_max", "jitter", "no_retry_exit_codes", "retry_exit_codes"}
    plain |= {"run_at", "delay"}
    assert set(job.KNOWN_KEYS) - extras.INPUT_KEYS == plain


def test_a_key_that_a_person_adds_is_taken_in() -> None:
    """A record of format 1 does not get a key of format 2 in an editor without being judged again."""
    data = framed().replace(b' "history": [', b' "stdin": "x",\n "history": [')
    assert record.exact(data) is None
    assert record.decode(data).extras is extras.PLAIN


@pytest.mark.parametrize(
    ("keys", "key", "text"),
    [
        ({"stdin": "x", "stdin_file": "y"}, "stdin", "cannot be combined"),
        ({"stdin": "ä" * 262_145}, "stdin", "longer than 512 KiB"),
        ({"stdin": 5}, "stdin", "stdin"),
        ({"snooze_exit_codes": [0]}, "snooze_exit_codes", "0 is success"),
        ({"snooze_exit_codes": [75], "retry_exit_codes": [75]}, "snooze_exit_codes", "cannot both contain 75"),
        ({"snooze_max": "later"}, "snooze_max", "snooze_max"),
        ({"give_up_after": -1}, "give_up_after", "give_up_after"),
        ({"stdin_file": ""}, "stdin_file", "not the path of a file"),
        ({"expires_after": 0}, "expires_after", "zero would end the job"),
        ({"expires_after": "soon"}, "expires_after", "expires_after"),
        ({"expires_at": "2026-11-24"}, "expires_at", "is not an instant"),
        ({"expires_at": "2026-11-24T06:00:00"}, "expires_at", "time zone"),
        ({"expires_at": 5}, "expires_at", "expires_at"),
        ({"expires_at": "2026-11-24T06:00:00Z", "expires_after": 5}, "expires_at", "cannot be combined"),
        ({"stdin_file": "a\0b"}, "stdin_file", "not the path of a file"),
    ],
)
def test_bad_keys_are_refused_by_name(keys: dict[str, Any], key: str, text: str) -> None:
    """P6: an error names the key and its mistake."""
    with pytest.raises(InvalidJobError, match=text) as caught:
        framed(**keys)
    assert caught.value.key == key
