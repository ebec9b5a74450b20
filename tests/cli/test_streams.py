"""The streams: data to stdout, words to stderr, and no terminal, pipe or code page that breaks a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl import __version__
from queuectl.api import Spool
from queuectl.cli import exit_codes
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError, SpoolUnavailableError, UnknownJobError
from queuectl.model.lifecycle import Outcome
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands, run, run_on_terminal
from tests.helpers import Desk

posix = pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Text, ünïcödé 漢字", "plain Text, ünïcödé 漢字"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\r\tc\0", "a\\nb\\r\\tc\\x00"),
        ("\x9b2J\x85", "\\x9b2J\\x85"),
        ("abc\u202ecba", "abc\\u202ecba"),
        ("a\u200bb\ufeff\u2066\u2028", "a\\u200bb\\ufeff\\u2066\\u2028"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("", ""),
    ],
)
def test_safe_shows_what_could_act(text: str, shown: str) -> None:
    """Controls, bidi marks, zero-width characters and half surrogates become visible; other text stays."""
    assert printing.safe(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (9e5, "10d"), (-5, "0s")]
)
def test_age_is_one_unit(seconds: float, shown: str) -> None:
    """An age is for a glance."""
    assert printing.age(seconds) == shown


def test_errors_have_their_codes() -> None:
    """The first class that fits gives the exit code; what the table does not name is a failure."""
    assert exit_codes.of(UnknownJobError("x")) == 3
    assert exit_codes.of(SpoolUnavailableError("x")) == 75
    assert exit_codes.of(QueuectlError("x")) == 1
    assert exit_codes.of(exit_codes.WrongUsageError("x")) == 2


def test_error_says_what_why_and_what_to_do(queuectl: Commands, tmp_path: Path) -> None:
    """An error is three labelled lines, and no traceback."""
    result = queuectl("--spool", str(tmp_path / "none"), "status", code=75)
    labels = [line.split(" ")[0] for line in result.err.splitlines()]
    assert labels == ["error:", "cause:", "hint:"]
    assert result.out == ""


def test_debug_shows_the_traceback(queuectl: Commands) -> None:
    """--debug shows where an error came from, before the error."""
    result = queuectl("show", "nobody", "--debug", code=3)
    assert "Traceback" in result.err
    assert "Traceback" not in queuectl("show", "nobody", code=3).err


def test_error_cannot_act_on_the_terminal(queuectl: Commands) -> None:
    """What was typed, or read, comes back escaped in an error."""
    assert "\x1b" not in queuectl("show", "\x1b[2J", code=3).err


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_narrow_code_page_ends_no_command(spool: SpoolDir, encoding: str) -> None:
    """A pipe that lacks a character gets it escaped (Windows pipes speak cp1252)."""
    Spool(spool.root).enqueue("echo 漢字 ☃", id="a")
    result = run("--spool", spool.root, "list", env={"PYTHONIOENCODING": encoding})
    assert "\\u6f22" in result.out


@posix
def test_reader_that_leaves_is_no_trouble(spool: SpoolDir) -> None:
    """`queuectl list | head -1` ends quietly."""
    Spool(spool.root).enqueue_many([{"command": "echo " + "x" * 2000} for _ in range(100)])
    argv = [sys.executable, "-m", "queuectl", "--spool", spool.root, "list", "--limit", "0"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(100)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 1
    process.stderr.close()


@posix
def test_terminal_gets_a_table(spool: SpoolDir) -> None:
    """A person gets a heading, relative times and colours; ids stay whole."""
    job_id = Spool(spool.root).enqueue("echo " + "long " * 100)
    text = run_on_terminal("--spool", spool.root, "list")
    assert "STATE" in text
    assert "ago" in text
    assert "\x1b[" in text
    assert job_id in text
    assert len(text.splitlines()[-1]) <= 120


@posix
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_turned_off(spool: SpoolDir, env: dict[str, str]) -> None:
    """NO_COLOR and a dumb terminal get no escape sequences."""
    Spool(spool.root).enqueue("true")
    for words in (["list"], ["status"], ["show", "nobody"]):
        assert "\x1b" not in run_on_terminal("--spool", spool.root, *words, env=env)


@posix
def test_terminal_output_is_escaped(spool: SpoolDir) -> None:
    """A job cannot send its own escape sequences to the terminal of who lists it."""
    Spool(spool.root).enqueue("echo \x1b]0;title\x07", id="a")
    for words in (["list"], ["show", "a"]):
        text = run_on_terminal("--spool", spool.root, *words, env={"NO_COLOR": "1"})
        assert "\\x1b]0;title\\x07" in text
        assert "\x1b" not in text


def test_version_is_told(queuectl: Commands) -> None:
    """--version and version agree."""
    assert queuectl("--version").out == f"queuectl {__version__}\n"
    assert queuectl("version").out.startswith(f"queuectl {__version__} (Python 3.")


def test_schema_is_json(queuectl: Commands) -> None:
    """`schema job` prints the schema, and `schema` the same."""
    result = queuectl("schema", "job")
    assert "command" in result.json["properties"]
    assert queuectl("schema").out == result.out
    queuectl("schema", "house", code=2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell", "pwsh"])
def test_completion_prints_a_script(queuectl: Commands, home: Path, shell: str) -> None:
    """The script goes to stdout, and nothing is installed."""
    assert "_QUEUECTL_COMPLETE" in queuectl("completion", shell).out
    assert list(home.iterdir()) == []


def test_choices_are_told_on_one_line(queuectl: Commands) -> None:
    """The error for a missing word names the allowed words."""
    assert "missing: one of bash, zsh, fish" in queuectl("completion", code=exit_codes.USAGE).err.lower()


@pytest.mark.parametrize(("words", "expected"), [("queuectl enq", "enqueue"), ("queuectl dlq r", "retry")])
def test_completion_completes(words: str, expected: str) -> None:
    """What the script calls answers with the commands that fit."""
    env = {"_QUEUECTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert run(env=env).out.split() == [expected]


def test_completion_offers_the_ids_there_are(desk: Desk, spool: SpoolDir) -> None:
    """A shell is offered what begins as was typed and can be acted on, with the state as its help."""
    desk.run(desk.enqueue(id="job1", command="echo one"), Outcome("succeeded", 0))
    desk.enqueue(id="job2", command="echo \x1b[31mtwo")
    desk.enqueue(id="other")
    both, waiting = ["job2", "job1"], ["job2"]
    offered = {"show j": both, "logs j": both, "cancel j": waiting, "edit j": waiting, "wait other j": waiting}
    for words, expected in offered.items():
        typed = f"queuectl {words}"
        env = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "QUEUECTL_SPOOL": spool.root}
        assert run(env={**env, "_QUEUECTL_COMPLETE": "complete_bash"}).out.split() == expected
    env = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": "queuectl show "}
    text = run(env={**env, "QUEUECTL_SPOOL": spool.root, "_QUEUECTL_COMPLETE": "complete_fish"}).out
    assert "job1\tdone\n" in text and "echo" not in text, "no text of a producer goes to a shell"
    assert "\x1b" not in text


@posix
@pytest.mark.parametrize("where", ["> /dev/full", "> /dev/full 2> /dev/full", "2>&-", ">&- 2>&- <&-"])
def test_a_pool_needs_nobody_who_takes_its_lines(spool: SpoolDir, where: str) -> None:
    """P9: a pool whose streams are full or closed runs its jobs and ends with 0, also as root, who gets a warning."""
    if "full" in where and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    Spool(spool.root).enqueue("echo out; echo err >&2", id="a")
    line = f'exec "{sys.executable}" -m queuectl --spool "$0" worker start --drain {where}'
    done = subprocess.run(["/bin/sh", "-c", line, spool.root], timeout=60, check=False)
    assert done.returncode == 0
    assert Path(spool.log_path("a", 1)).read_text() == "out\nerr\n"


@posix
def test_closed_streams_leave_the_lease_to_the_command(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: the number of a closed stream is given to no lock, so a command still inherits the lease of its run."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc to look at")
    Spool(spool.root).enqueue("ls -l /proc/$$/fd", id="a", cwd=tmp_path)
    line = f'exec "{sys.executable}" -m queuectl --spool "$0" worker start --drain >&- 2>&- <&-'
    subprocess.run(["/bin/sh", "-c", line, spool.root], timeout=60, check=True)
    assert "/leases/" in Path(spool.log_path("a", 1)).read_text()


@posix
def test_a_locale_without_other_letters_changes_no_command(spool: SpoolDir, tmp_path: Path) -> None:
    """What a job holds reaches its command as UTF-8, whatever the locale of workers and of `enqueue`."""
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    folder = tmp_path / "é"
    folder.mkdir()
    script = folder / "日.sh"
    script.write_text('#!/bin/sh\nprintf "%s %s %s" "$1" "$X" "$PWD"\n')
    script.chmod(0o755)
    job = {"id": "dropped", "command": ["日.sh", "ü"], "cwd": str(folder)}
    job |= {"env": {"X": "☃", "PATH": f"{folder}:/usr/bin:/bin"}}
    Path(spool.path("pending", "dropped.json")).write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
    run("--spool", spool.root, "enqueue", "--id", "typed", "--command", "echo ü $X", "--env", "X=☃", env=env)
    run("--spool", spool.root, "worker", "start", "--drain", env=env)
    assert Path(spool.log_path("dropped", 1)).read_text(encoding="utf-8") == f"ü ☃ {folder}"
    assert Path(spool.log_path("typed", 1)).read_text(encoding="utf-8") == "ü ☃\n"
