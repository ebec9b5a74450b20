"""supervisor: the loop over sources and duties."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from queuectl.pool.supervisor import Supervisor
from queuectl.system.clock import Clock


class Pipe:
    """A source that notes what it receives."""

    def __init__(self, said: list[str]) -> None:
        self._said = said
        self._pair: Any = multiprocessing.Pipe(duplex=False)
        self.conn: Connection | None = self._pair[0]

    def send(self, word: str) -> None:
        """Make the source readable."""
        self._pair[1].send(word)

    def receive(self) -> None:
        """Note a word; a pipe that has ended is waited for no more."""
        assert self.conn is not None
        try:
            self._said.append(self.conn.recv())
        except EOFError:
            self.conn = None

    def end(self) -> None:
        """Close the far end."""
        self._pair[1].close()

    def close(self) -> None:
        """Close both ends."""
        for end in self._pair:
            end.close()


class Note:
    """A duty that notes its steps, and is due at a time."""

    def __init__(self, said: list[str], word: str, due_s: float | None = None) -> None:
        self._said = said
        self._word = word
        self._due_s = due_s

    def step(self, now_s: float) -> None:
        """Note the step."""
        self._said.append(self._word)

    def due_s(self) -> float | None:
        """When it is due."""
        return self._due_s


@pytest.fixture
def said() -> list[str]:
    """What happened, in order."""
    return []


@pytest.fixture
def pipe(said: list[str]) -> Iterator[Pipe]:
    """A source."""
    made = Pipe(said)
    yield made
    made.close()


def rounds(count: int) -> Any:
    """Return a question whose answer is true after so many rounds."""
    left = iter([False] * count)
    return lambda: next(left, True)


def test_sources_receive_before_the_duties_in_order(said: list[str], pipe: Pipe) -> None:
    """A round: hand on, wait, receive, and each duty once, in the order of the list."""
    duties = [Note(said, "first", due_s=0.0), Note(said, "second")]
    loop = Supervisor(Clock(), [pipe], [*duties], flush=lambda: said.append("flush"))
    pipe.send("word")
    loop.run(until=rounds(2))
    assert said == ["flush", "word", "first", "second", "flush", "first", "second"]


def test_a_source_that_has_ended_is_waited_for_no_more(said: list[str], pipe: Pipe) -> None:
    """Without a pipe a source stays in the list: a worker gets another one when it is started again."""
    loop = Supervisor(Clock(), [pipe], [Note(said, "duty", due_s=0.0)], flush=lambda: None)
    pipe.end()
    loop.run(until=rounds(2))
    assert pipe.conn is None and said == ["duty", "duty"]


def test_the_loop_waits_for_what_is_due_next(said: list[str], pipe: Pipe) -> None:
    """It sleeps until the first duty is due, and not until the last one."""
    clock = Clock()
    began_s = clock.monotonic()
    duties = [Note(said, "late", due_s=began_s + 3600), Note(said, "soon", due_s=began_s + 0.05), Note(said, "never")]
    Supervisor(clock, [pipe], [*duties], flush=lambda: None).run(until=rounds(1))
    assert 0.03 < clock.monotonic() - began_s < 60


def test_a_loop_that_is_over_does_nothing(said: list[str], pipe: Pipe) -> None:
    """The question comes first in a round."""
    Supervisor(Clock(), [pipe], [Note(said, "duty")], flush=lambda: said.append("flush")).run(until=rounds(0))
    assert said == []
