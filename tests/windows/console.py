"""A console with a pool in it, and Ctrl-C pressed there: run in a console of its own by `test_console_windows.py`.

    console.py PRESSES GATE COMMAND ARGS...

starts the command, waits until it says `"event": "started"`, presses Ctrl-C so many times, each once the command has
said something since the last one, makes the file GATE once it has said something since the last of them, and ends with
its exit code and all that it printed.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from pathlib import Path

assert sys.platform == "win32"


def main() -> None:
    presses = int(sys.argv[1])
    signal.signal(signal.SIGINT, lambda _number, _frame: None)  # the event reaches every process of the console
    pool = subprocess.Popen(sys.argv[3:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert pool.stdout is not None
    said = []
    started = False
    for line in pool.stdout:
        said.append(line)
        started = started or '"event": "started"' in line
        if started and presses == 0:
            Path(sys.argv[2]).touch()
        elif started:
            presses -= 1
            assert ctypes.WinDLL("kernel32").GenerateConsoleCtrlEvent(0, 0), "no Ctrl-C in this console"
    code = pool.wait()
    print("".join(said), end="")
    sys.exit(code)


main()
