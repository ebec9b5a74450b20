"""channel: how a worker waits for its command and its supervisor at once. POSIX; tests/windows has the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("commands of sh", allow_module_level=True)

from queuectl.worker.executors.children import Children
from queuectl.worker.messages import Feed, Stop, pack_order
from tests.helpers import wait_until
from tests.unit.worker.executors.test_posix import Bench, bench_in


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An executor with a pipe."""
    yield from bench_in(tmp_path)


def test_wait_ends_with_the_time(bench: Bench) -> None:
    """A wait without an end gives None and the command runs on."""
    bench.start(["sleep", "60"])
    assert bench.look(0.01) is None
    bench.terminate(5)


def test_wait_ends_with_a_message(bench: Bench) -> None:
    """A worker gets orders of its supervisor while a command runs."""
    bench.start(["sleep", "60"])
    bench.supervisor.send_bytes(pack_order(Stop()))
    assert bench.channel.wait(60) and bench.channel.ended() is None
    assert bench.channel.receive() == Stop()
    assert not bench.channel.wait(0)
    bench.terminate(5)


def test_an_end_that_came_with_a_wait_for_messages_is_seen_at_once(bench: Bench) -> None:
    """The signal that a child has ended is taken in there; to see the end needs no other wait."""
    bench.start(["true"])
    while not bench.channel._is_woken:
        assert not bench.channel.wait(60)
    assert not bench.channel.wait(0)
    ((process, ended),) = bench.channel.ended() or ()
    assert process is bench.process and ended.exit_code == 0


def test_a_message_that_came_with_the_end_of_a_command_is_noticed(bench: Bench) -> None:
    """A stop is not left in the pipe behind a burst of short jobs: each wait sees it."""
    bench.start(["true"])
    wait_until(lambda: Children.has_ended(bench.process.pid))
    bench.supervisor.send_bytes(pack_order(Stop()))
    assert bench.channel.wait(60) and bench.channel.ended()


def test_a_message_that_came_with_another_one_ends_a_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both were read at once, so the pipe shows nothing any more."""
    waits_s: list[float | None] = []

    def wait(_sources: object, timeout_s: float | None) -> list[object]:
        waits_s.append(timeout_s)
        return []

    bench.start(["sleep", "60"])
    for order in (Feed(["a.json"]), Stop()):
        bench.supervisor.send_bytes(pack_order(order))
    assert bench.channel.wait(60) and bench.channel.receive() == Feed(["a.json"], None)
    with monkeypatch.context() as patched:
        patched.setattr(bench.channel._selector, "wait", wait)
        assert bench.channel.wait(60) and bench.channel.receive() == Stop()
        assert waits_s == [0] and not bench.channel.wait(60)
    bench.terminate(5)


def test_a_channel_without_a_supervisor_waits_for_its_command_only(bench: Bench) -> None:
    """A supervisor that is gone does not keep a worker spinning."""
    bench.supervisor.close()
    assert bench.channel.wait(60)
    with pytest.raises(EOFError):
        bench.channel.receive()
    bench.channel.disconnect()
    assert not bench.channel.wait(0.01)
    assert bench.run("exit 3").exit_code == 3
