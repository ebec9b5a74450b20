"""framing: the messages of a pipe, as the library of the other end has them."""

from __future__ import annotations

import threading
from multiprocessing import Pipe

import pytest

from queuectl.system import framing

MESSAGES = [b"", b"a", b"x" * 16_383, b"y" * 16_385, b"z" * 1_000_000, b"end"]


def test_either_end_may_be_a_connection() -> None:
    """Short and long messages, more than a pipe holds at once."""
    ours, theirs = Pipe()
    with ours, theirs:
        sender = threading.Thread(target=lambda: [framing.send(ours, each) for each in MESSAGES])
        sender.start()
        assert [theirs.recv_bytes() for _ in MESSAGES] == MESSAGES
        sender.join()
        sender = threading.Thread(target=lambda: [theirs.send_bytes(each) for each in MESSAGES])
        sender.start()
        reader = framing.Reader(ours)
        assert [reader.receive() for _ in MESSAGES] == MESSAGES
        sender.join()


def test_messages_that_came_together_are_received_one_by_one() -> None:
    """The pipe does not show the second one any more; the reader does."""
    ours, theirs = Pipe()
    with ours, theirs:
        reader = framing.Reader(ours)
        assert not reader.has_message
        for each in (b"one", b"", b"three"):
            framing.send(theirs, each)
        assert reader.receive() == b"one"
        left = []
        while reader.has_message or ours.poll(0):
            left.append(reader.receive())
        assert left == [b"", b"three"] and not reader.has_message


def test_what_came_before_the_end_is_received() -> None:
    """Then the end is an error, also in the middle of a message."""
    ours, theirs = Pipe()
    with ours:
        reader = framing.Reader(ours)
        framing.send(theirs, b"last")
        theirs.close()
        assert reader.receive() == b"last"
        with pytest.raises((EOFError, OSError)):
            reader.receive()


def test_a_pipe_without_an_other_end_is_an_error() -> None:
    """As for a Connection."""
    ours, theirs = Pipe()
    theirs.close()
    with ours, pytest.raises(OSError):
        for _ in range(2):
            framing.send(ours, b"nobody reads this")
