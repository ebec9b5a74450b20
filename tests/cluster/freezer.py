"""Freezes processes as a suspended virtual machine is: all of them, at one instant, while the clock goes on."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_OLD = Path("/sys/fs/cgroup/freezer")
_NEW = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]


class Freezer:
    """A control group. What is started by way of `within` is in it, with everything that it starts."""

    def __init__(self) -> None:
        """Make it. Raises OSError if this system, or this user, has no such groups."""
        name = f"q{os.getpid()}-{time.monotonic_ns()}"
        if _OLD.is_dir():
            self._folder, self._switch, self._words = _OLD / name, "freezer.state", ("THAWED", "FROZEN")
        else:
            root = next((each for each in _NEW if (each / "cgroup.controllers").exists()), _NEW[0])
            self._folder, self._switch, self._words = root / name, "cgroup.freeze", ("0", "1")
        self._folder.mkdir()
        if not (self._folder / self._switch).exists():
            self._folder.rmdir()
            raise FileNotFoundError(f"{self._folder / self._switch}")

    @property
    def within(self) -> list[str]:
        """The words before a command line that run it in this group."""
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._folder / "cgroup.procs")]

    def freeze(self) -> None:
        """Stand still."""
        (self._folder / self._switch).write_text(self._words[1])

    def thaw(self) -> None:
        """Go on."""
        (self._folder / self._switch).write_text(self._words[0])

    def close(self) -> None:
        """Go on, and delete the group once it is empty."""
        self.thaw()
        for _ in range(100):
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.05)
