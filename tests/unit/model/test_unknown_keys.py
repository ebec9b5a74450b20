"""unknown_keys: what is said about keys that queuectl does not know."""

from __future__ import annotations

import pytest

from queuectl.model import unknown_keys
from queuectl.model.job import KNOWN_KEYS


@pytest.mark.parametrize(
    ("key", "meant"),
    [("Max-Retries", "max_retries"), ("retries", "max_retries"), ("comand", "command"), ("scheduledFor", "run_at")],
)
def test_a_key_in_other_words_is_recognised(key: str, meant: str) -> None:
    """Another spelling, another queue's word, a slip: the warning names the key that is meant."""
    assert unknown_keys.warnings([key], KNOWN_KEYS) == [f"the key {key!r} is ignored; did you mean {meant!r}?"]


def test_notes_and_keys_of_others_are_worth_no_warning() -> None:
    """What other queues write into their files, and what begins with x-, is ignored without a word."""
    assert unknown_keys.warnings(["status", "created_at", "comment", "x-mine", "$schema"], KNOWN_KEYS) == []


def test_many_strange_keys_are_one_warning() -> None:
    """Five are named, however many there are and however long."""
    (text,) = unknown_keys.warnings([f"{number}-{'z' * 500}" for number in range(5000)], KNOWN_KEYS)
    assert "and 4995 more" in text and len(text) < 500


def test_the_nearest_key_is_found_among_the_first_ones() -> None:
    """A file of nothing but strange keys must not take seconds, so only the first ones are compared."""
    assert unknown_keys.nearest("command", ["x", "comand"]) == "comand"
    assert unknown_keys.nearest("command", [*map(str, range(50)), "comand"]) == ""
