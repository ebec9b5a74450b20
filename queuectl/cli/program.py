"""How to call queuectl again, in a command to copy."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

NAME = "queuectl"


def typed() -> str:
    """Return `queuectl` if that calls this program, else the path that was typed, quoted for a shell."""
    path = sys.argv[0]
    stem = os.path.splitext(os.path.basename(path))[0]
    if stem == "__main__":
        return f"{quoted(sys.executable)} -m {NAME}"
    if stem != NAME:
        return NAME  # called by another program
    known = shutil.which(NAME)
    is_known = known is not None and _real(known) == _real(path)
    return NAME if is_known else quoted(path)


def _real(path: str) -> str:
    return os.path.splitext(os.path.realpath(path))[0]


def quoted(text: str) -> str:
    """Return a text as one word for the shell of this system."""
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)
