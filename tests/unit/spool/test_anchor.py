"""anchor: whether a spool is still the one that a pool began with (P3, P9)."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Windows deletes no folder in which a file is open", allow_module_level=True)

from queuectl.model import settings as config
from queuectl.spool import anchor
from queuectl.spool.anchor import Anchor
from queuectl.spool.folder import SpoolDir
from queuectl.spool.pools import Pool
from queuectl.spool.session import Session
from tests.helpers import FakeClock, make_spool


@pytest.fixture
def pool(spool: SpoolDir) -> Iterator[Pool]:
    """A pool of the spool that has begun."""
    made = Pool(Session(spool, config.defaults(), FakeClock(), random.Random(0)), count=1, cwd=spool.root)
    made.enter()
    yield made
    made.close_inherited()


@pytest.fixture
def place(spool: SpoolDir, pool: Pool) -> Iterator[Anchor]:
    """What that pool keeps an eye on."""
    made = Anchor(spool, pool.lock, is_local=True)
    yield made
    made.close()


def test_a_spool_in_its_place_is_told_from_one_that_is_away(spool: SpoolDir, place: Anchor) -> None:
    """A spool that was moved, or whose share is away, may come back."""
    assert place.check() == anchor.IN_PLACE
    os.rename(spool.root, spool.root + ".away")
    assert place.check() == anchor.AWAY
    os.mkdir(spool.root)  # where a share would be mounted
    assert place.check() == anchor.AWAY
    os.rmdir(spool.root)
    os.rename(spool.root + ".away", spool.root)
    assert place.check() == anchor.IN_PLACE


def test_another_spool_in_its_place_is_seen(spool: SpoolDir, place: Anchor) -> None:
    """Whether the old one was deleted or moved, and also where the new one is a copy of it."""
    os.rename(spool.root, spool.root + ".old")
    make_spool(Path(spool.root))
    assert place.check() == anchor.REPLACED
    shutil.rmtree(spool.root)
    shutil.copytree(spool.root + ".old", spool.root)
    assert place.check() == anchor.REPLACED
    shutil.rmtree(spool.root + ".old")
    assert place.check() == anchor.REPLACED


@pytest.mark.parametrize("part", ["root", "machinery", "stripe_dir", "lease_dir", "pool_dir"])
def test_what_holds_locks_cannot_be_deleted_unseen(spool: SpoolDir, place: Anchor, part: str) -> None:
    """Locks on files that were deleted exclude nobody, also where the folders are there again."""
    shutil.rmtree(getattr(spool, part))
    assert place.check() in (anchor.DELETED, anchor.REPLACED)
    spool.make_folders()
    assert place.check() == anchor.REPLACED


def test_elsewhere_a_held_lock_is_proof_enough(
    spool: SpoolDir, pool: Pool, place: Anchor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share may give a file another number at each look: who holds the lock at its path is the pool."""
    far = Anchor(spool, pool.lock, is_local=False)
    monkeypatch.setattr("queuectl.system.inodes.is_at", lambda _fd, _path: False)
    assert far.check() == anchor.IN_PLACE
    far.close()
