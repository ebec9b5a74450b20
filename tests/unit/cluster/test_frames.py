"""The messages between a worker and its bridge."""

from __future__ import annotations

import pytest

from queuectl.cluster import frames
from queuectl.cluster.frames import Frame, Frames, pack
from queuectl.cluster.wire import ProtocolError


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_is_cut_into_its_messages(size: int) -> None:
    """Messages come whole and in their order, however the bytes come."""
    sent = [
        Frame([frames.CALL, 5, "tls://a:1", "beat"], '{"a":\n"ü"}'),
        Frame([frames.LOST], ""),
        Frame(["x"], "y" * 999),
    ]
    data = b"".join(pack(*frame.words, body=frame.body) for frame in sent)
    cut = Frames()
    got = [frame for start in range(0, len(data), size) for frame in cut.feed(data[start : start + size])]
    assert got == sent


@pytest.mark.parametrize(
    "data",
    [
        *(b"hello\n", b"[]\n", b"[5]\n", b'["5", "lost"]\n', b'[-1, "lost"]\n', b'[1e3, "x"]\n', b"[0, {}]\n"),
        *(b"[" * 5000, b'[99999999999, "lost"]\n', b"x" * 5000),
    ],
)
def test_another_form_is_refused(data: bytes) -> None:
    """A bridge can hold code of other machines: what does not keep to the form is not read on."""
    with pytest.raises(ProtocolError):
        list(Frames().feed(data))
