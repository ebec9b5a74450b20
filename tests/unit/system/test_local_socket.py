"""Requests and answers over a socket in a folder."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.system import local_socket
from queuectl.system.local_socket import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sockets of nodes are for Linux")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """A folder with a server that echoes, and refuses "no"."""
    server = Server(str(tmp_path), "s")
    read_fd, write_fd = os.pipe()
    server.watch(read_fd)

    def serve() -> None:
        while True:
            requests, ready = server.wait(None)
            if ready:
                return
            for each in reversed(requests):
                if each.word == "no":
                    each.refuse("because\nof that")
                else:
                    each.answer(f"{each.word} {each.text}")

    thread = threading.Thread(target=serve)
    thread.start()
    yield str(tmp_path)
    os.write(write_fd, b"x")
    thread.join()
    server.close()
    os.close(read_fd)
    os.close(write_fd)


def test_a_request_is_answered_or_refused(folder: str) -> None:
    """Texts of any size and letters come back; a refusal is one line."""
    for word, text, answer in (
        ("a", "x y", (True, "a x y")),
        ("a", "", (True, "a ")),
        ("a", "é" * 3_000_000, (True, "a " + "é" * 3_000_000)),
        ("no", "", (False, "because of that")),
    ):
        with local_socket.connect(folder, "s", 60.0) as connection:
            assert local_socket.ask(connection, word, text) == answer


def test_many_requests_share_a_connection(folder: str) -> None:
    """Answers carry the number of their request and come in any order."""
    with local_socket.connect(folder, "s", 60.0) as connection:
        connection.sendall(b"".join(local_socket.pack(str(number), "a", "") for number in range(100)))
        data = b""
        while data.count(b"\n") < 100:
            data += connection.recv(65536)
    assert sorted(int(local_socket.unpack(line)[0]) for line in data.splitlines()) == list(range(100))


def test_nonsense_closes_the_connection(folder: str) -> None:
    """A line that is not a request, and one without an end, hold up nobody."""
    for nonsense in (b"x\n", b"\xff \xff \xff\n", b"x" * (local_socket.MAX_BYTES + 1)):
        with local_socket.connect(folder, "s", 60.0) as connection:
            try:
                connection.sendall(nonsense)
                assert connection.recv(10) == b""
            except (BrokenPipeError, ConnectionResetError):
                pass
    with local_socket.connect(folder, "s", 60.0) as connection:
        assert local_socket.ask(connection, "a", "b") == (True, "a b")


def test_the_peer_is_known(folder: str) -> None:
    """The system says which process listens, so that one that hangs can be killed."""
    with local_socket.connect(folder, "s", 60.0) as connection:
        assert local_socket.peer(connection) == (os.getpid(), os.geteuid())
    assert Path(folder, "s").stat().st_mode & 0o777 == 0o600
