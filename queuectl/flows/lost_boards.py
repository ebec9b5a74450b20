"""Make a board that is lost or broken from the jobs in running/ (see `gates`, which says why that is right)."""

from __future__ import annotations

import errno

from queuectl.flows import boards
from queuectl.flows.boards import Entry
from queuectl.flows.open_board import OpenBoard
from queuectl.model import queues
from queuectl.model.lifecycle import RUNNING
from queuectl.spool.session import Session
from queuectl.system import disk, files


def make_again(session: Session, board: OpenBoard, queue: str) -> None:
    """Make a board that is lost or broken from running/. The caller holds the lock.

    A job that has not passed the gate has no start on record. One that ends meanwhile may not find its line, so its
    file is looked for once more when the board is in place: its worker looks for the line after the move.
    """
    spool = session.spool
    found = [entry for name in spool.job_names(RUNNING) if (entry := _running(session, queue, name)) is not None]
    data = boards.text_of(found, boards.outcomes(spool, queue))
    board.close()  # Windows puts no other file in the place of one that is open
    spool.replace_file(board.path, data, hint="gate", sync=False, mode=disk.FILE_MODE)
    if not board.look():
        raise OSError(errno.EIO, "the board of a queue is lost as soon as it is made", board.path)
    ended = [
        index for index, entry in enumerate(found) if files.sig_of(spool.path(RUNNING, f"{entry.job_id}.json")) is None
    ]
    for index in ended:
        board.write(index, boards.BLANK)
    if ended and not board.look():
        raise OSError(errno.EIO, "the board of a queue is lost as soon as it is made", board.path)


def _running(session: Session, queue: str, name: str) -> Entry | None:
    """Return the entry of a file in running/ if its job has started and counts in this queue."""
    spool, job_id = session.spool, name.removesuffix(".json")
    items = [spool.path(RUNNING, name)]
    items += [spool.tmp_path(start) for start in spool.starts(job_id)]
    for path in items:
        item = boards.record_at(path)
        if item is None or (item.extras.queue or queues.DEFAULT) != queue:
            continue
        place, lease = boards.place_of(item, session.settings.queues), boards.lease_in(item)
        if place is not None and lease:
            return Entry(lease, place.key, job_id, is_found=True)
    return None
