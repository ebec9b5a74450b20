"""Commands on Windows: exit codes, command lines, the Job Object. Runs on a real Windows, or under Wine (rig.py)."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "win32":
    pytest.skip("Windows only", allow_module_level=True)

import msvcrt

from queuectl.system import disk, outputs, win32
from queuectl.worker.channel import Channel
from queuectl.worker.executors.base import CannotStartError, Ended, Spec
from queuectl.worker.executors.windows import WindowsExecutor, WindowsProcess
from queuectl.worker.messages import Stop, pack_order

UNDER_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
# Writes the time into a file every 20 ms, for as long as it lives.
HEARTBEAT = "import sys, time, pathlib\nwhile True: pathlib.Path(sys.argv[1]).write_text('x'); time.sleep(0.02)"
SAY_ARGUMENTS = "import json, sys; print(json.dumps(sys.argv[1:]))"


class Bench:
    """An executor with a pipe and an output file, in a folder of its own."""

    def __init__(self, folder: Path, shell: str = "auto") -> None:
        self.folder = folder
        pair: Any = Pipe()  # to a type checker, pipes of Windows are of another kind
        self.near, self.far = pair
        self.executor = WindowsExecutor(shell)
        self.channel = Channel(self.near, self.executor)
        self.process: WindowsProcess
        self.output_path = folder / "output.txt"

    def start(self, command: str | Sequence[str], cwd: str | None = None, **env: str) -> None:
        fd = outputs.open_file(str(self.output_path))
        try:
            self.process = self.executor.start(Spec(command, cwd or str(self.folder), {**os.environ, **env}, fd, -1))
        finally:
            os.close(fd)

    def run(self, command: str | Sequence[str], cwd: str | None = None, **env: str) -> tuple[Ended, str]:
        """Run to the end; how it ended and what it printed."""
        self.start(command, cwd, **env)
        ended = self.look(30)
        assert ended is not None
        return ended, self.output_path.read_text()

    def look(self, timeout_s: float) -> Ended | None:
        """Wait for the end of the command; None if something else has come, or the time is over."""
        self.channel.wait(timeout_s)
        return next((how for process, how in self.channel.ended() or () if process is self.process), None)

    def terminate(self, grace_s: float) -> Ended:
        """End the command, step by step."""
        steps = self.process.terminate(grace_s)
        while True:
            try:
                time.sleep(next(steps))
            except StopIteration as over:
                ended: Ended = over.value
                return ended


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.near.close()
    made.far.close()


def until(condition: Callable[[], bool], deadline_s: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def beats(path: Path) -> bool:
    """True where the heartbeat in `path` goes on."""

    def stamp() -> int:
        with contextlib.suppress(OSError):
            return path.stat().st_mtime_ns
        return 0

    first = stamp()
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        if stamp() != first:
            return True
        time.sleep(0.02)
    return False


# ------------------------------------------------------------------------------------------------------ exit codes


@pytest.mark.parametrize("code", [0, 1, 3, 255, 256, 4711])
def test_exit_code_is_kept(bench: Bench, code: int) -> None:
    """An exit code of up to 32 bits is passed on as it is; one above 255 is shown in hex."""
    ended, _ = bench.run(f"exit {code}")
    assert ended == Ended(code, f"0x{code:X}" if code > 255 else "")


def test_exit_code_is_unsigned(bench: Bench) -> None:
    """`exit -1` is 4294967295."""
    ended, _ = bench.run("exit -1")
    assert ended == Ended(0xFFFFFFFF, "0xFFFFFFFF")


def test_ctrl_c_is_named(bench: Bench) -> None:
    """The code of an interrupted program is told in words."""
    ended, _ = bench.run([sys.executable, "-c", "import ctypes; ctypes.windll.kernel32.ExitProcess(0xC000013A)"])
    assert ended == Ended(0xC000013A, "interrupted by Ctrl-C (0xC000013A)", is_shutdown=True)


# -------------------------------------------------------------------------------------------------- command lines


def test_text_goes_to_cmd_as_it_is(bench: Bench) -> None:
    """Spaces, quotes and && reach cmd untouched."""
    ended, output = bench.run(
        'echo one two&& echo "three  four" && echo five | findstr /v six'
        if not UNDER_WINE
        else 'echo one two&& echo "three  four" && echo five'
    )
    assert (ended.exit_code, [line.strip() for line in output.splitlines()]) == (
        0,
        ["one two", '"three  four"', "five"],
    )


def test_quoted_program_with_spaces_runs_by_cmd(bench: Bench) -> None:
    """A text that begins and ends with a quote keeps both: that is what /s and the outer quotes are for."""
    folder = bench.folder / "a folder"
    folder.mkdir()
    (folder / "say it.cmd").write_text("@echo said %~1\n")
    ended, output = bench.run(f'"{folder}\\say it.cmd" "two words"')
    assert (ended.exit_code, output.strip()) == (0, "said two words")


def test_text_of_several_lines_is_refused(bench: Bench) -> None:
    """cmd would run the first line and forget the rest."""
    with pytest.raises(CannotStartError, match="one line") as caught:
        bench.start("echo one\necho two")
    assert (caught.value.exit_code, caught.value.is_final) == (126, True)


def test_line_break_at_the_end_is_dropped(bench: Bench) -> None:
    """A text that ends in a line break is one line."""
    ended, output = bench.run("echo one\r\n")
    assert (ended.exit_code, output.strip()) == (0, "one")


@pytest.mark.parametrize(
    "words",
    [
        ["one two", 'say "hi"', ""],
        ["C:\\a folder\\", "back\\slash", 'end\\"'],
        ["&& echo bad", "%PATH%", "^", "|", ">x", "!x!", "'single'"],
        ["äöü", "日本", "a\tb", "line\nbreak"],
        ["*.py", "-x", "/d", "a=b", "a,b;c"],
    ],
)
def test_list_arrives_word_for_word(bench: Bench, words: list[str]) -> None:
    """The words of a list are the program's arguments, whatever they hold: no shell looks at them."""
    ended, output = bench.run([sys.executable, "-c", SAY_ARGUMENTS, *words])
    assert (ended.exit_code, json.loads(output)) == (0, words)


def test_batch_file_gets_its_arguments(bench: Bench) -> None:
    """A batch file in a list is run by cmd; its arguments keep spaces, commas and equals signs."""
    (bench.folder / "my tool.bat").write_text("@echo [%~1][%~2][%~3]\n@exit /b 9\n")
    ended, output = bench.run([str(bench.folder / "my tool.bat"), "one two", "a,b;c=d", "(x)"])
    assert (ended.exit_code, output.strip()) == (9, "[one two][a,b;c=d][(x)]")


@pytest.mark.parametrize("word", ['"&echo bad', "&", "|", "<", ">", "^", "%PATH%", "!x!", "a\nb", "a\rb", '"'])
@pytest.mark.parametrize("name", ["tool.bat", "TOOL.CMD"])
def test_batch_file_with_dangerous_argument_is_refused(bench: Bench, name: str, word: str) -> None:
    """cmd would read such an argument as a command, so the batch file is not started (BatBadBut)."""
    (bench.folder / name).write_text("@echo started\n")
    with pytest.raises(CannotStartError, match="batch file") as caught:
        bench.start([str(bench.folder / name), word])
    assert caught.value.exit_code == 126


def test_batch_file_is_known_with_dots_behind_its_name(bench: Bench) -> None:
    """Windows drops dots and spaces at the end of a name; the check does too."""
    (bench.folder / "tool.bat").write_text("@echo started\n")
    (bench.folder / "tool.bat. .").write_text("@echo started\n")  # Wine keeps the dots
    with pytest.raises(CannotStartError, match="batch file"):
        bench.start([str(bench.folder / "tool.bat. ."), "&"])


# -------------------------------------------------------------------------------------- programs, folders, environment


@pytest.mark.parametrize("command", [["no-such-program-4711"], ["no\\such\\program.exe", "x"]])
def test_unknown_program_is_127(bench: Bench, command: list[str]) -> None:
    """A list whose program does not exist is the job's fault."""
    with pytest.raises(CannotStartError, match="command not found: no") as caught:
        bench.start(command)
    assert caught.value.exit_code == 127


def test_file_that_is_no_program_is_126(bench: Bench) -> None:
    """A file that Windows cannot run is the job's fault."""
    (bench.folder / "text.exe").write_text("this is no program " * 99)
    with pytest.raises(CannotStartError, match=r"text\.exe") as caught:
        bench.start([str(bench.folder / "text.exe")])
    assert caught.value.exit_code == 126


@pytest.mark.parametrize("command", ["echo x", [sys.executable, "-V"], ["program\\in\\it"]])
def test_missing_folder_is_126(bench: Bench, command: str | list[str]) -> None:
    """A folder that does not exist is the job's fault."""
    with pytest.raises(CannotStartError, match="cannot enter the folder") as caught:
        bench.start(command, cwd=str(bench.folder / "missing"))
    assert caught.value.exit_code == 126


def test_program_is_found_by_the_job_s_path(bench: Bench) -> None:
    """PATH and PATHEXT of the job's environment decide, whatever the case of their names."""
    (bench.folder / "bin").mkdir()
    (bench.folder / "bin" / "tool.cmd").write_text("@echo found\n")
    _, output = bench.run(["tool"], Path=f"C:\\nowhere;{bench.folder}\\bin")
    assert output.strip() == "found"


def test_current_folder_is_not_searched(bench: Bench) -> None:
    """A file that lies in the folder does not take a program's place; with a path it is found there."""
    (bench.folder / "tool.cmd").write_text("@echo found\n")
    with pytest.raises(CannotStartError, match="not found"):
        bench.start(["tool"])
    assert bench.run([".\\tool"])[1].strip() == "found"


def test_folder_and_environment_are_the_job_s(bench: Bench) -> None:
    """The command starts in its folder and sees its environment; names are the same in any case."""
    code = "import os, json; print(json.dumps([os.getcwd(), os.environ['MINE'], os.environ['TWICE']]))"
    _, output = bench.run([sys.executable, "-c", code], MINE="ä b;%x%", TWICE="first", twice="last")
    assert json.loads(output) == [str(bench.folder), "ä b;%x%", "last"]


@pytest.mark.parametrize("env", [{"A=B": "x"}, {"": "x"}, {"A": "x\0y"}])
def test_impossible_environment_is_126(bench: Bench, env: dict[str, str]) -> None:
    """A name or value that no environment can hold is the job's fault."""
    with pytest.raises(CannotStartError, match="environment") as caught:
        bench.executor.start(Spec("echo x", str(bench.folder), env, -1, -1))
    assert caught.value.exit_code == 126


# ------------------------------------------------------------------------------------------------- streams, messages


def test_both_streams_go_to_the_file_in_order(bench: Bench) -> None:
    """Standard output and error share the file; standard input is empty."""
    code = "import sys; print(repr(sys.stdin.read()), flush=True); print('two', file=sys.stderr, flush=True); print(3)"
    _, output = bench.run([sys.executable, "-c", code])
    assert output.split() == ["''", "two", "3"]


def test_only_output_and_null_are_inherited(bench: Bench) -> None:
    """A handle that is inheritable in the worker does not reach the command."""
    held = bench.folder / "held.txt"
    fd = os.open(held, os.O_CREAT | os.O_RDWR)
    os.set_inheritable(fd, True)
    bench.start([sys.executable, "-c", "import time; time.sleep(30)"])
    os.close(fd)
    held.unlink()  # error 32 if the command had it
    bench.terminate(0)


def test_wait_ends_for_a_message(bench: Bench) -> None:
    """A message of the supervisor ends the wait at once; the command goes on."""
    bench.start([sys.executable, "-c", "import time; time.sleep(30)"])
    assert bench.look(0.05) is None
    bench.far.send_bytes(pack_order(Stop()))
    began_s = time.monotonic()
    assert bench.channel.wait(20) and bench.channel.ended() is None
    assert time.monotonic() - began_s < 15
    assert bench.channel.receive() == Stop()
    assert not bench.channel.wait(0.01)
    bench.terminate(0)


def test_a_message_that_came_with_the_end_of_a_command_is_noticed(bench: Bench) -> None:
    """A stop is not left in the pipe behind a burst of short jobs: each wait sees it."""
    bench.start("exit 0")
    until(lambda: win32.has_ended(bench.process.handle))
    bench.far.send_bytes(pack_order(Stop()))
    assert bench.channel.wait(20)
    assert [how for _, how in bench.channel.ended() or ()] == [Ended(0, "")]


def test_closed_pipe_is_heard_until_deaf(bench: Bench) -> None:
    """The end of the supervisor is heard; after `disconnect` only the command counts."""
    bench.start("exit 5")
    bench.far.close()
    assert bench.channel.wait(5)
    bench.channel.disconnect()
    assert not bench.channel.wait(0.01)
    assert bench.look(20) == Ended(5, "")


def test_long_waits_are_possible(bench: Bench) -> None:
    """A job's limit may be a century: more milliseconds than 32 bits hold."""
    bench.start("exit 0")
    assert bench.look(100 * 365 * 86400.0) == Ended(0, "")


# --------------------------------------------------------------------------------------------------------- the tree


def grandchild(beat: Path) -> list[str]:
    """A command that starts a heartbeat by cmd, so that the heartbeat is a grandchild."""
    code = textwrap.dedent(
        f"""
        import subprocess, sys, time
        subprocess.Popen(["cmd", "/d", "/c", sys.executable, "-c", {HEARTBEAT!r}, {str(beat)!r}])
        time.sleep(60)
        """
    )
    return [sys.executable, "-c", code]


def test_terminate_ends_child_and_grandchild(bench: Bench) -> None:
    """After `terminate` nothing of the tree runs, and it comes back soon after the grace."""
    beat = bench.folder / "beat"
    bench.start(grandchild(beat))
    until(beat.exists)
    began_s = time.monotonic()
    ended = bench.terminate(0.2)
    assert time.monotonic() - began_s < 40  # of the 60 s that it lasts
    assert ended.exit_code != 0
    assert not beats(beat)
    disk.unlink(str(bench.output_path))  # nobody holds it any more


def test_what_a_command_leaves_behind_ends_with_it(bench: Bench) -> None:
    """A process that outlives its command would outlive its worker too, so it ends when the command does."""
    beat = bench.folder / "beat"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {HEARTBEAT!r}, {str(beat)!r}])"
    code += f"\nimport os, time\nwhile not os.path.exists({str(beat)!r}): time.sleep(0.02)\nsys.exit(4)"
    ended, _ = bench.run([sys.executable, "-c", code])
    assert ended == Ended(4, "")
    assert not beats(beat)


def test_tree_dies_with_the_worker(tmp_path: Path) -> None:
    """Killing the process that owns the executor ends the command and its grandchild (promise P3)."""
    beat = tmp_path / "beat"
    owner = textwrap.dedent(
        f"""
        import os, time
        from queuectl.system import disk, outputs, win32
        from queuectl.worker.executors.base import Spec
        from queuectl.worker.executors.windows import WindowsExecutor

        executor = WindowsExecutor("auto")
        fd = outputs.open_file({str(tmp_path / "out")!r})
        process = executor.start(Spec({grandchild(beat)!r}, {str(tmp_path)!r}, dict(os.environ), fd, -1))
        while not executor.ended(): time.sleep(0.05)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", owner])
    until(beat.exists)
    with pytest.raises(PermissionError):  # so rescue cannot take the job while anything of it lives
        os.unlink(tmp_path / "out")
    process.kill()
    process.wait()
    disk.unlink(str(tmp_path / "out"))
    assert not beats(beat)


def test_starts_leak_no_handles(bench: Bench) -> None:
    """Each command gives back what it used, also where it could not be started."""

    def next_handle() -> int:
        # Freed handles are given out again, so that this number grows only with what is not freed.
        fd = os.open(os.devnull, os.O_RDONLY)
        try:
            return msvcrt.get_osfhandle(fd)
        finally:
            os.close(fd)

    bench.run("exit 0")
    before = next_handle()
    for _ in range(15):
        bench.run("exit 0")
        with pytest.raises(CannotStartError):
            bench.start([str(bench.output_path)])
    assert next_handle() <= before + 4 * 8
