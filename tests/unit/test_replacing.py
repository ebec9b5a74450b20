"""What takes the place of a file: there whole or not at all, and nothing is left in tmp/ where that fails."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.errors import QueuectlError
from queuectl.jobs import error_text
from queuectl.jobs.cancel import Canceller
from queuectl.jobs.edit import Editor
from queuectl.model import history, record
from queuectl.model.lifecycle import Outcome
from queuectl.pool import dashboard
from queuectl.spool import clock_note, pause, pools, settings_file
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT, Desk, write_drop
from tests.hostile.flags import immutable

RNG = random.Random(1)


def _unlinked(path: str) -> str:
    Path(path).unlink(missing_ok=True)
    return path


@pytest.mark.parametrize(
    ("place", "act"),
    [
        (lambda spool: spool.paused_path, lambda spool: pause.pause(spool, "because", until_at=None)),
        (lambda spool: _unlinked(spool.settings_path), lambda spool: settings_file.write(spool, "")),
        (
            lambda spool: os.path.join(spool.root, "status.html"),
            lambda spool: dashboard.write_file(spool, "status.html", "x", has_texts=False),
        ),
        (
            lambda spool: os.path.join(spool.pool_dir, "p1.stop"),
            lambda spool: pools.request_stop(spool, "p1", now=False),
        ),
        (
            lambda spool: spool.clock_path,
            lambda spool: clock_note._write(spool, clock_note.Note(NOON_AT, 0.0, 0.0)),
        ),
    ],
    ids=["pause", "settings", "page", "stop", "clock"],
)
def test_a_folder_in_the_place_leaves_nothing_behind(
    spool: SpoolDir, place: Callable[[SpoolDir], str], act: Callable[[SpoolDir], object]
) -> None:
    """A file that cannot take its place is deleted; who asked for it hears why."""
    os.mkdir(place(spool))
    with pytest.raises(OSError):
        act(spool)
    assert os.listdir(spool.tmp_dir) == []


def test_an_edit_that_cannot_take_its_place_leaves_nothing_behind(desk: Desk) -> None:
    """The job is as it was (P7)."""
    name = desk.enqueue(id="job")
    path = desk.spool.path("pending", name)
    before = Path(path).read_bytes()
    editing = Editor(desk.session)
    draft = editing.draft("job")
    with immutable(path), pytest.raises(QueuectlError):
        editing.put_back(draft, draft.text.replace("true", "false"))
    assert os.listdir(desk.spool.tmp_dir) == [] and Path(path).read_bytes() == before


def test_a_cancel_that_cannot_take_its_place_leaves_nothing_behind(desk: Desk) -> None:
    """The drop is as it was (P6)."""
    path = write_drop(desk.spool, "job.json", {"command": "true"})
    before = path.read_bytes()
    with immutable(path), pytest.raises(QueuectlError):
        Canceller(desk.session).cancel("job", by="test", reason="")
    assert os.listdir(desk.spool.tmp_dir) == [] and path.read_bytes() == before


def test_a_repair_that_cannot_take_its_place_leaves_nothing_behind(desk: Desk) -> None:
    """A torn record that cannot be replaced stays as it was."""
    path = Path(desk.spool.path("dlq", "job.json"))
    whole = record.frame({"id": "job", "command": "true"}, [history.event("enqueued", NOON_AT, by="enqueue")])
    path.write_bytes(whole[:-3])
    with immutable(path), pytest.raises(QueuectlError):
        Spool(desk.spool.root).requeue("job")
    assert os.listdir(desk.spool.tmp_dir) == [] and path.read_bytes() == whole[:-3]


def test_a_text_that_cannot_take_its_place_leaves_nothing_behind(desk: Desk) -> None:
    """A folder where a dead job's text would be written costs only the text."""
    name = desk.enqueue(id="job", max_retries=0)
    os.mkdir(desk.spool.error_path("job.json"))
    desk.settlements.settle(desk.start(name), Outcome("failed", 1, "", 0.1))
    assert not error_text.write(desk.session, "job.json")
    assert os.listdir(desk.spool.tmp_dir) == []
