"""presence: is the spool still where the pool began?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from queuectl.errors import SpoolUnavailableError
from queuectl.model.notice import Notice
from queuectl.pool.presence import anchor
from queuectl.spool.anchor import Anchor
from tests.unit.pool.conftest import StillPool


@pytest.fixture
def begun(pool: StillPool) -> Iterator[StillPool]:
    """A pool that has entered the spool."""
    pool.parts.pool.enter()
    pool.parts.presence.begin(pool.parts.pool.lock, is_local=True)
    yield pool
    pool.parts.presence.close()
    pool.parts.pool.close_inherited()


def kinds(pool: StillPool) -> list[str]:
    """The kinds of what a pool has reported."""
    return [event.kind for event in pool.told if isinstance(event, Notice)]


def test_a_folder_that_is_missing_is_made_again(begun: StillPool) -> None:
    """P9: it is reported, and pending/ is to be listed, once."""
    presence, spool = begun.parts.presence, begun.parts.core.session.spool
    shutil.rmtree(spool.folder("done"))
    assert presence.check(0.0) and presence.has_restored and os.path.isdir(spool.folder("done"))
    assert presence.check(0.2) and not presence.has_restored
    assert kinds(begun) == ["restored"]


def test_a_spool_that_is_out_of_reach_is_waited_for(begun: StillPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: nothing starts meanwhile, and the pool does not end."""
    presence = begun.parts.presence
    monkeypatch.setattr(Anchor, "check", lambda _self: anchor.AWAY)
    assert not presence.check(0.0) and not presence.is_in_place
    assert begun.parts.core.breaker.is_open and not begun.parts.core.shutdown.has_begun
    presence.raise_if_displaced()


def test_a_spool_that_was_replaced_ends_the_pool(begun: StillPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: its locks exclude nobody any more; that is reported once."""
    presence = begun.parts.presence
    monkeypatch.setattr(Anchor, "check", lambda _self: anchor.REPLACED)
    for now_s in (0.0, 0.2):
        assert not presence.check(now_s)
    assert presence.is_displaced and begun.parts.core.shutdown.has_begun and kinds(begun) == ["displaced"]
    with pytest.raises(SpoolUnavailableError, match="was replaced while this pool was running"):
        presence.raise_if_displaced()
