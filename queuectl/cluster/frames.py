"""The messages between a worker and its bridge: a line of JSON with the length of the text that follows it.

The bridge speaks to other machines and has their code in its process (pickles), so the worker believes nothing of it:
`Frames.feed` refuses what is too long or has another form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from queuectl.cluster.wire import MAX_MESSAGE_BYTES, ProtocolError

# From the worker to the bridge, and what each says after its name.
CONFIG = "config"
"""The body is what the bridge needs to begin (`Config`)."""
CALL = "call"
"""The number of the call, the address of the node, the operation; the body is the message."""
BUSY = "busy"
"""The address of a node, and whether anything runs there."""
# From the bridge to the worker.
NODES = "nodes"
"""The body is an object: the address of each node, by name."""
LOST = "lost"
"""The body says why there is no scheduler; it is empty if there is one."""
ARRIVAL = "arrival"
"""The number of the call, and its kind; the body is the text."""

_MAX_HEAD_BYTES = 4096
_MAX_BODY_BYTES = 2 * MAX_MESSAGE_BYTES


class Frame(NamedTuple):
    """One message: its words, and its text."""

    words: list[str | int]
    body: str


def pack(*words: str | int, body: str = "") -> bytes:
    """Return the bytes of a message."""
    data = body.encode("utf-8", "backslashreplace")
    return json.dumps([len(data), *words]).encode() + b"\n" + data


class Frames:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the messages that are complete with these bytes.

        Raises:
            ProtocolError: the other side does not keep to the form. Nothing after that can be read.
        """
        self._data += data
        while (end := self._data.find(b"\n")) >= 0:
            size, words = _head(bytes(self._data[:end]))
            whole = end + 1 + size
            if len(self._data) < whole:
                return
            body = self._data[end + 1 : whole].decode("utf-8", "replace")
            del self._data[:whole]
            yield Frame(words, body)
        if len(self._data) > _MAX_HEAD_BYTES:
            raise ProtocolError("a message without a beginning")


def _head(line: bytes) -> tuple[int, list[str | int]]:
    try:
        found = json.loads(line) if len(line) <= _MAX_HEAD_BYTES else None
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str | int) for each in found):
        raise ProtocolError("a message without a beginning")
    size = found[0] if found else -1
    if type(size) is not int or not 0 <= size <= _MAX_BODY_BYTES or len(found) < 2:
        raise ProtocolError("a message of an impossible length")
    return size, found[1:]
