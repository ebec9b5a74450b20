"""readiness: which of many pipes can be read."""

from __future__ import annotations

from multiprocessing import Pipe

from queuectl.readiness import Readiness


def test_what_has_something_or_has_ended_is_told() -> None:
    """Also an end without a word, which is how a dead worker is heard of; and nothing where the time is up."""
    readiness = Readiness()
    (near, far), (near2, far2) = Pipe(), Pipe()
    assert readiness.wait([near, near2], 0) == []
    far2.send("x")
    assert readiness.wait([near, near2], 5) == [near2]
    assert readiness.wait([near, near2], 5) == [near2]  # until it is read
    near2.recv()
    far.close()
    assert readiness.wait([near, near2], 5) == [near]
    near.close()
    assert readiness.wait([near2], 0) == []
    far2.close()
    assert readiness.wait([near2], 5) == [near2]
    near2.close()


def test_another_pipe_with_the_same_number_is_another_source() -> None:
    """A worker that died and the one in its place may have the same descriptor."""
    readiness = Readiness()
    first, far = Pipe()
    number = first.fileno()
    assert readiness.wait([first], 0) == []
    first.close()
    far.close()
    second, far = Pipe()
    far.send("x")
    assert readiness.wait([second], 5) == [second], (number, second.fileno())
    second.close()
    far.close()
