"""`queuectl top` on a real terminal: its keys, and that the terminal is as before on every end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.model.lifecycle import Outcome
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, listing
from tests.pool import PYTHON, Pool
from tests.terminal.terminal import CTRL_C, CTRL_Z, DOWN, ENTER, ENTERED, HIDDEN, LEFT, SHOWN, Terminal, queuectl
from tests.terminal.terminal import terminal as shell


@pytest.fixture
def busy(spool: SpoolDir, now_desk: Desk) -> SpoolDir:
    """Three jobs that wait, and a dead one with a log."""
    now_desk.run(now_desk.enqueue(id="dead", max_retries=0), Outcome("failed", 3, duration_s=1.5))
    Path(spool.log_path("dead", 1)).write_bytes(b"first\n10%\r100%\n\x1b[2Jlast \x07words\n")
    for job_id in ("aa", "bb", "cc"):
        now_desk.enqueue(id=job_id, command=f"echo {job_id}")
    return spool


def is_restored(terminal: Terminal, before: object) -> bool:
    """True where the keys, the cursor and the screen are as they were."""
    raw = terminal.raw
    return (
        terminal.settings() == before
        and raw.rfind(LEFT) > raw.rfind(ENTERED) > -1
        and raw.rfind(SHOWN) > raw.rfind(HIDDEN) > -1
    )


@pytest.mark.slow
def test_keys_do_what_help_says(busy: SpoolDir) -> None:
    """Select, show a log, cancel after a question, run again, pause, help; q leaves the terminal as it was."""
    with queuectl("--spool", busy.root, "top", "--every", "200ms") as terminal:
        before = terminal.settings()
        terminal.wait_for("3 waiting, the oldest for ", "Waiting 3", "Dead 1", "exit 3", "q quit")
        terminal.wait_for_row("aa")
        terminal.type(DOWN + DOWN + "k")
        terminal.wait_for_row("bb")
        terminal.type("r")
        terminal.wait_for("only a job that has ended can be run again")
        terminal.type("c")
        terminal.wait_for("cancel bb? y/n")
        terminal.type("n")
        terminal.wait_for("nothing changed")
        terminal.type("c")
        terminal.wait_for("cancel bb? y/n")
        terminal.type("y")
        terminal.wait_for("bb is cancelled", "Dead 1, cancelled 1")
        # The selection went with the job; the one that died last comes first.
        terminal.wait_for_row("bb", below="Dead 1, cancelled 1")
        terminal.type("j")
        terminal.wait_for_row("dead")
        terminal.type(ENTER)
        shown = terminal.wait_for("dlq, attempt 1", "first", "100%", r"\x1b[2Jlast \x07words")
        assert "10%\n" not in shown
        terminal.type("q")
        terminal.wait_for("Waiting 2", gone="first")
        terminal.type("r")
        terminal.wait_for("dead waits in pending/ again", "Cancelled 1")
        terminal.type("p")
        terminal.wait_for("Paused (by `queuectl top`)")
        terminal.type("p")
        terminal.wait_for("resumed", gone="Paused")
        terminal.type("?")
        terminal.wait_for("Each group shows jobs in one state")
        terminal.type("q")
        terminal.wait_for("Waiting 3", gone="Each group")
        terminal.resize(50, 15)
        terminal.wait_for("Waiting 3", "Enter log q quit ? help", gone="p pause")
        terminal.type("q")
        assert terminal.end() == 0
        assert is_restored(terminal, before)
    assert listing(busy)["pending"] == ["aa.json", "cc.json", "dead.json"]
    assert "bb.json" in listing(busy)["dlq"]


@pytest.mark.slow
def test_progress_moves_while_a_job_runs(spool: SpoolDir, tmp_path: Path) -> None:
    """What a command says about its progress is on the screen, escaped, and the next line takes its place."""
    code = (
        "import os, sys, time\n"
        "def say(text): open(os.environ['QUEUECTL_PROGRESS'], 'a').write(text)\n"
        "def wait(path):\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n"
        "say('42 page 3 of \\x1b[2J7\\n'); wait(sys.argv[1]); say('77 page 6\\n'); wait(sys.argv[2])"
    )
    further, end = tmp_path / "further", tmp_path / "end"
    Spool(spool.root).enqueue([*PYTHON, code, str(further), str(end)], id="slow")
    with Pool(spool, count=1), queuectl("--spool", spool.root, "top", "--every", "200ms") as terminal:
        terminal.wait_for("Running 1", "42 %", r"page 3 of \x1b[2J7")
        further.touch()
        terminal.wait_for("77 %", "page 6", gone="page 3")
        end.touch()
        terminal.wait_for("Finished 1", gone="77 %")
        terminal.type("q")
        assert terminal.end() == 0


@pytest.mark.slow
def test_ctrl_c_puts_the_terminal_back(busy: SpoolDir) -> None:
    """Ctrl-C ends it with 130, as every command."""
    with queuectl("--spool", busy.root, "top") as terminal:
        before = terminal.settings()
        terminal.wait_for("Waiting 3", "q quit")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        assert is_restored(terminal, before)
        assert "interrupted" in terminal.text


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_signal_puts_the_terminal_back(busy: SpoolDir, signum: signal.Signals) -> None:
    """A signal ends it as it ends every program, once the terminal is as it was."""
    with queuectl("--spool", busy.root, "top") as terminal:
        before = terminal.settings()
        terminal.wait_for("Waiting 3", "q quit")
        os.kill(terminal.pid, signum)
        assert terminal.end() == -signum
        assert is_restored(terminal, before)


@pytest.mark.slow
def test_error_puts_the_terminal_back(busy: SpoolDir, tmp_path: Path) -> None:
    """A bug in the middle leaves the terminal as it was, and its traceback to be read."""
    broken = (
        "from queuectl.cli.commands import top_rows; top_rows.groups = None; from queuectl.__main__ import main; main()"
    )
    argv = [sys.executable, "-c", broken, "--spool", busy.root, "top"]
    terminal = Terminal(argv)
    try:
        before = terminal.settings()
        assert terminal.end() != 0
        assert is_restored(terminal, before)
        assert "TypeError" in terminal.text
    finally:
        terminal.close()


@pytest.mark.slow
def test_closed_window_ends_it(busy: SpoolDir) -> None:
    """Without its window it ends at once."""
    with queuectl("--spool", busy.root, "top") as terminal:
        terminal.wait_for("Waiting 3", "q quit")
        assert terminal.close_window() in (-signal.SIGHUP, 1)


@pytest.mark.slow
def test_ctrl_z_gives_the_shell_its_terminal(busy: SpoolDir) -> None:
    """Stopped, the terminal is the shell's; `fg` brings the screen back, and q still leaves all as it was."""
    with shell("bash", "--norc", "--noprofile", "-i") as terminal:
        terminal.type(f"{sys.executable} -m queuectl --spool {busy.root} top\r")
        terminal.wait_for("Waiting 3", "q quit")
        terminal.type(CTRL_Z)
        terminal.wait_for("Stopped")
        assert terminal.raw.rfind(LEFT) > terminal.raw.rfind(ENTERED)
        terminal.type("echo he''re\r")
        terminal.wait_for("here")
        seen = len(terminal.raw)
        terminal.type("fg\r")
        terminal.wait_for_bytes(ENTERED, seen)
        # All of it is drawn again: the other screen was empty.
        terminal.wait_for("\n─Waiting 3─", "q quit", gone="echo he")
        terminal.type("q")
        terminal.wait_for_bytes(LEFT, seen)
        terminal.type("exit 7\r")
        assert terminal.end() == 7


@pytest.fixture
def pool(spool: SpoolDir) -> Iterator[subprocess.Popen[bytes]]:
    """A worker at work."""
    argv = [sys.executable, "-m", "queuectl", "--spool", spool.root, "worker", "start"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield process
    process.terminate()
    process.wait(60)


@pytest.mark.slow
def test_running_job_is_shown_followed_and_ended(
    spool: SpoolDir, pool: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """A run with its limit; its log as it grows; c ends it, and the screen goes on meanwhile."""
    go = tmp_path / "go"
    Spool(spool.root).enqueue(
        f"echo begun; until test -e {go}; do sleep 0.05; done; echo further; sleep 100", id="long", timeout=90
    )
    with queuectl("--spool", spool.root, "top", "--every", "200ms") as terminal:
        terminal.wait_for("Running 1", "long ", "of 1m30s", "1 worker busy", "1 worker on ", "q quit")
        terminal.type("l")
        terminal.wait_for("running, attempt 1", "begun")
        go.touch()
        terminal.wait_for("further")
        terminal.type("q")
        terminal.wait_for("Running 1")
        terminal.type("c")
        terminal.wait_for("cancel long? y/n")
        terminal.type("y")
        terminal.wait_for("long is cancelled", "Cancelled 1", gone="Running")
        terminal.type("q")
        assert terminal.end() == 0


@pytest.mark.slow
def test_a_hundred_thousand_done_jobs_hold_up_nothing(spool: SpoolDir, now_desk: Desk) -> None:
    """A look at so many names is far below a second, and a key is answered at once."""
    settled = now_desk.run(now_desk.enqueue(id="x"), Outcome("succeeded", 0))
    data = Path(spool.path("done", settled.name)).read_bytes()
    for number in range(100_000):
        with open(spool.path("done", f"job{number:06d}.json"), "wb") as file:
            file.write(data)
    with queuectl("--spool", spool.root, "top") as terminal:
        terminal.wait_for("Finished 100001", "q quit")
        began_s = time.monotonic()
        terminal.type("p")
        terminal.wait_for("Paused")
        assert time.monotonic() - began_s < 20
        terminal.type("q")
        assert terminal.end() == 0
