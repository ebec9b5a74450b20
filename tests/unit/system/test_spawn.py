"""spawn: commands that share their signals, handles and variables."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from queuectl.system import spawn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")

SHARED = {"A": "1", "B": "with = and ü", "MINE": "shared"}


class Out:
    """A file that commands write to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)

    def run(
        self,
        spawner: spawn.Spawner,
        code: str,
        own: Mapping[str, str],
        *,
        shared: Mapping[str, str] = SHARED,
        more: spawn.Handles = (),
    ) -> list[str]:
        """Run a shell script and return the lines that it has printed."""
        os.ftruncate(self.fd, 0)
        words = [b"sh", b"-c", code.encode()]
        pid = spawner.start(b"/bin/sh", words, shared=shared, own=own, handles=((self.fd, 1), *more))
        assert os.waitpid(pid, 0)[1] == 0
        return self.path.read_text().splitlines()


@pytest.fixture
def out(tmp_path: Path) -> Out:
    """An empty file."""
    return Out(tmp_path / "out")


@pytest.fixture
def spawner() -> spawn.Spawner:
    """One that resets the signal that Python ignores."""
    return spawn.Spawner([signal.SIGPIPE])


def test_own_variables_win_and_none_is_left_from_the_command_before(spawner: spawn.Spawner, out: Out) -> None:
    """Each command has the shared variables and its own, whichever names the one before had."""
    show = 'echo "$A $B $MINE ${ID-none}"'
    assert out.run(spawner, show, {"MINE": "x", "ID": "1"}) == ["1 with = and ü x 1"]
    assert out.run(spawner, show, {"MINE": "y", "ID": "2"}) == ["1 with = and ü y 2"]
    assert out.run(spawner, show, {"MINE": "y"}) == ["1 with = and ü y none"]
    assert out.run(spawner, show, {}) == ["1 with = and ü shared none"]
    assert out.run(spawner, 'echo "${A-none}"', {"ID": "3"}, shared={"B": "2"}) == ["none"]


def test_a_command_is_the_first_of_its_group_with_its_signals_reset(spawner: spawn.Spawner, out: Out) -> None:
    """It can be ended as a group, and a closed pipe ends it as it ends one of a shell."""
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    (pids,) = out.run(spawner, 'echo "$$ $(cut -d " " -f 5 /proc/$$/stat)"', dict(os.environ))
    pid, group = pids.split()
    assert pid == group != str(os.getpgrp())
    mask = 1 << (signal.SIGPIPE - 1)
    (ignored,) = out.run(spawner, "sed -n 's/^SigIgn:.//p' /proc/self/status", dict(os.environ))
    assert not int(ignored, 16) & mask


def test_a_command_has_the_handles_that_were_given_and_no_others(spawner: spawn.Spawner, out: Out) -> None:
    """A handle that is given as itself is inherited; others of this process are not."""
    given, other = (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(2))
    lines = out.run(spawner, "ls /proc/$$/fd", dict(os.environ), more=((given, given), (given, 0)))
    assert str(given) in lines and str(other) not in lines and str(out.fd) not in lines
    os.close(given)
    os.close(other)


@pytest.mark.parametrize(
    ("words", "own"),
    [([], {}), ([b"a\0b"], {}), ([b"true"], {"A": "x\0"}), ([b"true"], {"A=B": "x"}), ([b"true"], {"": "x"})],
)
def test_what_no_system_takes_is_refused(spawner: spawn.Spawner, words: list[bytes], own: dict[str, str]) -> None:
    """A NUL would cut a text short; a name with = would set another variable."""
    for shared, mine in ((SHARED, own), (own or {"A": "\0"}, {})):
        with pytest.raises(ValueError):
            spawner.start(b"/bin/true", words, shared=shared, own=mine, handles=())


def test_errors_of_the_system_name_the_program(spawner: spawn.Spawner) -> None:
    """Nothing runs then."""
    with pytest.raises(FileNotFoundError) as caught:
        spawner.start(b"/no/such/program", [b"x"], shared={}, own={}, handles=())
    assert caught.value.filename == "/no/such/program"
    with pytest.raises(PermissionError):
        spawner.start(b"/etc/passwd", [b"x"], shared={}, own={}, handles=())


def test_many_sets_of_handles_are_forgotten_in_time(
    spawner: spawn.Spawner, out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered is bounded, and commands go on to start."""
    monkeypatch.setattr(spawn, "_ACTIONS_KEPT", 3)
    for number in range(10, 30):
        assert out.run(spawner, "echo x", {}, more=((out.fd, number),)) == ["x"]
