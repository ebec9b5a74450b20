"""What every operation on a spool needs, as one value: the folder, its settings, a clock and a random generator."""

from __future__ import annotations

import random
from typing import NamedTuple

from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock


class Session(NamedTuple):
    """A spool and what every operation on it shares. Create one per process and pass it on."""

    spool: SpoolDir
    settings: Settings
    clock: Clock
    rng: random.Random

    @property
    def syncs_accepted(self) -> bool:
        """True if an accepted job must be on disk before the caller gets its id (setting `durability`)."""
        return self.settings.durability != "off"

    @property
    def syncs_all(self) -> bool:
        """True if every change of a job must be on disk before the next one (`durability = "full"`)."""
        return self.settings.durability == "full"
