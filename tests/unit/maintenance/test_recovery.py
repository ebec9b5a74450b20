"""recovery: torn finished records are mended, and tried again where that fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.maintenance.recovery import Recovery
from queuectl.model import record
from queuectl.model.lifecycle import DONE, Outcome
from queuectl.spool import victims
from queuectl.system import disk, files
from tests.helpers import Desk

OK = Outcome("succeeded", 0, "", 0.01)


@pytest.fixture
def torn(desk: Desk) -> Path:
    """A finished job whose record lost its end."""
    desk.run(desk.enqueue(id="a"), OK)
    path = Path(desk.spool.path(DONE, "a.json"))
    path.write_bytes(path.read_bytes()[:-4])
    return path


def _refusing(code: int) -> Callable[..., None]:
    def refuse(*_facts: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES])
def test_record_that_the_system_refuses_stays_on_the_list(
    desk: Desk, torn: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """P4: one file that cannot be replaced now is no trouble of the machine, and is tried again."""
    recovery = Recovery(desk.session, desk.stripes)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "replace", _refusing(code))
        assert recovery.step() == 0
        assert (recovery.is_over, recovery.left, recovery.again(), recovery.left) == (True, 1, 0, 1)
    assert (recovery.again(), recovery.left) == (1, 0)
    assert record.is_record(torn.read_bytes())


def test_machine_that_is_in_trouble_loses_no_record(desk: Desk, torn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: a full disk is reported, and the record that it hit is tried again afterwards."""
    recovery = Recovery(desk.session, desk.stripes)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "create", _refusing(errno.ENOSPC))
        with pytest.raises(OSError, match="No space"):
            recovery.step()
        assert recovery.step() == 0
        with pytest.raises(OSError, match="No space"):
            recovery.again()
    assert (recovery.is_over, recovery.left) == (True, 1)
    assert (recovery.again(), recovery.left) == (1, 0)
    assert record.is_record(torn.read_bytes())


def test_record_whose_id_is_busy_is_tried_again(desk: Desk, other_desk: Desk, torn: Path) -> None:
    """P4: a stripe that somebody holds for an instant leaves no record torn."""
    recovery = Recovery(desk.session, desk.stripes)
    stripe = other_desk.stripes.of("a")
    assert stripe.try_acquire()
    assert recovery.step() == 0
    assert (recovery.is_over, recovery.left) == (True, 1)
    stripe.release()
    assert (recovery.again(), recovery.left) == (1, 0)
    assert record.is_record(torn.read_bytes())


def test_record_that_cannot_be_read_is_not_taken_for_whole(
    desk: Desk, torn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P4: an error of the disk in the first look is no proof that a record is whole, and ends no walk."""
    desk.run(desk.enqueue(id="b"), OK)
    recovery = Recovery(desk.session, desk.stripes)
    with monkeypatch.context() as patch:
        patch.setattr(files, "read_tail", _refusing(errno.EIO))
        assert recovery.step() == 1
    assert (recovery.is_over, recovery.left) == (True, 0)
    assert record.is_record(torn.read_bytes())


def test_notes_of_unmet_jobs_are_made_again(desk: Desk) -> None:
    """P13: a power cut may take the note by which a parent brings its children back, never the reason on record."""
    desk.enqueue(id="p", max_retries=0)
    desk.enqueue(id="child", after="p")
    desk.run("p.json", Outcome("failed", 1, "", 0.01))
    desk.claim("child,after=p.json")
    victims.forget_all(desk.spool, "p")
    recovery = Recovery(desk.session, desk.stripes)
    assert recovery.step() == 0 and recovery.is_over
    assert victims.children(desk.spool, "p") == ["child"]
