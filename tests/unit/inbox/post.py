"""An inbox and its poller, for the tests of this room."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from queuectl.inbox.poller import Poller
from queuectl.model.inbox import Inbox
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk


class Post:
    """An inbox and its poller."""

    def __init__(self, spool: SpoolDir, folder: Path, **keys: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.desk = Desk(spool)
        self.inbox = Inbox(path=str(folder), mode="trusted", owner="anna", **keys)
        self.start()

    def start(self) -> None:
        """As a new process."""
        desk = self.desk
        desk.session = desk.session._replace(settings=desk.settings)
        self.poller = Poller(desk.session, self.inbox, str(self.folder))

    def send(self, name: str, content: object) -> None:
        """Drop a file."""
        (self.folder / name).write_text(content if isinstance(content, str) else json.dumps(content))

    def names(self) -> list[str]:
        """What is in the inbox."""
        return sorted(os.listdir(self.folder))
