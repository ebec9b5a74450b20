"""An inbox of files and its poller, for the tests of this room."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from queuectl.inbox.file_poller import FilePoller
from queuectl.jobs.verdict import Claimed
from queuectl.model import settings
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import Outcome
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, names_in, wait_until

COMMAND = ("cp", "{file}", "{folder}/{stem}.copy")


def a_tick_after(path: Path, folder: Path) -> None:
    """Wait until the clock of the file system is past the time of a file, by another file, in `folder`."""
    probe = folder / ".probe"

    def is_past() -> bool:
        probe.write_text("")
        return os.stat(probe).st_ctime_ns > os.stat(path).st_ctime_ns

    wait_until(is_past)
    probe.unlink()


class FilePost:
    """An inbox of files and its poller, by a clock that is set by hand. `text`: more settings, such as commands."""

    def __init__(self, spool: SpoolDir, folder: Path, *, text: str = "", **keys: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.spool = spool
        self.desk = Desk(spool)
        self.desk.settings = self.desk.settings._replace(commands=settings.parse(text).commands)
        self.inbox = Inbox(
            **{"path": str(folder), "mode": "files", "owner": "anna", "command": COMMAND, "settle_s": 10.0, **keys}
        )
        self.start()

    def start(self) -> None:
        """As a new process."""
        desk = self.desk
        desk.session = desk.session._replace(settings=desk.settings)
        self.poller = FilePoller(desk.session, self.inbox, str(self.folder))

    def send(self, name: str, content: str = "text", *, renamed: bool = False) -> Path:
        """Put a file into the inbox; `renamed`: by a rename that the receiver notices."""
        path = self.folder / name
        path.write_text(content)
        if renamed:
            self.poller.renamed.add(name)
        return path

    def take(self, *names: str) -> list[str]:
        """Put files into the inbox by renames, and poll."""
        for name in names:
            self.send(name, renamed=True)
        return self.poller.step()

    def run(self, outcome: Outcome) -> Claimed:
        """Let a worker claim the one job that waits, and settle its run."""
        (name,) = names_in(self.spool, "pending")
        claimed = self.desk.start(name)
        self.desk.settlements.settle(claimed, outcome)
        return claimed

    def run_all(self, outcomes: dict[str, Outcome]) -> dict[str, str]:
        """Let a worker run the job of each file; return the ids of the jobs, by the files."""
        ids = {}
        for name in names_in(self.spool, "pending"):
            claimed = self.desk.start(name)
            file = claimed.record.history[0].file
            self.desk.settlements.settle(claimed, outcomes[file])
            ids[file] = claimed.record.id
        return ids

    def tree(self) -> list[str]:
        """Every file of the inbox, with the folder of a job in working/ as *."""
        found = []
        for above, _, names in os.walk(self.folder):
            parts = list(Path(above).relative_to(self.folder).parts)
            if parts[:1] == ["working"] and len(parts) > 1:
                parts[1] = "*"
            found += ["/".join([*parts, name]) for name in names]
        return sorted(found)

    @property
    def texts(self) -> list[str]:
        """What the poller reported."""
        return [notice.text for notice in self.poller.notices]
