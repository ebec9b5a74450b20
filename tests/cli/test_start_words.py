"""start_words: reads the usual `worker start` without Typer, and as Typer does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from queuectl.cli import context, main, pool_start, start_words
from queuectl.cli.start_words import Wanted


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Wanted, str]]]:
    """What Typer has a pool started with, and the spool: no pool is started."""
    found: list[tuple[Wanted, str]] = []
    monkeypatch.delenv(context.VARIABLE, raising=False)
    monkeypatch.setattr(pool_start, "run", lambda wanted: found.append((wanted, context.options.spool)))
    yield found
    context.reset()


def by_typer(words: list[str], started: list[tuple[Wanted, str]]) -> tuple[Wanted, str] | None:
    """Return what Typer makes of these words; None if it refuses them."""
    started.clear()
    code = main.main(words)
    assert (code == 0) == bool(started), (words, code)
    return started[0] if started else None


PARTS = [
    [],
    ["--drain"],
    ["--count", "2"],
    ["-c", "256"],
    ["--count", "007"],
    ["--max-jobs", "3"],
    ["--spool", "a b"],
]


def test_both_read_the_usual_words_alike(started: list[tuple[Wanted, str]]) -> None:
    """Each order of the usual options, twice and before the command too."""
    for first, second, third in itertools.product(PARTS, repeat=3):
        before = first if first[:1] == ["--spool"] else []
        words = [*before, "worker", "start", *([] if before else first), *second, *third]
        found = start_words.read(words)
        assert found is not None, words
        assert (found, context.options.spool) == by_typer(words, started), words


@pytest.mark.parametrize(
    "line",
    [
        "",
        "worker",
        "start worker",
        "worker start now",
        "worker start --count 0",
        "worker start --count 257",
        "worker start --count -1",
        "worker start --count x",
        "worker start --count ٣",
        "worker start --count 1_0",
        "worker start --count",
        "worker start --max-jobs 0",
        "worker start --max-jobs 99999999999",
        "worker start --spool --drain",
        "worker start --count=2",
        "worker start -c2",
        "worker start -- ",
        "worker start -h",
        "worker start --detach",
        "worker start --drain --queue mail",
        "worker start --grace 5s",
        "worker --spool x start",
        "--drain worker start",
        "--count 2 worker start",
        "--debug worker start",
        "enqueue worker start",
        "worker start --drai",
    ],
)
def test_everything_else_is_left_to_typer(line: str) -> None:
    """A mistake, a rare option, another command: Typer knows the words for it."""
    assert start_words.read(line.split(" ")) is None


def test_a_completion_is_left_to_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tab starts no pool."""
    monkeypatch.setitem(os.environ, context.COMPLETION_VARIABLE, "complete_bash")
    assert start_words.read(["worker", "start"]) is None
