"""stripes: 64 locks, each for every 64th id."""

from __future__ import annotations

import pytest

from queuectl.errors import SpoolUnavailableError
from queuectl.model import names
from queuectl.spool import stripes
from queuectl.spool.stripes import Stripes, held
from tests.helpers import Desk


def test_a_held_stripe_is_busy_for_everybody_else(desk: Desk) -> None:
    """P3: whoever changes a job by hand excludes workers meanwhile, and other jobs go on."""
    other = next(f"b{number}" for number in range(99) if names.stripe_of(f"b{number}") != names.stripe_of("a"))
    with held(desk.session, "a"):
        assert not desk.stripes.of("a").try_acquire()
        assert desk.stripes.of(other).try_acquire()
    assert desk.stripes.of("a").try_acquire()


def test_a_stripe_that_stays_busy_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process does not hang a command for ever."""
    monkeypatch.setattr(stripes, "_PATIENCE_S", -1.0)
    assert desk.stripes.of("a").try_acquire()
    with pytest.raises(SpoolUnavailableError, match="another process holds job 'a'"), held(desk.session, "a"):
        pytest.fail("it is not held")


def test_what_the_disk_refuses_meanwhile_is_said_in_words(desk: Desk) -> None:
    """The stripe is free again after an error, and the error names the spool."""
    with pytest.raises(SpoolUnavailableError, match="cannot be used now"), held(desk.session, "a"):
        raise OSError(5, "Input/output error")
    assert desk.stripes.of("a").try_acquire()


def test_a_parted_stripe_stays_held(desk: Desk) -> None:
    """A worker goes on with other jobs while the run of one still needs its stripe."""
    own = Stripes(desk.spool)
    assert own.of("a").try_acquire()
    parted = own.part("a")
    assert not own.of("a").try_acquire()
    parted.close()
    assert own.of("a").try_acquire()
    own.close()
