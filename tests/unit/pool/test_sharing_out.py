"""sharing_out: which worker gets how many of the next names."""

from __future__ import annotations

import itertools
import os
import sys

import pytest

from queuectl.model import needs
from queuectl.pool import sharing_out
from queuectl.pool.options import spread
from queuectl.pool.worker_process import WorkerProcess


def worker_of(slots: int, *, names: int = 0, running: int = 0) -> WorkerProcess:
    """A worker with so many names, of which so many run for a while."""
    worker = WorkerProcess(slots)
    worker.is_ready = True
    worker.outstanding = dict.fromkeys([f"{id(worker)}-{number}" for number in range(names)], 0.0)
    worker.running = dict.fromkeys(list(worker.outstanding)[:running], "job")
    return worker


def given(workers: list[WorkerProcess], most: int, *, careful: bool = False, left: float = 10_000) -> list[int]:
    """How many names each worker gets, of as many as are wanted."""
    names = (f"job{number}" for number in itertools.count())
    shared = sharing_out.share_out(sharing_out.rooms(workers, most, careful=careful), lambda: next(names), left)
    return [len(shared.get(worker, [])) for worker in workers]


@pytest.mark.parametrize(
    ("slots", "names", "most", "wanted"),
    [(8, 0, 1, 8), (8, 5, 1, 3), (8, 8, 1, 0), (8, 8, 4, 24), (8, 17, 4, 0), (1, 0, 32, 32), (1, 16, 32, 16)],
)
def test_a_worker_has_a_name_for_each_slot_and_some_ahead(slots: int, names: int, most: int, wanted: int) -> None:
    """An idle slot gets a name at once; what lies ahead is filled up when half of it is left."""
    assert given([worker_of(slots, names=names)], most) == [wanted]


def test_names_go_to_the_worker_with_the_most_room_for_a_slot() -> None:
    """Two of three slots are busy in the first: the others get more, and all are full in the end."""
    assert given([worker_of(3, names=2), worker_of(3), worker_of(2)], 1, left=5) == [1, 2, 2]
    assert given([worker_of(3, names=2), worker_of(3), worker_of(2)], 1) == [1, 3, 2]


def test_no_more_are_given_than_may_be_started() -> None:
    """`--max-jobs` counts runs, in however many slots."""
    assert sum(given([worker_of(4), worker_of(4)], 32, left=3)) == 3
    assert given([worker_of(4)], 32, left=0) == [0]


def test_one_name_is_tried_while_the_machine_is_in_trouble() -> None:
    """Beside those that run; a worker without an idle slot gets none."""
    workers = [worker_of(4), worker_of(4, names=2, running=2), worker_of(4, names=2, running=1), worker_of(1, names=1)]
    assert given(workers, 32, careful=True) == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("slots", "processes", "wanted"),
    [(1, 1, [1]), (8, 3, [3, 3, 2]), (2, 9, [1, 1]), (64, 1, [32, 32]), (256, 5, [52, 51, 51, 51, 51])],
)
def test_slots_are_spread_evenly(slots: int, processes: int, wanted: list[int]) -> None:
    """No process without a slot, and none with more than a wait can take on Windows."""
    assert spread(slots, processes) == wanted


@pytest.mark.parametrize(
    ("system", "cores", "slots", "wanted"),
    [
        *[("linux", 4, slots, wanted) for slots, wanted in [(1, 1), (4, 4), (8, 4), (64, 4), (256, 5)]],
        *[("linux", 1, slots, wanted) for slots, wanted in [(1, 1), (2, 2), (8, 2)]],
        *[(system, 2, 8, 4) for system in ("darwin", "win32")],
    ],
)
def test_few_slots_have_a_process_each(
    system: str, cores: int, slots: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are fastest, but never one alone for several slots; beyond 60 slots for each, as many as it takes."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(sys, "platform", system)
    assert (len(spread(slots, None)), sum(spread(slots, None))) == (wanted, slots)


def test_only_workers_on_nodes_get_jobs_that_need_resources() -> None:
    """Plain pools are asked once, as ever; in a mixed pool nodes come first, and each kind gets what it can run."""
    here, nodes = WorkerProcess(), WorkerProcess(0, cluster_slots=9)
    only = WorkerProcess(0, cluster_slots=9, takes_plain=False)
    assert sharing_out.by_kind([here, nodes], has_needs=False) == [(needs.ANY, [here, nodes])]
    assert sharing_out.by_kind([here, nodes], has_needs=True) == [(needs.ANY, [nodes]), (needs.PLAIN, [here])]
    assert sharing_out.by_kind([here, only], has_needs=False) == [(needs.NEEDING, [only]), (needs.PLAIN, [here])]
    assert sharing_out.by_kind([], has_needs=True) == []
    names = ("a.json", "a,needs=GPU-1.json")
    assert [[each.may_run(name) for name in names] for each in (here, nodes, only)] == [
        [True, False],
        [True, True],
        [False, True],
    ]
