"""The messages between a pool and a keeper."""

from __future__ import annotations

import json

import pytest

from queuectl.cluster import protocol, wire
from queuectl.cluster.protocol import Beat, BeatRequest, Piece, RunEnd, RunSpec, StartRequest
from queuectl.cluster.wire import ProtocolError

SPEC = RunSpec("abc123.job-1.2", ["echo", "ä"], env={"A": "\udcff"}, timeout_s=1.5, output_max=10)
END = RunEnd("abc123.job-1.2", protocol.EXIT, 0, "", 0.5, 3, killed=[7])


@pytest.mark.parametrize(
    "message",
    [
        StartRequest("s", "m", "g", 7, [SPEC, SPEC._replace(command="true", timeout_s=None)]),
        Beat(1, "g", 2.5, ["a.b.1"], [END], [], [Piece("a.b.1", 3, b"\x00\xff")], 4),
        BeatRequest("s", "m", "x", 30.0, output={"a.b.1": 5}),
    ],
)
def test_a_message_comes_back_as_it_was(message: tuple[object, ...]) -> None:
    """Every kind of value survives the way: bytes, surrogates, null, lists and objects in messages."""
    text = wire.encode(message)
    assert text.isascii()
    assert "\n" not in text
    assert wire.decode(type(message), text) == message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "an object is needed"),
        ("[" * 100_000, "not JSON"),
        ('{"session": "s"}', "BeatRequest.member is missing"),
        (json.dumps(BeatRequest("s", "m", "x", 30.0)._asdict() | {"token": "1"}), "token: a whole number is needed"),
        (json.dumps(BeatRequest("s", "m", "x", 30.0)._asdict() | {"token": True}), "token: a whole number is needed"),
        (json.dumps(BeatRequest("s", "m", "x", 1e300)._asdict()), "lease_s: a number is needed"),
        (json.dumps(BeatRequest("s", "m", "x", float("nan"))._asdict()), "lease_s: a number is needed"),
        (json.dumps(BeatRequest("s", "m", "x", 30.0)._asdict() | {"acks": ["a"] * 20_001}), "acks: a list is needed"),
        (json.dumps(BeatRequest("s", "m", "x", 30.0)._asdict() | {"output": {"a": "b"}}), "output: a whole number"),
        (" " * (wire.MAX_MESSAGE_BYTES + 1), "too long"),
    ],
)
def test_a_bad_message_is_refused_and_says_why(text: str, why: str) -> None:
    """What another machine sends is checked: kinds, sizes, missing keys."""
    with pytest.raises(ProtocolError, match=why):
        wire.decode(BeatRequest, text)


def test_bytes_and_choices_are_checked() -> None:
    """Bytes must be base64, and of several types one must fit."""
    with pytest.raises(ProtocolError, match="bytes in base64"):
        wire.decode(Piece, '{"run": "a", "offset": 0, "data": "!"}')
    with pytest.raises(ProtocolError, match=r"RunSpec.command: a text or a list is needed, not 3"):
        wire.decode(RunSpec, '{"run": "a", "command": 3}')


def test_unknown_keys_are_left_out() -> None:
    """A newer version may add a key with a default."""
    assert wire.decode(RunSpec, '{"run": "a", "command": "b", "new": 1}') == RunSpec("a", "b")


def test_a_message_that_is_too_long_is_not_sent() -> None:
    """The sender is told, not the receiver."""
    with pytest.raises(ProtocolError, match="too long"):
        wire.encode(RunSpec("a", "x" * wire.MAX_MESSAGE_BYTES))


def test_a_run_has_a_name_that_tells_spool_job_and_attempt() -> None:
    """Ids may hold dots; anything that could lead out of a folder is refused."""
    assert protocol.run_parts(protocol.run_name("abc123", "a.b-1", 12)) == ("abc123", "a.b-1", 12)
    for run in ("a", "a.b", ".b.1", "a..1", "a.b.x", "a./.1", "../b.1", "a.b.1\n", "ä.b.1", "a." + "b" * 200 + ".1"):
        with pytest.raises(ProtocolError):
            protocol.run_parts(run)
