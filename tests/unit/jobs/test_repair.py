"""repair: a damaged record is cut back in one way, whoever meets it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.jobs import repair
from queuectl.jobs.verdict import Declined, Repaired
from queuectl.model import record
from queuectl.model.lifecycle import DLQ, PENDING, REJECTED, RUNNING, Outcome
from queuectl.spool.layout import Located
from queuectl.system import disk
from tests.helpers import Desk, listing, names_in, only

FAILED = Outcome("failed", 3, "", 0.01)


def _damage(path: Path) -> bytes:
    """Spoil the second event of a record; return the bytes it has now."""
    data = path.read_bytes().replace(b'"event": "started"', b'"event": "star\n\0\0"')
    path.write_bytes(data)
    return data


def _requeue(desk: Desk) -> bytes:
    desk.run(desk.enqueue(id="a", max_retries=0), FAILED)
    data = _damage(Path(desk.spool.path(DLQ, "a.json")))
    Spool(desk.spool.root).requeue("a")
    return data


def _rescue(desk: Desk) -> bytes:
    desk.run(desk.enqueue(id="a", backoff_base=0), FAILED)
    desk.start(only(desk.spool, PENDING))
    data = _damage(Path(desk.spool.path(RUNNING, "a.json")))
    desk.die()
    desk.orphans.rescue("a.json")
    return data


def _claim(desk: Desk) -> bytes:
    desk.run(desk.enqueue(id="a"), FAILED)
    name = only(desk.spool, PENDING)
    data = _damage(Path(desk.spool.path(PENDING, name)))
    declined = desk.decline(name)
    assert isinstance(declined, Declined) and declined.sig is not None
    assert isinstance(desk.triage.reject_quiet(name, declined), Repaired)
    return data


def _cancel(desk: Desk) -> bytes:
    desk.run(desk.enqueue(id="a"), FAILED)
    data = _damage(Path(desk.spool.path(PENDING, only(desk.spool, PENDING))))
    Spool(desk.spool.root).cancel("a")
    return data


def _dead(desk: Desk) -> Located:
    return Located(DLQ, "a.json", desk.spool.path(DLQ, "a.json"))


def _ended(desk: Desk) -> bytes:
    desk.run(desk.enqueue(id="a", max_retries=0), FAILED)
    data = _damage(Path(desk.spool.path(DLQ, "a.json")))
    assert repair.repair_ended(desk.session, desk.stripes, _dead(desk))
    return data


@pytest.mark.parametrize("meet", [_requeue, _rescue, _claim, _cancel, _ended])
def test_events_behind_a_damage_are_kept_in_a_copy(desk: Desk, meet: Callable[[Desk], bytes]) -> None:
    """P6: whoever repairs a record that is damaged in its middle keeps the old bytes in rejected/ beside a reason."""
    data = meet(desk)
    assert Path(desk.spool.path(REJECTED, "a.torn.json")).read_bytes() == data
    assert "is damaged" in Path(desk.spool.reason_path("a.torn.json")).read_text()
    (state,) = [state for state in listing(desk.spool) if state != REJECTED]
    name = next(name for name in names_in(desk.spool, state) if name.endswith(".json"))
    assert record.is_record(Path(desk.spool.path(state, name)).read_bytes())
    assert os.listdir(desk.spool.tmp_dir) == []


def test_requeue_of_a_torn_end_keeps_no_copy(desk: Desk) -> None:
    """P4: where no whole event is lost the repair is the record, and nothing is left in rejected/."""
    desk.run(desk.enqueue(id="a", max_retries=0), FAILED)
    path = Path(desk.spool.path(DLQ, "a.json"))
    path.write_bytes(path.read_bytes()[:-9])
    Spool(desk.spool.root).requeue("a")
    assert "rejected" not in listing(desk.spool)
    assert desk.events(PENDING, "a.json") == ["enqueued", "started", "requeued"]


def test_repair_that_the_disk_refuses_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """P4, P9: when the copy cannot be kept the record stays as it was, for the next try."""
    desk.run(desk.enqueue(id="a", max_retries=0), FAILED)
    path = Path(desk.spool.path(DLQ, "a.json"))
    data = _damage(path)

    def refuse(*_facts: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "publish", refuse)
        with pytest.raises(OSError, match="No space"):
            repair.repair_ended(desk.session, desk.stripes, _dead(desk))
    assert path.read_bytes() == data
    assert os.listdir(desk.spool.tmp_dir) == []
    assert repair.repair_ended(desk.session, desk.stripes, _dead(desk))
