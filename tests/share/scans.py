"""An inbox of files behind a file server: the files that producers send there, and what became of them."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from queuectl.inbox.state import InboxState, read_all
from queuectl.spool.folder import SpoolDir
from tests import file_sender
from tests.helpers import files_below, make_spool, wait_until
from tests.pool import Pool

SENDER = str(Path(file_sender.__file__))
SETTLE_S = 1.0


class Scans:
    """One spool with an inbox of files, what is sent to it and what became of that."""

    def __init__(self, folder: Path) -> None:
        self.spool: SpoolDir = make_spool(folder / "spool")
        self.folder = folder / "scans"
        """The inbox, as the server has it."""
        self.outside = folder / "outside"
        self.witness = folder / "witness"
        self.folder.mkdir()
        self.outside.mkdir()
        self._sent: dict[str, bytes] = {}
        self.configure()

    def configure(
        self, *, path: Path | None = None, settle_s: float = SETTLE_S, settings: str = "", **keys: object
    ) -> None:
        """Write the settings: `path` is where the workers see the inbox, `keys` are further keys of it."""
        made: dict[str, object] = {
            "path": str(path or self.folder),
            "mode": "files",
            "settle_s": settle_s,
            "command": [sys.executable, "-S", SENDER, "check", "{file}", "{file}", str(self.witness)],
            "max_retries": 0,
            **keys,
        }
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in made.items())
        Path(self.spool.settings_path).write_text(f"scan_s = 0.2\n{settings}[[inbox]]\n{text}", encoding="utf-8")

    def pool(self) -> Pool:
        """Start workers."""
        return Pool(self.spool).ready()

    def body(self, name: str, size: int = 10_000) -> Path:
        """Make a whole file of about this size outside, for a producer to send as `name`."""
        path = self.outside / f"body-{len(self._sent)}"
        seed = hashlib.sha256(os.fsencode(name)).digest()
        data = seed * (size // len(seed) + 1)
        self._sent[name] = data + hashlib.sha256(data).hexdigest().encode()
        path.write_bytes(self._sent[name])
        return path

    def state(self) -> InboxState | None:
        """What the receiver reports."""
        return next(iter(read_all(self.spool)), None)

    def why(self, name: str) -> str:
        """Why a file waits or is refused, "" if nobody reports that."""
        state = self.state()
        found = [] if state is None else [row.why for row in state.rows if row.name == name]
        found += [] if state is None else [row.why for row in state.refused if row.name == name]
        return found[0] if found else ""

    def names(self, below: str = "") -> list[str]:
        """The files in the inbox itself or in one of its folders, but for the texts about failed ones.

        Of working/ also the folders. (rclone makes a folder of its own in an inbox that it mounts by SMB.)
        """
        folder = self.folder / below
        names = os.listdir(folder) if folder.is_dir() else []
        if below != "working":
            names = [name for name in names if not (folder / name).is_dir()]
        return sorted(name for name in names if not name.endswith(".failed.txt"))

    def ran(self) -> Counter[str]:
        """How often which file was whole, `ok NAME`, or not, `half NAME`, when the command looked."""
        try:
            return Counter(self.witness.read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            return Counter()

    def processed(
        self,
        *names: str,
        halves: Iterable[str] = (),
        left: Iterable[str] = (),
        timeout: float = 90,
        again: bool = False,
    ) -> None:
        """Wait until these are in done/ and the halves in failed/; see that each ran once, whole, and nothing else did.

        With `again`, a file may have run more than once.
        """
        wanted, cut = sorted(names), sorted(halves)
        try:
            wait_until(
                lambda: (self.names("done"), self.names("failed"), self.names("working")) == (wanted, cut, []), timeout
            )
        except AssertionError:
            print(self.tree(), self.state(), self.ran(), sep="\n")
            raise
        ran = self.ran()
        assert set(ran) == {*(f"ok {name}" for name in wanted), *(f"half {name}" for name in cut)}
        assert again or set(ran.values()) <= {1}, ran
        for name in wanted:
            assert (self.folder / "done" / name).read_bytes() == self._sent[name], name
        for name in cut:
            assert "exit code 1" in (self.folder / "failed" / f"{name}.failed.txt").read_text(encoding="utf-8")
        rest = self.names()
        assert rest == sorted(left), rest

    def nothing_ran(self) -> None:
        """No command has seen a file yet."""
        assert self.ran() == {}

    def size(self, name: str) -> int:
        """How long a file in the inbox is by now; -1 if there is none."""
        try:
            return os.path.getsize(self.folder / name)
        except FileNotFoundError:
            return -1

    def wait_for_size(self, name: str, least: int) -> None:
        """Wait until a file in the inbox has so many bytes."""
        wait_until(lambda: self.size(name) >= least)

    def wait_for_why(self, name: str, part: str) -> None:
        """Wait until the receiver says this of a file."""
        wait_until(functools.partial(self._says, name, part))

    def _says(self, name: str, part: str) -> bool:
        return part in self.why(name)

    def tree(self) -> list[str]:
        """Every file below the inbox."""
        return sorted(path.relative_to(self.folder).as_posix() for path in files_below(self.folder))
