"""How a carrier on a node reaches the keeper of that node: finds it, starts it, asks it, and ends one that hangs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from queuectl.cluster import protocol, wire
from queuectl.cluster.scratch import LOG, SOCKET, Scratch
from queuectl.system import local_socket, processes

_START_WITHIN_S = 20.0
_LOOK_AGAIN_S = 0.01
_CONNECT_WITHIN_S = 5.0
# One line of an answer; asyncio's own limit is 64 KB.
_LONGEST_LINE = local_socket.MAX_BYTES


class RefusedError(Exception):
    """The keeper has refused a request whole; the text says why."""


def call(scratch: str, op: str, body: str, timeout_s: float) -> str:
    """Ask the keeper of a scratch folder; return its answer.

    Raises:
        RefusedError: it refuses.
        OSError: there is no keeper, or it does not answer in time (TimeoutError).
    """
    with local_socket.connect(scratch, SOCKET, timeout_s) as connection:
        is_answered, text = local_socket.ask(connection, op, body)
    if not is_answered:
        raise RefusedError(text)
    return text


async def call_async(scratch: str, op: str, body: str) -> str:
    """Do the same as `call` in an event loop, without a limit of time."""
    import asyncio

    with local_socket.address(scratch, SOCKET) as where:
        reader, writer = await asyncio.open_unix_connection(where, limit=_LONGEST_LINE)
    try:
        writer.write(local_socket.pack("1", op, body))
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
    if not line.endswith(b"\n"):
        raise ConnectionResetError("the keeper closed the connection")
    _, how, text = local_socket.unpack(line)
    if how != local_socket.OK:
        raise RefusedError(text)
    return text


def keeper_pid(scratch: str) -> int:
    """Return the pid of the keeper of a scratch folder, as this process sees it. Raises OSError if there is none."""
    with local_socket.connect(scratch, SOCKET, _CONNECT_WITHIN_S) as connection:
        return local_socket.peer(connection).pid


def node_name(scratch: str) -> str:
    """Return the name of the node whose keeper has this scratch folder. Raises OSError if there is no keeper."""
    answer = call(scratch, protocol.LOOK, "{}", _CONNECT_WITHIN_S)
    return wire.decode(protocol.Look, answer).node


def find_or_start(scratch: str, words: Sequence[str] = ()) -> None:
    """Return when a keeper answers; start one, detached, if there is none. `words`: its options.

    Raises:
        OSError: none answers in time; its log says why.
    """
    if sys.platform != "linux":
        raise OSError("nodes of a cluster run on Linux only")
    deadline = time.monotonic() + _START_WITHIN_S
    pid = 0
    Scratch(scratch).prepare()
    while not _answers(scratch):
        if not pid:
            pid = _start(scratch, words)
        elif os.waitpid(pid, os.WNOHANG)[0]:  # another one was faster, or something is wrong
            pid = 0
            time.sleep(_LOOK_AGAIN_S * 10)
        if time.monotonic() > deadline:
            raise TimeoutError(f"no keeper answers; its log is {os.path.join(scratch, LOG)}")
        time.sleep(_LOOK_AGAIN_S)


def _answers(scratch: str) -> bool:
    try:
        call(scratch, protocol.LOOK, "{}", _CONNECT_WITHIN_S)
    except (OSError, RefusedError):
        return False
    return True


def _start(scratch: str, words: Sequence[str]) -> int:
    assert sys.platform == "linux"
    log = os.path.join(scratch, LOG)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    argv = [sys.executable, "-m", "queuectl.cluster.keeper", scratch, *words]
    return os.posix_spawn(
        argv[0],
        argv,
        os.environ,
        file_actions=(
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ),
        setsid=True,
        setsigmask=(),
    )


def guard(scratch: str, silent_s: float = 4.0) -> bool:
    """Return whether the keeper answers; kill one that is there and does not. It waits for up to `silent_s`.

    Its commands die with it, or are ended by the next keeper.
    """
    try:
        with local_socket.connect(scratch, SOCKET, silent_s) as connection:
            pid = local_socket.peer(connection).pid
            hung = processes.find(pid)
            try:
                local_socket.ask(connection, protocol.LOOK, "{}")
            except TimeoutError:
                if hung is not None:
                    processes.send(hung, 9)
                return False
    except OSError:
        return False
    return True
