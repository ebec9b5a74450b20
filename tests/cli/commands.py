"""Running commands of queuectl in tests: in this process (cheap), as a process, and on a terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from queuectl.cli import main
from queuectl.cli.terminal import printing


class Result(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """What it printed, as tab-separated rows."""
        return [line.split("\t") for line in self.out.splitlines()]


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Commands:
    """Calls commands in this process. `on_terminal` makes stdout and stderr look like one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.on_terminal = False

    def __call__(self, *words: str, stdin: bytes | str = b"", code: int | None = 0) -> Result:
        """Run one command and check its exit code (None: any)."""
        kind = Terminal if self.on_terminal else io.TextIOWrapper
        out, err = (kind(io.BytesIO(), encoding="utf-8", newline="\n") for _ in range(2))
        data = stdin.encode() if isinstance(stdin, str) else stdin
        with self._patch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            got = printing.close_streams(main.main(list(words)))
        result = Result(got, _text(out), _text(err))
        assert code is None or result.code == code, result
        return result


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    data: bytes = stream.buffer.getvalue()  # type: ignore[attr-defined]
    return data.decode()


def run(*words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, code: int | None = 0) -> Result:
    """Run `python -m queuectl` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "queuectl", *words],
        input=stdin,
        capture_output=True,
        env={**os.environ, **(env or {})},
        timeout=60,
        check=False,
    )
    result = Result(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
    assert code is None or result.code == code, result
    return result


def run_on_terminal(*words: str, env: Mapping[str, str] | None = None) -> str:
    """Run `python -m queuectl` on a pseudo terminal of 120 columns; return everything it printed (POSIX)."""
    import pty

    pid, terminal_fd = pty.fork()
    if pid == 0:
        os.environ.update({"COLUMNS": "120", **(env or {})})
        os.execv(sys.executable, [sys.executable, "-m", "queuectl", *words])
    printed = b""
    while True:
        try:
            chunk = os.read(terminal_fd, 65536)
        except OSError:
            break  # Linux reports the end of a pseudo terminal as an error
        if not chunk:
            break
        printed += chunk
    os.close(terminal_fd)
    os.waitpid(pid, 0)
    return printed.decode("utf-8", "replace").replace("\r\n", "\n")
