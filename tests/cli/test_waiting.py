"""wait, and logs that are followed: what they print and how they end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl.api import Spool
from queuectl.cli.commands import wait
from queuectl.model.lifecycle import Outcome
from queuectl.monitor.wait import Wait
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock
from tests.cli.commands import Commands
from tests.helpers import Desk, set_monotonic

OK = Outcome("succeeded", 0, "", 0.1)


@pytest.fixture
def clock() -> Clock:
    """The real clock: the commands look at it too."""
    return Clock()


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """Have things happen while a command pauses: one call a pause. Time passes for it only in pauses."""

    def prepare(*calls: Callable[[], Any]) -> list[float]:
        left, passed = list(calls), [0.0]
        clock_s = time.monotonic()

        def pause(seconds: float) -> None:
            passed[0] += seconds
            if left:
                left.pop(0)()

        monkeypatch.setattr(time, "sleep", pause)
        set_monotonic(monkeypatch, lambda: clock_s + passed[0])
        return passed

    return prepare


def interrupt() -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


# ---------------------------------------------------------------------------------------------------------------- wait


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (OK, 0),
        (Outcome("failed", 7, "", 0.1), 7),
        (Outcome("failed", 255, "", 0.1), 255),
        (Outcome("failed", 256, "", 0.1), 4),
        (Outcome("failed", 0xC000013A, "", 0.1), 4),
        (Outcome("timed_out", 143, "timed out", 0.1), 143),
        (Outcome("abandoned"), 4),
        (Outcome("cancelled", None, "by hand"), 4),
    ],
)
def test_wait_for_one_job_ends_as_it_did(queuectl: Commands, desk: Desk, outcome: Outcome, code: int) -> None:
    """A single job passes its exit code on where every system can; else it is 4."""
    desk.run(desk.enqueue(id="a", max_retries=0), outcome)
    (row,) = queuectl("wait", "a", code=code).rows
    assert row[:3] == ["a", "dlq" if code else "done", "" if outcome.exit_code is None else str(outcome.exit_code)]
    assert bool(row[3]) == bool(code)


def test_wait_goes_on_over_retries_until_all_have_ended(
    queuectl: Commands, desk: Desk, meanwhile: Callable[..., list[float]]
) -> None:
    """A failed run with retries left is no end; the rows are in the order the jobs ended."""
    a, b = desk.enqueue(id="a", backoff_base=0), desk.enqueue(id="b")
    meanwhile(lambda: desk.run(a, Outcome("failed", 3)), lambda: desk.run(b, OK), lambda: desk.run(a, OK))
    assert [row[0] for row in queuectl("wait", "a", "b").rows] == ["b", "a"]


def test_wait_gives_up_when_the_time_is_up(
    queuectl: Commands, desk: Desk, meanwhile: Callable[..., list[float]]
) -> None:
    """124 after --timeout; it names the jobs that have ended and those that have not."""
    desk.run(desk.enqueue(id="a"), OK)
    desk.enqueue(id="b")
    passed = meanwhile()
    result = queuectl("wait", "a", "b", "--timeout", "1m", code=124)
    assert passed == [pytest.approx(60)]
    assert (result.rows, "b not ended" in result.err) == ([["a", "done", "0", ""]], True)
    made = queuectl("wait", "a", "b", "--timeout", "0", "--json", code=124).json
    assert (made["version"], made["timed_out"], made["left"]) == (1, True, ["b"])
    assert (made["ended"][0]["id"], made["ended"][0]["succeeded"]) == ("a", True)


def test_wait_tells_how_far_it_is(queuectl: Commands, desk: Desk, meanwhile: Callable[..., list[float]]) -> None:
    """Elsewhere than on a terminal it is a line every ten seconds; on one, a line that is taken away again."""
    desk.run(desk.enqueue(id="a", max_retries=0), Outcome("failed", 3))
    for job_id in ("b", "c"):
        desk.enqueue(id=job_id)
    meanwhile()
    lines = queuectl("wait", "a", "b", "c", "--timeout", "35", code=124).err.splitlines()
    assert lines[0] == "1 of 3 ended, 1 failed; waiting for b, c since 10s"
    assert len(lines) == 4
    queuectl.on_terminal = True
    result = queuectl("wait", "a", "b", "c", "--timeout", "5", code=124)
    assert "\r1 of 3 ended" in result.err and result.err.rstrip("\n").split("\r")[-1].startswith("the time is up")
    assert "a is dead: exit 3, 1 attempt" in result.out


def test_wait_looks_seldom_at_what_takes_long(
    queuectl: Commands, desk: Desk, meanwhile: Callable[..., list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From ten looks a second at first to one a second later: an hour is no more than 4,000 looks."""
    desk.enqueue(id="a")
    looks: list[str] = []
    holds = SpoolDir.holds
    monkeypatch.setattr(SpoolDir, "holds", lambda *args: looks.append("") or holds(*args))
    meanwhile()
    queuectl("wait", "a", "--timeout", "1h", code=124)
    assert 3600 < len(looks) < 4000


@pytest.mark.parametrize(
    ("words", "code"), [([], 2), (["nobody"], 3), (["j"], 2), (["j1", "--timeout", "soon"], 2), (["j1", "nobody"], 3)]
)
def test_wait_refuses_what_cannot_be_waited_for(queuectl: Commands, desk: Desk, words: list[str], code: int) -> None:
    """No id, one that is unknown or the beginning of several, a time that is none."""
    for job_id in ("j1", "j2"):
        desk.enqueue(id=job_id)
    queuectl("wait", *words, code=code)


def test_wait_takes_a_drop_by_either_name(
    queuectl: Commands, desk: Desk, meanwhile: Callable[..., list[float]]
) -> None:
    """A drop that names itself otherwise than its file is waited for under the id it will have."""
    name = desk.drop("file.json", {"id": "mine", "command": "true"})
    meanwhile(lambda: desk.run(name, OK))
    assert queuectl("wait", "file").rows[0][0] == "mine"


@pytest.mark.parametrize("words", [["wait", "a"], ["logs", "-f", "a"]])
def test_ctrl_c_ends_the_wait(
    queuectl: Commands, desk: Desk, meanwhile: Callable[..., list[float]], words: list[str]
) -> None:
    """Interrupted is 130; the job stays as it is."""
    desk.enqueue(id="a")
    meanwhile(interrupt)
    assert "interrupted" in queuectl(*words, code=130).err
    assert desk.spool.waiting_names() == ["a.json"]


# ------------------------------------------------------------------------------------------------------- logs --follow


def test_followed_logs_are_raw_in_a_pipe(queuectl: Commands, desk: Desk, meanwhile: Callable[..., list[float]]) -> None:
    """Byte for byte, also half characters; stderr reports the end, and the exit code is the job's."""
    name = desk.enqueue(id="a", max_retries=0)
    claimed = desk.start(name)
    path = Path(desk.spool.output_path(desk.lease.name))
    path.write_bytes(b"\x1b[2J\xe2\x82")

    def end() -> None:
        path.write_bytes(b"\x1b[2J\xe2\x82\xac\r\n")
        os.rename(path, desk.spool.log_path("a", 1))
        desk.settlements.settle(claimed, Outcome("failed", 9, "", 0.1))

    meanwhile(end)
    result = queuectl("logs", "--follow", "a", code=9)
    assert result.out == "\x1b[2J€\r\n"
    assert result.err == "a is dead: exit 9, 1 attempt, retries used up\n"


def test_followed_logs_cannot_act_on_a_terminal(
    queuectl: Commands, desk: Desk, meanwhile: Callable[..., list[float]]
) -> None:
    """Escapes are written out, characters and line ends that come in halves are put together, the last line ends."""
    claimed = desk.start(desk.enqueue(id="a"))
    path = Path(desk.spool.output_path(desk.lease.name))
    path.write_bytes(b"\x1b[2J\tone \xe2\x82")

    def add(data: bytes) -> Callable[[], None]:
        return lambda: path.write_bytes(path.read_bytes() + data) and None

    def end() -> None:
        os.rename(path, desk.spool.log_path("a", 1))
        desk.settlements.settle(claimed, OK)

    meanwhile(add(b"\xac\r"), add(b"\ntwo\r"), add(b"three\xff"), add(b"\xe2"), end)
    queuectl.on_terminal = True
    result = queuectl("logs", "-f", "a")
    assert result.out == "\\x1b[2J\tone €\ntwo\\rthree\\xff\\xe2\n"
    assert result.err == "a succeeded after 1 attempt\n"


def test_following_a_job_that_waits_says_so(
    queuectl: Commands, desk: Desk, meanwhile: Callable[..., list[float]]
) -> None:
    """Nothing is printed until it runs; the hint names `queuectl why`."""
    name = desk.enqueue(id="a")
    meanwhile(lambda: desk.run(name, OK))
    result = queuectl("logs", "-f", "a")
    assert (result.out, "queuectl why a" in result.err) == ("", True)


def test_following_one_run_is_refused(queuectl: Commands, desk: Desk) -> None:
    """--attempt is one run, --follow all that come."""
    desk.enqueue(id="a")
    assert "cannot be combined" in queuectl("logs", "-f", "a", "--attempt", "1", code=2).err


def test_who_waits_for_one_job_sees_how_far_it_is(spool: SpoolDir, desk: Desk) -> None:
    """The line that the command wrote last about itself; of several jobs none."""
    claimed = desk.start(desk.enqueue(id="a"))
    folder = Path(spool.desk_path(claimed.lease))
    folder.mkdir()
    (folder / "progress").write_text("42 page 3\n")
    api = Spool(spool.root)
    assert wait._so_far(api, Wait(desk.session, ["a"]), 5.0).endswith("since 5s, at 42 %  page 3")
    desk.enqueue(id="b")
    assert "page 3" not in wait._so_far(api, Wait(desk.session, ["a", "b"]), 5.0)
