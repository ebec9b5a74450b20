"""What every act on a spool needs, handed on as one value: the folder, its settings, the clock and chance."""

from __future__ import annotations

import random
from typing import NamedTuple

from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock


class Session(NamedTuple):
    """A spool with what acts on it share. Make one for each process, and hand it on."""

    spool: SpoolDir
    settings: Settings
    clock: Clock
    rng: random.Random

    @property
    def syncs_accepted(self) -> bool:
        """True if a job that was accepted must be on disk before the caller is told so (setting `durability`)."""
        return self.settings.durability != "off"

    @property
    def syncs_all(self) -> bool:
        """True if every change of a job is to be on disk before the next one (`durability = "full"`)."""
        return self.settings.durability == "full"
