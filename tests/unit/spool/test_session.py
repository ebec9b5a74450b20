"""Session: what acts on a spool share."""

from __future__ import annotations

import random

import pytest

from queuectl.model import settings
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock


@pytest.mark.parametrize(
    ("durability", "accepted", "everything"), [("off", False, False), ("queue", True, False), ("full", True, True)]
)
def test_durability_says_what_is_synced(spool: SpoolDir, durability: str, accepted: bool, everything: bool) -> None:
    """P4: an accepted job is on disk unless the setting says otherwise."""
    chosen = settings.parse(f'durability = "{durability}"')
    session = Session(spool, chosen, Clock(), random.Random(1))
    assert (session.syncs_accepted, session.syncs_all) == (accepted, everything)
